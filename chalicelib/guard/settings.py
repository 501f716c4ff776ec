"""The environment becomes Settings, checked once. The only reader of `os.environ`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

from chalicelib.guard.tokens import Requirements

#: RFC 7518 section 3.2: the secret is at least as long as the hash.
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
#: What a public key can verify. ES256K and the SHA-1 family are left out: no identity provider needs them.
PUBLIC_KEY_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# RFC 6454 section 6.2: scheme, host and port. Nothing in it can end the quotes that API Gateway wants around it.
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
HOW_TO_MAKE_ONE = """make one with: python3 -c "import secrets; print(secrets.token_urlsafe(64))\""""


class SettingsError(Exception):
    """A setting is wrong. The text names the variable, the fault and the mend, never a secret's value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where keys come from: `jwks_url` if it is set, else `local_secret`, else Secrets Manager. Times are seconds."""

    requirements: Requirements
    secret_id: str
    secret_field: str
    local_secret: str | None = field(repr=False)
    jwks_url: str | None
    accept_previous_key: bool
    key_ttl: int
    key_max_stale: int
    allowed_origin: str | None


def function_name() -> str | None:
    """Return the Lambda function that this process is; None outside Lambda."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME")


def allowed_origin() -> str | None:
    """Return the origin whose pages may read answers. A wrong setting allows none; `current` says what is wrong."""
    with suppress(SettingsError):
        return _origin(os.environ)
    return None


@cache
def current() -> Settings:
    """Return the settings of this process; raise SettingsError, every time until they are mended."""
    return from_environment(os.environ)


def handler() -> str | None:
    """Return the handler that Lambda runs this process for, such as app.jwt_authorizer; None outside Lambda."""
    return os.environ.get("_HANDLER")


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings that these variables make, or raise SettingsError. An empty variable is unset."""
    given = {name: value for name, value in environment.items() if value}
    local_secret, jwks_url = given.get("AUTHORIZER_SECRET"), given.get("JWT_JWKS_URL")
    if local_secret is not None and "AWS_LAMBDA_FUNCTION_NAME" in given:
        raise SettingsError(
            "AUTHORIZER_SECRET is set inside Lambda, where everyone who may read the function's configuration"
            " can read it: take it out and name a secret in Secrets Manager with JWT_SECRET_ID."
        )
    if local_secret is not None and jwks_url is not None:
        raise SettingsError(
            "AUTHORIZER_SECRET and JWT_JWKS_URL are both set: keys come from one place, unset the other."
        )
    if jwks_url is not None:
        _check_jwks(jwks_url, given)
    lifetime = "JWT_MAX_LIFETIME_SECONDS"
    return Settings(
        requirements=Requirements(
            algorithms=_algorithms(given, tuple(SECRET_BYTES) if jwks_url is None else PUBLIC_KEY_ALGORITHMS),
            issuer=given.get("JWT_ISSUER"),
            audience=given.get("JWT_AUDIENCE"),
            roles_claim=given.get("JWT_ROLES_CLAIM", "roles"),
            roles_in_text=_choice(given, "JWT_ROLES_FORMAT", ("list", "space-separated")) == "space-separated",
            leeway=_seconds(given, "JWT_LEEWAY_SECONDS", 0, 0, 120),
            max_lifetime=_seconds(given, lifetime, 0, 1, 10**9) if lifetime in given else None,
        ),
        secret_id=given.get("JWT_SECRET_ID", "jwt-secret-key"),
        secret_field=given.get("JWT_SECRET_FIELD", "my_secret_key"),
        local_secret=local_secret,
        jwks_url=jwks_url,
        accept_previous_key=_choice(given, "JWT_PREVIOUS_KEY", ("accept", "refuse")) == "accept",
        key_ttl=_seconds(given, "JWT_KEY_TTL_SECONDS", 300, 1, 3600),
        key_max_stale=_seconds(given, "JWT_KEY_MAX_STALE_SECONDS", 3600, 0, 86400),
        allowed_origin=_origin(given),
    )


def _origin(given: Mapping[str, str]) -> str | None:
    """Return the one allowed origin. One: what API Gateway itself answers is fixed, so it cannot choose from a list."""
    origin = given.get("CORS_ALLOWED_ORIGIN")
    if origin and not _ORIGIN.fullmatch(origin):
        raise SettingsError(
            f"CORS_ALLOWED_ORIGIN is {origin[:40]!r}: write one origin as browsers send it, such as"
            " https://app.example.com, in lower case and without a path or a slash at the end; or *."
        )
    return origin or None


def _check_jwks(url: str, given: Mapping[str, str]) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not ((parts.scheme == "https" and parts.hostname) or loopback):
        raise SettingsError("JWT_JWKS_URL must start with https:// (http:// is for loopback alone, in tests).")
    for name in ("JWT_ISSUER", "JWT_AUDIENCE"):
        # Without them a token that the provider made for anybody else would stand here.
        if name not in given:
            raise SettingsError(f"{name} is not set: with JWT_JWKS_URL both JWT_ISSUER and JWT_AUDIENCE are needed.")


def _algorithms(given: Mapping[str, str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the allow-list. Secrets and public keys never share one: a public key is everybody's HS256 secret."""
    listed = tuple(given.get("JWT_ALGORITHMS", known[0]).replace(",", " ").split())
    wrong = [name for name in listed if name not in known]
    if wrong or not listed:
        where = "with JWT_JWKS_URL" if known is PUBLIC_KEY_ALGORITHMS else "without JWT_JWKS_URL"
        raise SettingsError(
            f"JWT_ALGORITHMS may list {', '.join(known)} {where}; mend {' '.join(wrong)[:40] or 'the empty list'}."
        )
    return listed


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return what was chosen, the first where nothing was."""
    chosen = given.get(name, choices[0])
    if chosen not in choices:
        raise SettingsError(f"{name} is {chosen[:20]!r}: choose {' or '.join(choices)}.")
    return chosen


def _seconds(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise SettingsError(f"{name} is {text[:20]!r}: write a whole number of seconds from {least} to {most}.")
    return int(text)
