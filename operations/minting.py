"""Tokens for development, made as the settings want them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from chalicelib.guard.keys.source import hmac_keys
from chalicelib.guard.settings import Settings
from operations.fault import Fault
from operations.project import Project


def mint(
    settings: Settings,
    secret: str,
    subject: str,
    roles: Sequence[str],
    ttl: int,
    claims: Mapping[str, Any],
    kid: str | None = None,
) -> str:
    """Return a token that lives `ttl` seconds and that these settings accept; `claims` come last and win."""
    now = int(time.time())
    made: dict[str, Any] = {"sub": subject, "iat": now, "exp": now + lifetime(settings, ttl)}
    made |= _nested(settings.roles_claim, " ".join(roles) if settings.roles_in_text else list(roles))
    if settings.issuer is not None:
        made["iss"] = settings.issuer
    if settings.audiences:
        made[settings.audience_claim] = settings.audiences[0]
    header = {"kid": kid, "typ": settings.token_type}
    return jwt.encode(
        {**made, **settings.claims, **claims},
        secret,
        algorithm=settings.algorithms[0],
        headers={name: value for name, value in header.items() if value is not None},
    )


def lifetime(settings: Settings, ttl: int) -> int:
    """Return for how many seconds a token lives of which `ttl` are wanted: JWT_MAX_LIFETIME_SECONDS at most."""
    return min(ttl, settings.max_lifetime or ttl)


def _nested(name: str, value: object) -> dict[str, Any]:
    """Return the claim as providers write it: a path of names as objects in objects, a URL as one name."""
    for part in reversed([name] if "://" in name else name.split(".")):
        value = {part: value}
    return value  # type: ignore[return-value]  # split returns one part at least


def local_secret(project: Project, settings: Settings, *, create: bool) -> str:
    """Return `AUTHORIZER_SECRET`, or this machine's own secret, made on demand for its owner's eyes alone."""
    refuse_to_sign_for_a_provider(settings)
    secret, where, file = settings.local_secret, "AUTHORIZER_SECRET", project.local_secret
    if secret is None:
        where = f"{file} (which make local makes again when you remove it)"
        if create and not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as made:
                made.write(secrets.token_urlsafe(64))
        try:
            secret = file.read_text()
        except FileNotFoundError:
            raise Fault(
                "There is no secret on this machine yet: run make local once, or set AUTHORIZER_SECRET."
            ) from None
    hmac_keys(secret, None, settings.algorithms, where)  # is it strong enough?
    return secret


def refuse_to_sign_for_a_provider(settings: Settings) -> None:
    if settings.jwks_url is not None:
        raise Fault(f"JWT_JWKS_URL is set: tokens come from the identity provider {settings.issuer}.")


def tampered(token: str) -> str:
    """Return the token with another signature."""
    return token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")


def unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return header and claims as the token has them, empty where they cannot be read. Nothing is decided by them."""
    header, claims = [*token.split("."), ""][:2]
    return _read(header), _read(claims)


def _read(segment: str) -> Mapping[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(segment + "=="))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def subject(token: str) -> str:
    """Return the `sub` that a token claims, unverified; empty where it has none."""
    return str(unverified(token)[1].get("sub", ""))
