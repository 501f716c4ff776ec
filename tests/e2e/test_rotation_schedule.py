"""The rotation that a stage asks for: each deployment schedules, changes or cancels it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import change, configure, copy_project, of_another_name


@pytest.fixture(scope="module")
def rotating(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    project = of_another_name(copy_project(tmp_path_factory.mktemp("rotating") / "project"), "rotating")
    deployed = Deployed(aws, project, "prod", "rotating-key")
    deployed.manage("secret", "create", "--stage", "prod")
    deployed.printed = deployed.manage("deploy", "--stage", "prod")
    return deployed


def described(deployed: Deployed, name: str = "rotating-key") -> dict[str, Any]:
    found: dict[str, Any] = deployed.aws.client("secretsmanager").describe_secret(SecretId=name)
    return found


def functions(deployed: Deployed) -> set[str]:
    return {found["FunctionName"] for found in deployed.aws.client("lambda").list_functions()["Functions"]}


def test_deploy_schedules_the_rotation_that_the_stage_asks_for(rotating: Deployed) -> None:
    assert "ok  rotation: every 30 days from now on" in rotating.printed
    found = described(rotating)
    assert found["RotationEnabled"] is True
    assert found["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert found["RotationLambdaARN"].endswith(f":{rotating.function('rotate_secret')}")
    policy = rotating.aws.client("lambda").get_policy(FunctionName=rotating.function("rotate_secret"))["Policy"]
    assert re.search(r'"Service": ?"secretsmanager\.amazonaws\.com"', policy)
    assert re.search(r'"AWS:SourceAccount": ?"000000000000"', policy, re.IGNORECASE)


def test_a_schedule_makes_no_new_key_at_once(rotating: Deployed) -> None:
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "RotateSecret"}]
    found = rotating.aws.client("cloudtrail").lookup_events(LookupAttributes=wanted)["Events"]
    asked = [json.loads(event["CloudTrailEvent"])["requestParameters"] for event in found]
    assert [its["RotateImmediately"] for its in asked if its["SecretId"] == "rotating-key"] == [False]


def test_the_next_deployment_keeps_a_schedule_and_changes_its_days(rotating: Deployed) -> None:
    before = described(rotating)["VersionIdsToStages"]
    assert "ok  rotation: every 30 days, as before" in rotating.manage("deploy", "--stage", "prod")
    assert described(rotating)["VersionIdsToStages"] == before  # the embedded AWS makes a version of each schedule
    configure(rotating.project, "prod", lambda its: its.update(JWT_ROTATION_DAYS="7"))
    assert "ok  rotation: every 7 days from now on" in rotating.manage("deploy", "--stage", "prod")
    assert described(rotating)["RotationRules"] == {"AutomaticallyAfterDays": 7}


def test_a_schedule_follows_the_stage_to_another_secret(rotating: Deployed) -> None:
    configure(rotating.project, "prod", lambda its: its.update(JWT_SECRET_ID="rotating-second"))
    for function in ("authorizer", "rotation"):
        file = rotating.project / ".chalice" / f"policy-{function}-prod.json"
        change(file, "secret:rotating-key-", "secret:rotating-second-")
    rotating.manage("secret", "create", "--stage", "prod")
    printed = rotating.manage("deploy", "--stage", "prod")
    assert printed.index("ok  rotation: cancelled for rotating-key") < printed.index("Creating deployment package")
    assert described(rotating)["RotationEnabled"] is False
    assert described(rotating, "rotating-second")["RotationEnabled"] is True


def test_when_the_setting_goes_the_schedule_goes_before_its_function(rotating: Deployed) -> None:
    name = rotating.function("rotate_secret")
    configure(rotating.project, "prod", lambda its: its.pop("JWT_ROTATION_DAYS"))
    printed = rotating.manage("deploy", "--stage", "prod")
    assert printed.index("ok  rotation: cancelled for rotating-second") < printed.index("Deleting function")
    assert described(rotating, "rotating-second")["RotationEnabled"] is False
    assert name not in functions(rotating)
    assert rotating.ask("GET", rotating.token("user", key=key_of(rotating, "rotating-second"))).status == 200


def key_of(deployed: Deployed, secret_id: str) -> str:
    value = deployed.aws.client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"]
    return str(json.loads(value)["my_secret_key"])


def test_a_rotation_that_somebody_else_set_up_is_left_alone(rotating: Deployed) -> None:
    other = "arn:aws:lambda:eu-central-1:000000000000:function:somebodys-own"
    configure(rotating.project, "prod", lambda its: its.update(JWT_ROTATION_DAYS="30"))
    rotating.manage("deploy", "--stage", "prod")
    rotating.aws.client("secretsmanager").rotate_secret(SecretId="rotating-second", RotationLambdaARN=other)
    configure(rotating.project, "prod", lambda its: its.pop("JWT_ROTATION_DAYS"))
    assert "rotation" not in rotating.manage("deploy", "--stage", "prod")
    assert described(rotating, "rotating-second")["RotationEnabled"] is True
