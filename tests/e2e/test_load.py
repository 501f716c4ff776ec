"""`make load`, with few requests: it sends what it says, and reports an answer that was not due."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import aws_runtime
from tests.support.deployed import Deployed
from tests.support.load import Flood, Memory, OneEnvironment, Traffic

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="AWS's runtime client, awslambdaric, runs on Linux only"
)


@pytest.fixture(scope="module")
def package(dev: Deployed) -> bytes:
    (package,) = (dev.project / ".chalice" / "deployments").glob("*.zip")
    return package.read_bytes()


@pytest.fixture(scope="module")
def url(dev: Deployed, package: bytes) -> Iterator[str]:
    with aws_runtime.adopted(dev.aws, dev.function("jwt_authorizer"), package):
        yield f"{dev.aws.api_url(dev.api_id, dev.stage)}/items"


def test_every_kind_of_request_gets_the_answer_that_is_due(dev: Deployed, url: str) -> None:
    flood, memory = Flood(url, Traffic([dev.signing_key()])), Memory([dev.function("jwt_authorizer")])
    flood.run(150, concurrency=3)
    memory.sample("then")
    assert not flood.examples
    assert flood.right.total() == flood.sent() == 150
    assert "all" in flood.table()
    assert len(memory.taken) > 0


def test_an_answer_that_is_not_due_is_reported(url: str) -> None:
    flood = Flood(url, Traffic(["another-secret-" + "x" * 64]))
    flood.run(40, concurrency=3)
    assert flood.wrong["GET as user, new token"] > 0
    assert flood.wrong["GET, forged"] == 0
    assert any("due 200, got 401" in example for example in flood.examples)


def test_one_environment_alone_answers_as_is_due(dev: Deployed, package: bytes, tmp_path: Path) -> None:
    alone = OneEnvironment(Traffic([dev.signing_key()]), 40)
    alone.run(package, tmp_path, dev.aws.environment(JWT_SECRET_ID=dev.secret_id))
    assert not alone.wrong
    assert len(alone.samples) == 4
    wrong = OneEnvironment(Traffic(["another-secret-" + "x" * 64]), 20)
    wrong.run(package, tmp_path / "wrong", dev.aws.environment(JWT_SECRET_ID=dev.secret_id))
    assert wrong.wrong
