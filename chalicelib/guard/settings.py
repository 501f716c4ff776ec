"""The environment becomes Settings, checked once. The only reader of `os.environ`."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from chalicelib.guard.decision import Failure, Reason
from chalicelib.guard.tokens import Requirements

#: RFC 7518 section 3.2: the secret is at least as long as the hash.
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
#: What a public key can verify. ES256K and the SHA-1 family are left out: no identity provider needs them.
PUBLIC_KEY_ALGORITHMS = tuple("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split())
#: Every variable that `from_environment` reads.
NAMES = """AUTHORIZER_SECRET CORS_ALLOWED_ORIGIN
    JWT_SECRET_ID JWT_SECRET_FIELD JWT_PREVIOUS_KEY JWT_ROTATION_DAYS JWT_REVOCATIONS_SECRET_ID JWT_JWKS_URL
    JWT_ALGORITHMS JWT_ISSUER JWT_AUDIENCE JWT_AUDIENCE_CLAIM JWT_TOKEN_TYPE JWT_REQUIRED_CLAIMS JWT_CALLER_CLAIMS
    JWT_ROLES_CLAIM JWT_ROLES_FORMAT JWT_LEEWAY_SECONDS JWT_MAX_LIFETIME_SECONDS
    JWT_KEY_TTL_SECONDS JWT_KEY_MAX_STALE_SECONDS
""".split()
# RFC 6454 section 6.2: scheme, host and port. Nothing in it can end the quotes that API Gateway wants around it.
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
MAX_CALLER_CLAIMS = 16
HOW_TO_MAKE_ONE = """make one with: python3 -c "import secrets; print(secrets.token_urlsafe(64))\""""


class SettingsError(Failure):
    """A setting is wrong. The text names the variable, the fault and the fix, never a secret's value."""

    reason = Reason.BAD_SETTING


@dataclass(frozen=True, slots=True)
class Settings:
    """Where keys come from: `jwks_url` if it is set, else `local_secret`, else Secrets Manager. Times are seconds."""

    requirements: Requirements
    secret_id: str
    secret_field: str
    local_secret: str | None = field(repr=False)
    jwks_url: str | None
    accept_previous_key: bool
    rotation_days: int | None
    revocations_secret_id: str | None
    key_ttl: int
    key_max_stale: int
    allowed_origin: str | None


def function_name() -> str | None:
    """Return the Lambda function that this process is; None outside Lambda."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME")


def environment() -> Mapping[str, str]:
    """Return the environment as it is now: in Lambda its credentials change."""
    return os.environ


def handler() -> str | None:
    """Return the handler that Lambda runs this process for, such as app.jwt_authorizer; None outside Lambda."""
    return os.environ.get("_HANDLER")


def rotation_days() -> str | None:
    """Return JWT_ROTATION_DAYS as it is written; `from_environment` says what is wrong with it."""
    return os.environ.get("JWT_ROTATION_DAYS")


def allowed_origin() -> str | None:
    """Return the origin whose pages may read answers. A wrong setting allows none; `current_settings` says why."""
    with suppress(SettingsError):
        return _origin(os.environ)
    return None


def current_settings() -> Settings:
    """Return the settings of this process; raise SettingsError until they are right."""
    return from_environment(os.environ)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings that these variables make, or raise SettingsError. An empty variable is unset."""
    given = {name: value for name, value in environment.items() if value}
    for name in given:
        if name.startswith("JWT_") and name not in NAMES:
            from difflib import get_close_matches  # for this sentence alone

            nearest = get_close_matches(name, NAMES, 1, 0)[0]
            raise SettingsError(f"{name} is no setting, so it would have no effect: write {nearest}, or remove it.")
    local_secret, jwks_url = given.get("AUTHORIZER_SECRET"), given.get("JWT_JWKS_URL")
    if local_secret is not None and "AWS_LAMBDA_FUNCTION_NAME" in given:
        # Everyone who may read the function's configuration could read it.
        raise SettingsError("AUTHORIZER_SECRET is set inside Lambda: remove it, and name a secret with JWT_SECRET_ID.")
    if local_secret is not None and jwks_url is not None:
        raise SettingsError("AUTHORIZER_SECRET and JWT_JWKS_URL are both set: keys have one source, unset the other.")
    if jwks_url is not None:
        _check_jwks(jwks_url, given)
    return Settings(
        requirements=_requirements(given, tuple(SECRET_BYTES) if jwks_url is None else PUBLIC_KEY_ALGORITHMS),
        secret_id=given.get("JWT_SECRET_ID", "jwt-secret-key"),
        secret_field=given.get("JWT_SECRET_FIELD", "my_secret_key"),
        local_secret=local_secret,
        jwks_url=jwks_url,
        accept_previous_key=_choice(given, "JWT_PREVIOUS_KEY", ("accept", "refuse")) == "accept",
        revocations_secret_id=given.get("JWT_REVOCATIONS_SECRET_ID"),
        rotation_days=_number(given, "JWT_ROTATION_DAYS", None, 1, 1000, "days"),
        key_ttl=_number(given, "JWT_KEY_TTL_SECONDS", 300, 1, 3600),
        key_max_stale=_number(given, "JWT_KEY_MAX_STALE_SECONDS", 3600, 0, 86400),
        allowed_origin=_origin(given),
    )


