"""Good tokens to change one thing of, and the secret that signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import jwt

SECRET = "the-secret-of-the-tests-" + "x" * 40


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims of a `user`, with changes; a change to `...` takes the claim out."""
    now = int(time.time())
    merged = {"sub": "alice", "roles": ["user"], "iat": now, "exp": now + 3600, **changes}
    return {name: value for name, value in merged.items() if value is not ...}


def sign(payload: dict[str, Any], secret: str = SECRET, **header: Any) -> str:
    return jwt.encode(payload, secret, algorithm=header.pop("alg", "HS256"), headers=header)


def token(*roles: str, **changes: Any) -> str:
    return sign(claims(roles=list(roles), **changes))


def forge(header: bytes, payload: bytes, secret: str = SECRET) -> str:
    """Sign these very bytes with HS256, as an issuer with the right secret and odd habits would."""
    head, body = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    mac = hmac.new(secret.encode(), head + b"." + body, hashlib.sha256).digest()
    return (head + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
