"""`manage.py why --stage`: what it predicts is what the deployed stage answers, and a wrong stage is explained."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.guard.keys.source import KeySet, Revocations, hmac_keys
from chalicelib.guard.settings import from_environment
from operations.project import Project
from operations.why import Case, explain
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.tokens import SECRET

CHANGES: list[tuple[list[str], dict[str, Any]]] = [
    (["user"], {}),
    (["admin"], {}),
    (["user", "admin", "stranger"], {}),
    ([], {}),
    (["Admin"], {}),
    (["administrator"], {}),
    (["support"], {"sub": "bob b"}),
    (["user"], {"sub": "bob b"}),
    (["admin"], {"roles": "admin"}),
    (["admin"], {"exp": 1}),
    (["admin"], {"exp": ...}),
    (["admin"], {"nbf": 4102444800}),
    (["admin"], {"aud": "somebody-else"}),
    (["admin"], {"key": "x" * 64}),
]
REQUESTS = [
    *(("GET", path) for path in ("/items", "/reports/7", "/users/bob%20b/orders", "/health", "/unknown")),
    *(("POST", "/items"), ("DELETE", "/items")),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_the_status_is_the_one_that_the_stage_answers(dev: Deployed, project: Project, method: str, path: str) -> None:
    settings = from_environment({"JWT_SECRET_ID": dev.secret_id})
    keys = hmac_keys(dev.signing_key(), None, ["HS256"], "the secret")
    case = Case(project.table, settings, KeySet(keys, Revocations()), "dev")
    for credential in [dev.token(*roles, **changes) for roles, changes in CHANGES] + ["", "Basic x", "nonsense"]:
        said = explain(credential, method, path, project, case, time.time())
        assert dev.ask(method, credential or None, path).status == said.status, said


def why(dev: Deployed, credential: str, *more: str, method: str = "GET", **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", "why", "-", method, "/items", *more],
        cwd=dev.project,
        env={name: text for name, text in dev.aws.environment(**variables).items() if name not in dev.without},
        input=credential,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_token_of_the_stage_is_valid_and_its_key_is_named(dev: Deployed) -> None:
    minted = dev.manage("token", "--role", "user", "--stage", "dev")
    code, printed = why(dev, minted, "--stage", "dev")
    answer = dev.aws.client("secretsmanager").get_secret_value(SecretId=dev.secret_id)
    assert code == 0
    assert f"signed with version {answer['VersionId']} (AWSCURRENT) of secret {dev.secret_id}" in printed
    assert json.loads(answer["SecretString"])["my_secret_key"] not in printed


def test_another_stages_token_and_this_machines_are_sent_there(dev: Deployed) -> None:
    elsewhere = dev.token("user", key="the-secret-of-another-stage-" + "x" * 40)
    code, printed = why(dev, elsewhere, "--stage", "dev")
    assert code == 1
    assert "bad_signature: version " in printed
    assert "try --stage prod" in printed
    here = dev.token("user", key=SECRET)
    code, printed = why(dev, here, "--stage", "dev", AUTHORIZER_SECRET=SECRET)
    assert code == 1
    assert "try without --stage" in printed
    assert "manage.py token --stage dev --role user" in printed


def test_a_stage_without_its_secret_is_a_sentence(dev: Deployed, project_copy: Path) -> None:
    config = project_copy / ".chalice" / "config.json"
    config.write_text(config.read_text().replace('"fixture-key"', '"a-secret-that-nobody-made"'))
    code, printed = why(replace(dev, project=project_copy), dev.token("user"), "--stage", "prod")
    assert code == 2
    assert printed.startswith("Error: ")
    assert printed.count("\n") == 1


def test_what_is_said_of_the_previous_version_is_a_note_and_no_log_line(aws: EmbeddedAws, project_copy: Path) -> None:
    config = project_copy / ".chalice" / "config.json"
    config.write_text(config.read_text().replace('"fixture-key"', '"weak-at-first"'))
    client, strong = aws.client("secretsmanager"), "x" * 64
    client.create_secret(Name="weak-at-first", SecretString=json.dumps({"my_secret_key": "weak"}))
    client.put_secret_value(SecretId="weak-at-first", SecretString=json.dumps({"my_secret_key": strong}))
    prod = Deployed(aws, project_copy, "prod", "weak-at-first")
    code, printed = why(prod, prod.token("user"), "--stage", "prod")
    assert code == 0
    assert "\nNote: The previous version is left out: " in printed
    assert '{"time"' not in printed


def test_it_works_with_credentials_of_an_assumed_role(dev: Deployed, tmp_path: Path) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    iam = dev.aws.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="operator", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_role_policy(RoleName="operator", PolicyName="may", PolicyDocument=document)
    config = tmp_path / "config"
    config.write_text(
        f"[profile operator]\nrole_arn = {role}\nsource_profile = base\nregion = eu-central-1\n"
        "[profile base]\naws_access_key_id = test\naws_secret_access_key = test\nregion = eu-central-1\n"
    )
    variables = {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "operator"}
    without = replace(dev, without=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    code, printed = why(without, dev.token("user"), "--stage", "dev", **variables)
    assert (code, "Traceback" in printed) == (0, False), printed