def _requirements(given: Mapping[str, str], known_algorithms: tuple[str, ...]) -> Requirements:
    claims, audience_claim = _required_claims(given), given.get("JWT_AUDIENCE_CLAIM", "aud")
    if audience_claim != "aud" and claims.get("token_use") != "access":
        # Only in Amazon Cognito's access tokens does another claim mean what `aud` means.
        raise SettingsError("JWT_AUDIENCE_CLAIM needs JWT_REQUIRED_CLAIMS=token_use=access: set that, or unset it.")
    caller_claims = _words(given, "JWT_CALLER_CLAIMS")
    if len(caller_claims) > MAX_CALLER_CLAIMS:
        raise SettingsError(f"JWT_CALLER_CLAIMS names {len(caller_claims)} claims: {MAX_CALLER_CLAIMS} at most.")
    return Requirements(
        algorithms=_algorithms(given, known_algorithms),
        issuer=given.get("JWT_ISSUER"),
        audiences=_words(given, "JWT_AUDIENCE"),
        audience_claim=audience_claim,
        token_type=given.get("JWT_TOKEN_TYPE"),
        claims=claims,
        caller_claims=caller_claims,
        roles_claim=given.get("JWT_ROLES_CLAIM", "roles"),
        roles_in_text=_choice(given, "JWT_ROLES_FORMAT", ("list", "space-separated")) == "space-separated",
        leeway=_number(given, "JWT_LEEWAY_SECONDS", 0, 0, 120),
        max_lifetime=_number(given, "JWT_MAX_LIFETIME_SECONDS", None, 1, 10**9),
    )


def _required_claims(given: Mapping[str, str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in given.get("JWT_REQUIRED_CLAIMS", "").split()]
    if not all(name and value for name, _, value in pairs) or len({name for name, _, _ in pairs}) != len(pairs):
        raise SettingsError("JWT_REQUIRED_CLAIMS must be claim=text, separated by spaces, each claim once.")
    return {name: value for name, _, value in pairs}


def _words(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return a list that commas or spaces separate, each word once."""
    return tuple(dict.fromkeys(given.get(name, "").replace(",", " ").split()))


def _origin(given: Mapping[str, str]) -> str | None:
    # One: what API Gateway itself answers is fixed, so it cannot choose from a list.
    origin = given.get("CORS_ALLOWED_ORIGIN")
    if origin and not _ORIGIN.fullmatch(origin):
        raise SettingsError(
            f"CORS_ALLOWED_ORIGIN is {origin[:40]!r}: write one origin as browsers send it, such as"
            " https://app.example.com, in lower case and without a path or a slash at the end; or *."
        )
    return origin or None


def _check_jwks(url: str, given: Mapping[str, str]) -> None:
    parts = None
    with suppress(ValueError):
        parts = urlsplit(url)
    loopback = parts and parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not (parts and parts.hostname and (parts.scheme == "https" or loopback)):
        raise SettingsError("JWT_JWKS_URL must start with https:// (http:// is for loopback alone, in tests).")
    if "JWT_ROTATION_DAYS" in given:
        raise SettingsError("JWT_ROTATION_DAYS is set with JWT_JWKS_URL: the provider rotates its own keys; unset it.")
    for name in ("JWT_ISSUER", "JWT_AUDIENCE"):
        # Without them a token that the provider made for anybody else would be valid here.
        if name not in given:
            raise SettingsError(f"{name} is not set: with JWT_JWKS_URL both JWT_ISSUER and JWT_AUDIENCE are needed.")


def _algorithms(given: Mapping[str, str], known: tuple[str, ...]) -> tuple[str, ...]:
    # Secrets and public keys never share an allow-list: a public key is everybody's HS256 secret.
    listed = _words({"JWT_ALGORITHMS": known[0], **given}, "JWT_ALGORITHMS")
    if not listed or not set(listed) <= set(known):
        wrong = " ".join(name for name in listed if name not in known)[:40] or "the empty list"
        beside = "with" if known is PUBLIC_KEY_ALGORITHMS else "without"
        raise SettingsError(f"JWT_ALGORITHMS may list {', '.join(known)} {beside} JWT_JWKS_URL; fix {wrong}.")
    return listed


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return what was chosen, the first where nothing was."""
    chosen = given.get(name, choices[0])
    if chosen not in choices:
        raise SettingsError(f"{name} is {chosen[:20]!r}: choose {' or '.join(choices)}.")
    return chosen


def _number(given: Mapping[str, str], name: str, default: Any, least: int, most: int, unit: str = "seconds") -> Any:
    """Return a whole number, or `default` if it is unset."""
    if name not in given:
        return default
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise SettingsError(f"{name} is {text[:20]!r}: write a whole number of {unit} from {least} to {most}.")
    return int(text)
