"""From a project to a deployment, its change, its rotation, and its end: by manage.py and by `chalice` itself."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import change, copy_project

REPORT = "/reports/7"
ORDERS = """

@app.route("/orders/{order_id}", methods=["GET"])
def read_order(order_id):
    return {"order": order_id, "read_by": caller_of(app.current_request).subject}


app.register_blueprint(reports)
"""


def of_another_name(project: Path, name: str) -> Path:
    """Call the service otherwise, so that it can be deployed beside the one of other tests."""
    for file in [project / "app.py", *(project / ".chalice").glob("*.json")]:
        file.write_text(file.read_text().replace("fixture", name))
    return project


def configure(project: Path, stage: str, edit: Callable[[Any], object]) -> None:
    file = project / ".chalice" / "config.json"
    config = json.loads(file.read_text())
    edit(config["stages"][stage]["environment_variables"])
    file.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def plain(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Deploy the stage `prod` by hand, with `chalice deploy`."""
    project = of_another_name(copy_project(tmp_path_factory.mktemp("plain") / "project"), "plain")
    deployed = Deployed(aws, project, "prod", "plain-key")
    deployed.manage("secret", "create", "--stage", "prod")
    deployed.chalice("deploy", "--stage", "prod")
    return deployed


def test_a_first_deployment_serves_what_the_table_says(plain: Deployed) -> None:
    user, admin = plain.token("user"), plain.token("admin")
    assert [plain.ask("GET", user).status, plain.ask("POST", user).status] == [200, 403]
    assert [plain.ask("GET", admin).status, plain.ask("POST", admin).status] == [200, 200]
    assert plain.ask("GET", plain.token("support"), REPORT).status == 200
    assert plain.ask("GET").status == 401


@pytest.fixture(scope="module")
def redeployed(plain: Deployed) -> Deployed:
    """Add a route and a role, change a rule that was there, and deploy again."""
    assert plain.ask("GET", plain.token("auditor"), "/orders/7").status == 403
    assert plain.ask("POST", plain.token("user")).status == 403
    api_id = plain.api_id
    change(plain.project / "app.py", "\napp.register_blueprint(reports)\n", ORDERS)
    rules = plain.project / "chalicelib" / "rules.py"
    change(rules, '("POST", "/items"): WRITERS,', '("POST", "/items"): READERS,')
    change(rules, "RULES = {\n", 'RULES = {\n    ("GET", "/orders/{order_id}"): frozenset({"auditor", "admin"}),\n')
    plain.chalice("deploy", "--stage", "prod")
    assert plain.api_id == api_id
    return plain


def test_a_new_route_and_a_new_role_work_after_the_next_deployment(redeployed: Deployed) -> None:
    assert re.search(r"^GET +/orders/\{order_id\} +yes +yes +- +-$", redeployed.manage("rules"), re.MULTILINE)
    answer = redeployed.ask("GET", redeployed.token("auditor", sub="bob"), "/orders/7")
    assert (answer.status, answer.json) == (200, {"order": "7", "read_by": "bob"})
    assert redeployed.ask("GET", redeployed.token("admin"), "/orders/7").status == 200
    assert redeployed.ask("GET", redeployed.token("user"), "/orders/7").status == 403
    assert redeployed.ask("GET", None, "/orders/7").status == 401
    assert redeployed.ask("GET", redeployed.token("auditor")).status == 403
    assert redeployed.ask("GET", redeployed.token("auditor"), "/orders/7/items").status == 403


def test_a_changed_rule_holds_after_the_next_deployment(redeployed: Deployed) -> None:
    assert redeployed.ask("POST", redeployed.token("user")).status == 200
    assert redeployed.ask("POST", redeployed.token("auditor")).status == 403


def test_delete_takes_everything_away_but_the_secret(redeployed: Deployed) -> None:
    names = ("api_handler", "jwt_authorizer", "rotate_secret")
    functions = {redeployed.function(name) for name in names}
    roles = {redeployed.resources[f"{name}_role"]["role_name"] for name in names}
    api_id, aws = redeployed.api_id, redeployed.aws
    redeployed.chalice("delete", "--stage", "prod")
    assert not functions & {found["FunctionName"] for found in aws.client("lambda").list_functions()["Functions"]}
    assert not roles & {found["RoleName"] for found in aws.client("iam").list_roles()["Roles"]}
    assert api_id not in {found["id"] for found in aws.client("apigateway").get_rest_apis()["items"]}
    assert redeployed.signing_key()


# The rotation that a stage asks for.


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
    assert "rotation" not in rotating.manage("deploy", "--stage", "prod")
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


# What manage.py deploy refuses, before anything is changed. What needs no AWS is in tests/operations.


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


def test_a_secret_that_was_never_made_is_named_with_the_command(fresh: Deployed) -> None:
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
