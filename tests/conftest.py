"""A good case for every test to spoil: an environment with a secret, a token that stands, a client."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from chalice.test import Client

from app import app
from chalicelib.guard import authorizer, settings
from tests.support import security_page
from tests.support.project import copy_project

SECRET = "the-secret-of-the-tests-" + "x" * 40
PATH = "/protected-resource"
#: Nothing here may reach the account of whoever runs the tests.
NO_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(security_page.Held())


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


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Start each test from a clean environment with a local secret; call it to change variables."""

    def change(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        settings.current.cache_clear()
        authorizer.key_source.cache_clear()

    unset = ["JWT_SECRET_ID", "JWT_SECRET_FIELD", "JWT_JWKS_URL", "JWT_ALGORITHMS", "JWT_ISSUER"]
    unset += ["JWT_AUDIENCE", "JWT_ROLES_CLAIM", "JWT_LEEWAY_SECONDS", "JWT_MAX_LIFETIME_SECONDS"]
    unset += ["JWT_ROLES_FORMAT", "JWT_PREVIOUS_KEY", "JWT_KEY_TTL_SECONDS", "JWT_KEY_MAX_STALE_SECONDS"]
    unset += ["CORS_ALLOWED_ORIGIN"]
    unset += ["AWS_LAMBDA_FUNCTION_NAME", "AWS_DEFAULT_REGION", "AWS_REGION"]
    unset += [name for name in os.environ if name.startswith("AWS_")]
    change(AUTHORIZER_SECRET=SECRET, **{**dict.fromkeys(unset), **NO_AWS})
    yield change
    change()


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(app, stage_name="local") as made:
        yield made


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Read the decision log since the last reading. Every line of it must be JSON by itself."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")
