"""Tokens for development, and the requests to try them with."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt

from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.settings import Settings
from operations.fault import Fault

LOCAL_SECRET = Path(__file__).parents[1] / ".chalice" / "local-secret"


def mint(
    settings: Settings,
    secret: str,
    subject: str,
    roles: Sequence[str],
    ttl: int,
    claims: Mapping[str, Any],
    kid: str | None = None,
) -> str:
    """Return a token that lives `ttl` seconds, made as the settings want one; `claims` come last and win."""
    wanted = settings.requirements
    now = int(time.time())
    made = {"sub": subject, wanted.roles_claim: list(roles), "iat": now, "exp": now + ttl}
    if wanted.issuer is not None:
        made["iss"] = wanted.issuer
    if wanted.audience is not None:
        made["aud"] = wanted.audience
    header = {"kid": kid} if kid is not None else None
    return jwt.encode({**made, **claims}, secret, algorithm=wanted.algorithms[0], headers=header)


def local_secret(settings: Settings, *, create: bool) -> str:
    """Return `AUTHORIZER_SECRET`, or this machine's own secret, made on demand for its owner's eyes alone."""
    refuse_to_sign_for_a_provider(settings)
    secret, where = settings.local_secret, "AUTHORIZER_SECRET"
    if secret is None:
        where = f"{LOCAL_SECRET} (which make local makes anew when you remove it)"
        if create and not LOCAL_SECRET.exists():
            descriptor = os.open(LOCAL_SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(64))
        try:
            secret = LOCAL_SECRET.read_text()
        except FileNotFoundError:
            raise Fault(
                "There is no secret on this machine yet: run make local once, or set AUTHORIZER_SECRET."
            ) from None
    hmac_keys(secret, None, settings.requirements.algorithms, where)  # is it strong enough?
    return secret


def refuse_to_sign_for_a_provider(settings: Settings) -> None:
    if settings.jwks_url is not None:
        raise Fault(f"JWT_JWKS_URL is set: tokens come from the identity provider {settings.requirements.issuer}.")


def spoiled(token: str) -> str:
    """Return the token with another signature."""
    return token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")


#: The tutorial's requests: what, HTTP method, whose token, and the status that it gives.
TUTORIAL = (
    ("GET as user", "GET", "user", 200),
    ("POST as user", "POST", "user", 403),
    ("GET as admin", "GET", "admin", 200),
    ("POST as admin", "POST", "admin", 200),
    ("GET without a token", "GET", None, 401),
    ("GET with a spoiled token", "GET", "spoiled", 401),
)


def curl_lines(url: str, tokens: Mapping[str, str]) -> str:
    """Return the tutorial's requests as curl lines, each below its status; a token may be a `$(command)`."""
    lines = []
    for what, method, whose, status in TUTORIAL:
        words = ["curl -i"]
        if whose is not None:
            words.append(f'-H "Authorization: {tokens[whose]}"')
        if method == "POST":
            words.append("""-X POST -H "Content-Type: application/json" -d '{"key":"value"}'""")
        lines.append(f"# {status}: {what}\n{' '.join(words)} {url}\n")
    return "\n".join(lines)
