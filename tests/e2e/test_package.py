"""`chalice package`: its SAM template passes cfn-lint, and CloudFormation makes a working API of it."""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import time
import zipfile
from email.message import Message
from importlib.metadata import PackageMetadata, metadata, version
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support import pages
from tests.support.deployed import Deployed
from tests.support.project import PROJECT, SERVICE, copy_project

STACK = "fixture-packaged"


@pytest.fixture(scope="module")
def template(dev: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package")
    dev.manage("package", "--stage", "dev", str(out))
    return out / "sam.json"


def lint(template: Path) -> str:
    """Return what cfn-lint finds, down to its information on IAM policies: nothing, for a good template."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--include-checks", "I", "--template", str(template)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_template_passes_cfn_lint(template: Path) -> None:
    assert lint(template) == ""


POLICIES = sorted((SERVICE / ".chalice").glob("policy-*.json"))


def policy_template(policy: dict[str, Any], to: Path) -> Path:
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}
    to.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Policy": resource}}))
    return to


@pytest.mark.parametrize("file", POLICIES, ids=lambda path: path.stem)
def test_each_policy_passes_cfn_lints_rules_for_iam(file: Path, tmp_path: Path) -> None:
    assert lint(policy_template(json.loads(file.read_text()), tmp_path / "template.json")) == ""


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("logs:PutLogEvents", "logs:PutLogEvent", "W3037"),
        ("arn:*:logs:", "arn:*:s3:", "I3510"),
        ('"Effect"', '"Efect"', "E3510"),
    ],
)
def test_the_linter_would_find_a_mistake_in_a_policy(old: str, new: str, rule: str, tmp_path: Path) -> None:
    changed = json.loads(POLICIES[0].read_text().replace(old, new))
    assert rule in lint(policy_template(changed, tmp_path / "template.json"))


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_each_policy_is_for_one_function_of_one_stage(stage: str) -> None:
    config = json.loads((SERVICE / ".chalice" / "config.json").read_text())
    functions = config["stages"][stage]["lambda_functions"]
    # The authorizer and the rotation must mean the same secret, and the same field of it.
    assert not any("environment_variables" in function for function in functions.values())
    assert config["autogen_policy"] is False
    for function, its in functions.items():
        text = (SERVICE / ".chalice" / its["iam_policy_file"]).read_text()
        log = f"fixture-{stage}" + ("" if function == "api_handler" else f"-{function}")
        assert f'log-group:/aws/lambda/{log}"' in text
        assert ("secretsmanager" in text) == (function != "api_handler")
        assert not re.search(r'"(Resource|Action)": "?\[?\s*"\*"', text)


@pytest.fixture(scope="module")
def rotating(dev: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of the stage that sets JWT_ROTATION_DAYS."""
    out = tmp_path_factory.mktemp("rotating")
    dev.manage("package", "--stage", "prod", str(out))
    return out / "sam.json"


def test_a_template_schedules_the_rotation_that_its_stage_asks_for(template: Path, rotating: Path) -> None:
    assert lint(rotating) == ""
    resources = json.loads(rotating.read_text())["Resources"]
    rotation = resources["Rotation"]["Properties"]
    assert rotation["SecretId"] == "fixture-key"
    assert rotation["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert rotation["RotateImmediatelyOnUpdate"] is False
    (function,) = (name for name, its in resources.items() if its["Properties"].get("Handler") == "app.rotate_secret")
    assert rotation["RotationLambdaARN"] == {"Fn::GetAtt": [function, "Arn"]}
    assert not {"Rotation", "RotationPermission"} & json.loads(template.read_text())["Resources"].keys()


def test_no_setting_of_the_operators_shell_reaches_a_stage(dev: Deployed, tmp_path: Path) -> None:
    shell = dev.aws.environment(JWT_ROTATION_DAYS="30", CORS_ALLOWED_ORIGIN="https://shell.example")
    command = [sys.executable, "manage.py", "package", "--stage", "dev", str(tmp_path)]
    subprocess.run(command, cwd=dev.project, env=shell, capture_output=True, check=True)
    template = (tmp_path / "sam.json").read_text()
    assert "rotate_secret" not in template
    assert "shell.example" not in template


def test_the_page_lists_what_goes_to_lambda_with_licences(template: Path) -> None:
    with zipfile.ZipFile(template.with_name("deployment.zip")) as archive:
        packed = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        listed = [described(email.message_from_bytes(archive.read(name))) for name in packed]
        chalice = archive.read("chalice/app.py").decode()
    assert f"__version__: str = '{version('chalice')}'" in chalice  # Chalice packs its runtime without its metadata
    listed.append(("chalice", version("chalice"), "Apache-2.0"))
    for name, locked in re.findall(r"^(\S+)==(\S+)", (PROJECT / "requirements/jwks.txt").read_text(), re.MULTILINE):
        assert version(name) == locked
        listed.append(described(metadata(name)))
    table = pages.section(PROJECT / "docs" / "adopting.md", "What goes to Lambda")
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ([^|]+) \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(listed)


def described(package: Message | PackageMetadata) -> tuple[str, str, str]:
    return package["Name"], package["Version"], package["License-Expression"]


def test_chalice_packs_no_file_that_the_lock_does_not_name(dev: Deployed, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    locked = (project / "requirements.txt").read_text()
    (project / "requirements.txt").write_text(re.sub(r"sha256:\w{4}", "sha256:0000", locked))
    changed = Deployed(dev.aws, project, "dev", dev.secret_id)
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        changed.chalice("package", "--stage", "dev", str(tmp_path / "out"))


def test_no_stage_holds_a_secret() -> None:
    config = (SERVICE / ".chalice" / "config.json").read_text()
    assert "AUTHORIZER_SECRET" not in config
    assert not re.search(r"[A-Za-z0-9_-]{40,}", config)


def test_cloudformation_makes_a_working_api_of_it(dev: Deployed, template: Path) -> None:
    s3, formation = dev.aws.client("s3"), dev.aws.client("cloudformation")
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.upload_file(str(template.with_name("deployment.zip")), "artifacts", "deployment.zip")
    document = json.loads(template.read_text())
    for resource in document["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":  # as `aws cloudformation package` does
            resource["Properties"]["CodeUri"] = "s3://artifacts/deployment.zip"
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    formation.create_stack(StackName=STACK, TemplateBody=json.dumps(document), Capabilities=capabilities)
    formation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    processed = formation.get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
    processed = json.loads(processed) if isinstance(processed, str) else processed
    # The embedded AWS imports all of this document but them; on AWS they are a part of the API that it makes.
    responses = processed["Resources"]["RestAPI"]["Properties"]["Body"]["x-amazon-apigateway-gateway-responses"]
    assert responses["UNAUTHORIZED"]["statusCode"] == "401"
    assert responses["UNAUTHORIZED"]["responseTemplates"] == {"application/json": '{"message":"Unauthorized"}'}
    outputs = formation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    api_id = next(found["OutputValue"] for found in outputs if found["OutputKey"] == "RestAPIId")
    packaged = Packaged(dev.aws, dev.project, "dev", dev.secret_id)
    packaged.packaged_api = api_id
    user, admin = packaged.token("user"), packaged.token("admin")
    assert [packaged.ask("GET", user).status, packaged.ask("POST", user).status] == [200, 403]
    assert [packaged.ask("GET", admin).status, packaged.ask("POST", admin).status] == [200, 200]
    assert packaged.ask("GET").status == 401
    forged = jwt.encode({"sub": "alice", "roles": ["admin"], "exp": int(time.time()) + 60}, "x" * 64)
    assert packaged.ask("GET", forged).status == 401


class Packaged(Deployed):
    """A stage that CloudFormation made, of which Chalice knows nothing."""

    packaged_api = ""

    @property
    def api_id(self) -> str:
        return self.packaged_api
