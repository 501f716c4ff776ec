"""Settings: a wrong one is named with its mend, and a secret in one is never shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.guard.settings import SettingsError, allowed_origin, from_environment, handler
from chalicelib.guard.tokens import Requirements
from tests.conftest import SECRET


def test_nothing_set_means_hs256_with_the_tutorials_secret_in_secrets_manager() -> None:
    settings = from_environment({})
    assert settings.requirements == Requirements()
    assert (settings.secret_id, settings.secret_field, settings.local_secret) == (
        "jwt-secret-key",
        "my_secret_key",
        None,
    )
    assert (settings.accept_previous_key, settings.key_ttl, settings.key_max_stale) == (True, 300, 3600)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_LEEWAY_SECONDS", "0"),
        ("JWT_LEEWAY_SECONDS", "0000000120"),
        ("JWT_MAX_LIFETIME_SECONDS", "1"),
        ("JWT_MAX_LIFETIME_SECONDS", "1000000000"),
        ("JWT_KEY_TTL_SECONDS", "1"),
        ("JWT_KEY_TTL_SECONDS", "3600"),
        ("JWT_KEY_MAX_STALE_SECONDS", "86400"),
        ("JWT_ROLES_FORMAT", "list"),
        ("JWT_PREVIOUS_KEY", "accept"),
        ("JWT_ALGORITHMS", "HS256"),
        ("JWT_ALGORITHMS", "HS512,HS384 HS256"),
    ],
)
def test_the_bounds_and_the_defaults_may_be_written_out(name: str, value: str) -> None:
    assert from_environment({name: value})


def test_every_setting_is_read() -> None:
    settings = from_environment(
        {
            "JWT_SECRET_ID": "other",
            "JWT_SECRET_FIELD": "field",
            "AUTHORIZER_SECRET": SECRET,
            "JWT_ALGORITHMS": "HS256, HS512",
            "JWT_ISSUER": "https://issuer.example",
            "JWT_AUDIENCE": "us",
            "JWT_ROLES_CLAIM": "groups",
            "JWT_LEEWAY_SECONDS": "120",
            "JWT_MAX_LIFETIME_SECONDS": "3600",
            "JWT_ROLES_FORMAT": "space-separated",
            "JWT_PREVIOUS_KEY": "refuse",
            "JWT_KEY_TTL_SECONDS": "60",
            "JWT_KEY_MAX_STALE_SECONDS": "0",
        }
    )
    assert settings.requirements == Requirements(
        ("HS256", "HS512"), "https://issuer.example", "us", "groups", roles_in_text=True, leeway=120, max_lifetime=3600
    )
    assert (settings.accept_previous_key, settings.key_ttl, settings.key_max_stale) == (False, 60, 0)
    assert (settings.secret_id, settings.secret_field, settings.local_secret) == ("other", "field", SECRET)


def test_an_empty_variable_counts_as_unset() -> None:
    names = ("JWT_SECRET_ID", "JWT_ALGORITHMS", "JWT_ISSUER", "JWT_LEEWAY_SECONDS", "AUTHORIZER_SECRET")
    assert from_environment(dict.fromkeys(names, "")) == from_environment({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_ALGORITHMS", "none"),
        ("JWT_ALGORITHMS", "HS256,RS256"),
        ("JWT_ALGORITHMS", "hs256"),
        ("JWT_ALGORITHMS", " , "),
        ("JWT_LEEWAY_SECONDS", "121"),
        ("JWT_LEEWAY_SECONDS", "-1"),
        ("JWT_LEEWAY_SECONDS", "1.5"),
        ("JWT_LEEWAY_SECONDS", "ten"),
        ("JWT_LEEWAY_SECONDS", " 1"),
        ("JWT_LEEWAY_SECONDS", "9" * 5000),
        ("JWT_LEEWAY_SECONDS", "00000000001"),
        ("JWT_MAX_LIFETIME_SECONDS", "1000000001"),
        ("JWT_MAX_LIFETIME_SECONDS", "0"),
        ("JWT_MAX_LIFETIME_SECONDS", "1h"),
        ("JWT_ROLES_FORMAT", "text"),
        ("JWT_PREVIOUS_KEY", "false"),
        ("JWT_KEY_TTL_SECONDS", "0"),
        ("JWT_KEY_TTL_SECONDS", "3601"),
        ("JWT_KEY_MAX_STALE_SECONDS", "86401"),
        ("CORS_ALLOWED_ORIGIN", "https://app.example.com/"),
        ("CORS_ALLOWED_ORIGIN", "https://App.example.com"),
        ("CORS_ALLOWED_ORIGIN", "https://*.example.com"),
        ("CORS_ALLOWED_ORIGIN", "https://app.example.com https://b.example.com"),
        ("CORS_ALLOWED_ORIGIN", "https://app.example.com\n"),
        ("CORS_ALLOWED_ORIGIN", "https://app.example.com'"),
        ("CORS_ALLOWED_ORIGIN", "https://app.example.com:\u0661"),
        ("CORS_ALLOWED_ORIGIN", "app.example.com"),
        ("CORS_ALLOWED_ORIGIN", "null"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as wrong:
        from_environment({name: value})
    assert "\n" not in str(wrong.value)
    assert len(str(wrong.value)) < 200


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"JWT_ALGORITHMS": "none"}, "HS256, HS384, HS512 without JWT_JWKS_URL; mend none."),
        ({"JWT_ALGORITHMS": ","}, "without JWT_JWKS_URL; mend the empty list."),
        ({"JWT_ALGORITHMS": "x" * 50}, f"without JWT_JWKS_URL; mend {'x' * 40}."),
        ({"JWT_ROLES_FORMAT": "t" * 30}, f"JWT_ROLES_FORMAT is '{'t' * 20}': choose list or space-separated."),
        ({"JWT_KEY_TTL_SECONDS": "9" * 30}, f"is '{'9' * 20}': write a whole number of seconds from 1 to 3600."),
    ],
)
def test_a_wrong_setting_is_told_with_what_may_stand_there_and_a_long_value_is_cut(
    variables: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment(variables)
    assert str(wrong.value).endswith(told)


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example.com", "http://127.0.0.1:9000", "http://[::1]:9000", "capacitor://localhost"]
)
def test_one_origin_may_be_allowed_or_all(origin: str) -> None:
    assert from_environment({"CORS_ALLOWED_ORIGIN": origin}).allowed_origin == origin


def test_the_handler_is_known_inside_lambda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handler() is None
    monkeypatch.setenv("_HANDLER", "app.jwt_authorizer")
    assert handler() == "app.jwt_authorizer"


def test_no_origin_is_allowed_unless_the_setting_names_one() -> None:
    assert from_environment({}).allowed_origin is None


def test_a_wrong_origin_is_no_origin(environment: Callable[..., None]) -> None:
    environment(CORS_ALLOWED_ORIGIN="null")
    assert allowed_origin() is None


PROVIDER = {
    "JWT_JWKS_URL": "https://issuer.example/jwks.json",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_AUDIENCE": "us",
}


def test_an_identity_provider_means_rs256_unless_told_otherwise() -> None:
    settings = from_environment(PROVIDER)
    assert (settings.jwks_url, settings.requirements.algorithms) == (PROVIDER["JWT_JWKS_URL"], ("RS256",))
    listed = from_environment({**PROVIDER, "JWT_ALGORITHMS": "ES256 PS512 EdDSA"})
    assert listed.requirements.algorithms == ("ES256", "PS512", "EdDSA")
    for host in ("127.0.0.1:8080", "localhost", "[::1]:1"):
        assert from_environment({**PROVIDER, "JWT_JWKS_URL": f"http://{host}/jwks"}).jwks_url


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ({"JWT_ISSUER": ""}, "JWT_ISSUER"),
        ({"JWT_AUDIENCE": ""}, "JWT_AUDIENCE"),
        ({"JWT_JWKS_URL": "http://issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "http://127.0.0.1.issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "http://127.0.0.1@issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "file:///etc/passwd"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://[broken"}, "JWT_JWKS_URL"),
        ({"JWT_ALGORITHMS": "HS256"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "RS256,HS256"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "none"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "ES256K"}, "JWT_ALGORITHMS"),
        ({"AUTHORIZER_SECRET": SECRET}, "AUTHORIZER_SECRET"),
    ],
)
def test_an_identity_provider_that_is_set_up_unsafely_is_refused(spoil: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as wrong:
        from_environment({**PROVIDER, **spoil})
    assert SECRET not in str(wrong.value)


def test_with_an_identity_provider_an_algorithm_for_secrets_is_told_to_be_for_secrets() -> None:
    with pytest.raises(SettingsError, match="EdDSA with JWT_JWKS_URL; mend HS256"):
        from_environment({**PROVIDER, "JWT_ALGORITHMS": "RS256 HS256"})


def test_a_secret_in_the_configuration_of_a_lambda_function_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="AUTHORIZER_SECRET") as wrong:
        from_environment({"AUTHORIZER_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "f"})
    assert SECRET not in str(wrong.value)


def test_the_repr_of_settings_does_not_show_the_secret() -> None:
    assert SECRET not in repr(from_environment({"AUTHORIZER_SECRET": SECRET}))
