"""Settings: a wrong one is named with its fix, and a secret in one is never shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.guard.settings import (
    NAMES,
    Settings,
    SettingsError,
    from_environment,
)
from tests.support.tokens import SECRET


def test_nothing_set_means_hs256_with_the_tutorials_secret() -> None:
    settings = from_environment({})
    assert settings == Settings()
    assert (settings.secret_id, settings.secret_field, settings.local_secret) == (
        "jwt-secret-key",
        "my_secret_key",
        None,
    )
    assert (settings.accept_previous_key, settings.key_ttl, settings.key_max_stale) == (True, 300, 3600)
    assert (settings.rotation_days, settings.revocations_secret_id) == (None, None)


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
        ("JWT_ROTATION_DAYS", "1"),
        ("JWT_ROTATION_DAYS", "1000"),
        ("JWT_AUDIENCE_CLAIM", "aud"),
        ("JWT_ROLES_FORMAT", "list"),
        ("JWT_PREVIOUS_KEY", "accept"),
        ("JWT_ALGORITHMS", "HS256"),
        ("JWT_ALGORITHMS", "HS512,HS384 HS256"),
    ],
)
def test_the_bounds_and_the_defaults_may_be_written_out(name: str, value: str) -> None:
    assert from_environment({name: value})


EVERY = {
    "JWT_SECRET_ID": "other",
    "JWT_SECRET_FIELD": "field",
    "AUTHORIZER_SECRET": SECRET,
    "JWT_ALGORITHMS": "HS256, HS512",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_AUDIENCE": "us, we",
    "JWT_AUDIENCE_CLAIM": "client_id",
    "JWT_TOKEN_TYPE": "at+jwt",
    "JWT_REQUIRED_CLAIMS": "token_use=access tenant=a=b",
    "JWT_CALLER_CLAIMS": "tenant, email",
    "JWT_ROLES_CLAIM": "groups",
    "JWT_LEEWAY_SECONDS": "120",
    "JWT_MAX_LIFETIME_SECONDS": "3600",
    "JWT_ROLES_FORMAT": "space-separated",
    "JWT_PREVIOUS_KEY": "refuse",
    "JWT_ROTATION_DAYS": "30",
    "JWT_REVOCATIONS_SECRET_ID": "ended-sessions",
    "JWT_KEY_TTL_SECONDS": "60",
    "JWT_KEY_MAX_STALE_SECONDS": "0",
    "CORS_ALLOWED_ORIGIN": "https://app.example.com",
}


def test_every_setting_is_read() -> None:
    assert EVERY.keys() | {"JWT_JWKS_URL"} == set(NAMES)
    assert from_environment(EVERY) == Settings(
        algorithms=("HS256", "HS512"),
        issuer="https://issuer.example",
        audiences=("us", "we"),
        audience_claim="client_id",
        token_type="at+jwt",
        claims={"token_use": "access", "tenant": "a=b"},
        caller_claims=("tenant", "email"),
        roles_claim="groups",
        roles_in_text=True,
        leeway=120,
        max_lifetime=3600,
        local_secret=SECRET,
        secret_id="other",
        secret_field="field",
        accept_previous_key=False,
        rotation_days=30,
        revocations_secret_id="ended-sessions",
        key_ttl=60,
        key_max_stale=0,
        allowed_origin="https://app.example.com",
    )


@pytest.mark.parametrize("text", ["us we", "us,we", " us , we ", "us,,we us"])
@pytest.mark.parametrize("name", ["JWT_AUDIENCE", "JWT_CALLER_CLAIMS", "JWT_ALGORITHMS"])
def test_a_list_has_commas_or_spaces_and_each_word_once(name: str, text: str) -> None:
    known = text.replace("us", "HS512").replace("we", "HS256") if name == "JWT_ALGORITHMS" else text
    wanted = from_environment({name: known})
    assert (wanted.audiences or wanted.caller_claims or wanted.algorithms) == tuple(
        ("HS512", "HS256") if name == "JWT_ALGORITHMS" else ("us", "we")
    )


# A name that is no setting.


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("JWT_MAX_LIFETIME", "JWT_MAX_LIFETIME_SECONDS"),
        ("JWT_AUDIENCES", "JWT_AUDIENCE"),
        ("JWT_ISUER", "JWT_ISSUER"),
        ("JWT_REQUIRED_CLAIM", "JWT_REQUIRED_CLAIMS"),
        ("JWT_issuer", "JWT_"),
        ("JWT_", "JWT_"),
        ("JWT_SOMETHING_ELSE", "JWT_"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest_right_one(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is no setting, .* write {nearest}\w*, or remove it\.$"):
        from_environment({name: "60"})


@pytest.mark.parametrize("name", ["JWT", "MY_JWT_ISSUER", "jwt_issuer", "AUTHORIZER_SECRETS", "CORS_ALLOWED_ORIGINS"])
def test_a_variable_that_is_not_named_as_ours_is_not_looked_at(name: str) -> None:
    assert from_environment({name: "60"}) == from_environment({})


def test_a_value_of_a_misspelt_setting_is_not_shown() -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment({"JWT_SECRET": SECRET})
    assert SECRET not in str(wrong.value)


def test_settings_are_those_of_the_process(environment: Callable[..., None]) -> None:
    environment(JWT_ISSUER="https://issuer.example")
    assert from_environment().issuer == "https://issuer.example"


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
        ("JWT_ROTATION_DAYS", "0"),
        ("JWT_ROTATION_DAYS", "1001"),
        ("JWT_ROTATION_DAYS", "monthly"),
        ("JWT_AUDIENCE_CLAIM", "client_id"),
        ("JWT_REQUIRED_CLAIMS", "token_use"),
        ("JWT_REQUIRED_CLAIMS", "token_use="),
        ("JWT_REQUIRED_CLAIMS", "=access"),
        ("JWT_REQUIRED_CLAIMS", "tenant=acme token_use"),
        ("JWT_REQUIRED_CLAIMS", "tenant=acme tenant=other"),
        ("JWT_REQUIRED_CLAIMS", "tenant = acme"),
        ("JWT_REQUIRED_CLAIMS", " "),
        ("JWT_CALLER_CLAIMS", " , "),
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
    ("variables", "said"),
    [
        ({"JWT_ALGORITHMS": "none"}, "HS256, HS384, HS512 without JWT_JWKS_URL; fix none."),
        ({"JWT_ALGORITHMS": "none, HS256 x"}, "fix none x."),
        ({"JWT_ALGORITHMS": ","}, "JWT_ALGORITHMS is an empty list: name something, or unset it."),
        ({"JWT_ALGORITHMS": "x" * 50}, f"without JWT_JWKS_URL; fix {'x' * 40}."),
        ({"JWT_ROLES_FORMAT": "t" * 30}, f"JWT_ROLES_FORMAT is '{'t' * 20}': choose space-separated or list."),
        ({"JWT_KEY_TTL_SECONDS": "9" * 30}, f"is '{'9' * 20}': write a whole number from 1 to 3600."),
        (
            {"CORS_ALLOWED_ORIGIN": "https://" + "a" * 40 + "/"},
            f"'https://{'a' * 32}': write * or one origin, such as https://app.example.com: lower case, no path, no"
            " slash at the end.",
        ),
    ],
)
def test_a_wrong_setting_names_right_ones_and_a_long_value_is_cut(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment(variables)
    assert str(wrong.value).endswith(said)


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example.com", "http://127.0.0.1:9000", "http://[::1]:9000", "capacitor://localhost"]
)
def test_one_origin_may_be_allowed_or_all(origin: str) -> None:
    assert from_environment({"CORS_ALLOWED_ORIGIN": origin}).allowed_origin == origin


def test_no_origin_is_allowed_unless_the_setting_names_one() -> None:
    assert from_environment({}).allowed_origin is None


def test_required_claims_may_hold_any_text_without_spaces() -> None:
    wanted = from_environment({"JWT_REQUIRED_CLAIMS": "  https://a.example/kind=x=y  level=1 "})
    assert wanted.claims == {"https://a.example/kind": "x=y", "level": "1"}


@pytest.mark.parametrize("claims", ["", "tenant=acme", "token_use=id", "token_use=Access"])
def test_another_audience_claim_is_for_cognitos_access_tokens(claims: str) -> None:
    variables = {"JWT_AUDIENCE": "us", "JWT_AUDIENCE_CLAIM": "client_id", "JWT_REQUIRED_CLAIMS": claims}
    with pytest.raises(SettingsError, match=r"JWT_AUDIENCE_CLAIM .*JWT_REQUIRED_CLAIMS=token_use=access"):
        from_environment(variables)
    assert from_environment({**variables, "JWT_REQUIRED_CLAIMS": "token_use=access tenant=acme"})


PROVIDER = {
    "JWT_JWKS_URL": "https://issuer.example/jwks.json",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_AUDIENCE": "us",
}


def test_an_identity_provider_means_rs256_unless_others_are_listed() -> None:
    settings = from_environment(PROVIDER)
    assert (settings.jwks_url, settings.algorithms) == (PROVIDER["JWT_JWKS_URL"], ("RS256",))
    listed = from_environment({**PROVIDER, "JWT_ALGORITHMS": "ES256 PS512 EdDSA Ed25519"})
    assert listed.algorithms == ("ES256", "PS512", "EdDSA", "Ed25519")
    for host in ("127.0.0.1:8080", "localhost", "[::1]:1"):
        assert from_environment({**PROVIDER, "JWT_JWKS_URL": f"http://{host}/jwks"}).jwks_url


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"JWT_ISSUER": ""}, "JWT_ISSUER"),
        ({"JWT_AUDIENCE": ""}, "JWT_AUDIENCE"),
        ({"JWT_AUDIENCE": " , "}, "JWT_AUDIENCE"),
        ({"JWT_JWKS_URL": "http://issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "http://127.0.0.1.issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "http://127.0.0.1@issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "file:///etc/passwd"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "file://localhost/etc/passwd"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://[broken"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://name:password@issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://issuer.example:port/jwks.json"}, "JWT_JWKS_URL"),
        ({"JWT_ALGORITHMS": "HS256"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "RS256,HS256"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "none"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "ES256K"}, "JWT_ALGORITHMS"),
        ({"AUTHORIZER_SECRET": SECRET}, "AUTHORIZER_SECRET"),
        ({"JWT_ROTATION_DAYS": "30"}, "JWT_ROTATION_DAYS"),
    ],
)
def test_an_identity_provider_that_is_set_up_unsafely_is_refused(change: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as wrong:
        from_environment({**PROVIDER, **change})
    assert SECRET not in str(wrong.value)


def test_an_algorithm_for_secrets_is_none_for_an_identity_provider() -> None:
    with pytest.raises(SettingsError, match="EdDSA, Ed25519 with JWT_JWKS_URL; fix HS256"):
        from_environment({**PROVIDER, "JWT_ALGORITHMS": "RS256 HS256"})


def test_a_secret_in_a_functions_configuration_is_refused_unshown() -> None:
    with pytest.raises(SettingsError, match="AUTHORIZER_SECRET") as wrong:
        from_environment({"AUTHORIZER_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "f"})
    assert SECRET not in str(wrong.value)


def test_the_repr_of_settings_does_not_show_the_secret() -> None:
    assert SECRET not in repr(from_environment({"AUTHORIZER_SECRET": SECRET}))
