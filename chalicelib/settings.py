"""The environment becomes Settings, checked once. The only reader of `os.environ`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from chalicelib.tokens import Requirements

#: RFC 7518 section 3.2: the secret is at least as long as the hash.
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
HOW_TO_MAKE_ONE = """make one with: python3 -c "import secrets; print(secrets.token_urlsafe(64))\""""


class SettingsError(Exception):
    """A setting is wrong. The text names the variable, the fault and the mend, never a secret's value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`local_secret` is `AUTHORIZER_SECRET`; where it is None the secret comes from Secrets Manager."""

    requirements: Requirements
    secret_id: str
    secret_field: str
    local_secret: str | None = field(repr=False)


@cache
def current() -> Settings:
    """Return the settings of this process; raise SettingsError, every time until they are mended."""
    return from_environment(os.environ)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings that these variables make, or raise SettingsError. An empty variable is unset."""
    given = {name: value for name, value in environment.items() if value}
    if "JWT_JWKS_URL" in given:
        raise SettingsError("JWT_JWKS_URL is set, but this version verifies HS256 secrets only: unset it.")
    local_secret = given.get("AUTHORIZER_SECRET")
    if local_secret is not None and "AWS_LAMBDA_FUNCTION_NAME" in given:
        raise SettingsError(
            "AUTHORIZER_SECRET is set inside Lambda, where everyone who may read the function's configuration"
            " can read it: take it out and name a secret in Secrets Manager with JWT_SECRET_ID."
        )
    algorithms = tuple(given.get("JWT_ALGORITHMS", "HS256").replace(",", " ").split())
    unknown = [name for name in algorithms if name not in SECRET_BYTES]
    if unknown or not algorithms:
        raise SettingsError(f"JWT_ALGORITHMS may list {', '.join(SECRET_BYTES)}; mend {' '.join(unknown) or 'it'}.")
    lifetime = "JWT_MAX_LIFETIME_SECONDS"
    return Settings(
        requirements=Requirements(
            algorithms=algorithms,
            issuer=given.get("JWT_ISSUER"),
            audience=given.get("JWT_AUDIENCE"),
            roles_claim=given.get("JWT_ROLES_CLAIM", "roles"),
            leeway=_seconds(given, "JWT_LEEWAY_SECONDS", 0, 120) if "JWT_LEEWAY_SECONDS" in given else 0,
            max_lifetime=_seconds(given, lifetime, 1, 10**9) if lifetime in given else None,
        ),
        secret_id=given.get("JWT_SECRET_ID", "jwt-secret-key"),
        secret_field=given.get("JWT_SECRET_FIELD", "my_secret_key"),
        local_secret=local_secret,
    )


def _seconds(given: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise SettingsError(f"{name} is {text[:20]!r}: write a whole number of seconds from {least} to {most}.")
    return int(text)
