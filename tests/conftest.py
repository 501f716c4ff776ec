"""A good case for every test to change one thing of: a clean environment with a secret, a service, a client."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.test import Client

from chalicelib.guard import decision_log
from operations.project import Project
from tests.support import matrix, security_page, service
from tests.support.client import AsCaller
from tests.support.client import as_caller as callers
from tests.support.local_server import NO_AWS
from tests.support.project import PROJECT, SERVICE, copy_project, project_of
from tests.support.tokens import SECRET


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(security_page.Held())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Start each test from a clean environment with a local secret; call it to change variables.

    Call it before the service answers its first request: it reads its settings then, once.
    """

    def change(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    ours = [name for name in os.environ if name.startswith(("AWS_", "JWT_", "CORS_ALLOWED_"))]
    change(**{**dict.fromkeys(ours), **NO_AWS, "AUTHORIZER_SECRET": SECRET})
    return change


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Read the decision log since the last reading. Every line of it must be JSON by itself."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def in_lambda(environment: Callable[..., None]) -> Iterator[str]:
    """Be inside Lambda. Its function's name, which the decision log reads when it is imported."""
    name = "fixture-dev-jwt_authorizer"
    environment(AWS_LAMBDA_FUNCTION_NAME=name)
    importlib.reload(decision_log)
    yield name
    environment(AWS_LAMBDA_FUNCTION_NAME=None)
    importlib.reload(decision_log)


# For the engine's tests: its own service, in tests/support/service/.


@pytest.fixture
def fixture_service() -> service.Service:
    """The engine's own service, loaded again for each test."""
    return service.load()


@pytest.fixture
def client(fixture_service: service.Service) -> Iterator[Client]:
    with Client(fixture_service.app, stage_name="local") as made:
        yield made


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    """A copy of the engine's own service as a project of its own: engine, operations and manage.py with it."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def project() -> Project:
    """The engine's own service, as manage.py's commands see their project."""
    return project_of(SERVICE)


# For your tests, on your app.


@pytest.fixture
def as_caller() -> Iterator[Callable[..., AsCaller]]:
    """Send requests to your app: `as_caller("auditor", subject="ann").get("/orders/7")`.

    `as_caller(None)` sends no token. More claims go by name: `as_caller("user", tenant="acme")`.
    """
    with Client(service.load(PROJECT).app, stage_name="local") as made:
        yield callers(made)


@pytest.fixture
def status_of() -> Iterator[Callable[[matrix.Case], int]]:
    """Return the status that your app answers to a case of the matrix. No view of yours runs."""
    app = matrix.without_views(service.load(PROJECT).app)
    with Client(app, stage_name="local") as made:
        yield lambda case: matrix.status_of(case, app, callers(made))
