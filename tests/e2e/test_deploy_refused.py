"""What manage.py refuses of a stage before anything is changed. What needs no AWS is in tests/operations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import change


@pytest.fixture
def fresh(aws: EmbeddedAws, project_copy: Path) -> Deployed:
    return Deployed(aws, project_copy, "dev", "fixture-key-dev")


def refusal(deployed: Deployed, *words: str) -> str:
    with pytest.raises(AssertionError) as refused:
        deployed.manage(*words)
    output = str(refused.value)
    assert "Creating deployment package" not in output
    assert "Traceback" not in output
    return next(line for line in output.splitlines() if "Error: " in line)


def use_secret(project: Path, name: str) -> None:
    for file in ("config.json", "policy-authorizer-dev.json"):
        change(project / ".chalice" / file, "fixture-key-dev", name)


def test_a_missing_secret_is_named_with_the_command_that_makes_it(fresh: Deployed) -> None:
    use_secret(fresh.project, "never-made")
    assert "manage.py secret create --stage dev" in refusal(fresh, "deploy", "--stage", "dev")


def test_a_secret_that_is_too_weak_is_refused(fresh: Deployed) -> None:
    use_secret(fresh.project, "weak")
    fresh.aws.client("secretsmanager").create_secret(Name="weak", SecretString='{"my_secret_key": "my_secret_key"}')
    assert "32 bytes" in refusal(fresh, "deploy", "--stage", "dev")


@pytest.mark.parametrize("command", ["deploy", "package"])
def test_what_is_wrong_with_the_project_is_said_before_chalice_runs(fresh: Deployed, command: str) -> None:
    change(fresh.project / "chalicelib" / "rules.py", '("POST", "/items")', '("PUT", "/items")')
    words = [command, "--stage", "dev", *(["out"] if command == "package" else [])]
    assert "PUT /items is in the table but app.py has no such route" in refusal(fresh, *words)


@pytest.mark.parametrize("command", ["deploy", "secret create", "secret status", "token"])
@pytest.mark.parametrize(
    ("without", "named"),
    [(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "AWS_PROFILE"), (("AWS_DEFAULT_REGION",), "AWS_DEFAULT_REGION")],
)
def test_without_credentials_or_a_region_it_says_what_to_set(
    fresh: Deployed, command: str, without: tuple[str, ...], named: str
) -> None:
    assert named in refusal(dataclasses.replace(fresh, without=without), *command.split(), "--stage", "dev")
