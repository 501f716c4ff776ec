"""The Chalice test client, as a caller with a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalice.test import Client, HTTPResponse

from tests.support.tokens import token


@dataclass(frozen=True)
class AsCaller:
    """Requests of one caller. `authorization` None: without a token."""

    client: Client
    authorization: str | None

    def request(self, method: str, path: str, *, body: Any = None, **headers: str) -> HTTPResponse:
        """Send a request; a `body` that is not bytes is sent as JSON."""
        given = {} if self.authorization is None else {"Authorization": self.authorization}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **given, **headers}
        return self.client.http.request(method, path, headers=all_headers, body=raw)

    def get(self, path: str, **headers: str) -> HTTPResponse:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        return self.request("POST", path, body=body, **headers)


def as_caller(client: Client) -> Callable[..., AsCaller]:
    """Return what makes callers of this client: `("auditor", subject="ann")`, or `(None)` for one without a token."""

    def call(*roles: str | None, subject: str = "alice", **claims: Any) -> AsCaller:
        sent = None if roles == (None,) else token(*(role for role in roles if role), sub=subject, **claims)
        return AsCaller(client, sent)

    return call
