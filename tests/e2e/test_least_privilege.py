"""What each function's role may do on AWS, and what it is refused, where IAM is enforced."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deployed import Deployed

FUNCTIONS = ("api_handler", "jwt_authorizer", "rotate_secret")

PROBE = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    client = boto3.client(event["service"])
    try:
        getattr(client, event["operation"])(**event["parameters"])
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"
"""


@pytest.fixture(scope="module")
def probe(prod: Deployed) -> Iterator[Any]:
    """Make a call to AWS as the role of one of our functions, from a Lambda function that has this role."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("probe.py", PROBE)
    client = prod.aws.client("lambda")
    for name in FUNCTIONS:
        role = prod.resources[f"{name}_role"]["role_arn"]
        client.create_function(
            FunctionName=f"probe-{name}",
            Runtime="python3.11",
            Role=role,
            Handler="probe.handler",
            Code={"ZipFile": packed.getvalue()},
            Timeout=30,
        )

    def call(function: str, service: str, operation: str, **parameters: Any) -> str:
        event = {"service": service, "operation": operation, "parameters": parameters}
        answer = client.invoke(FunctionName=f"probe-{function}", Payload=json.dumps(event))
        return str(json.load(answer["Payload"]))

    yield call
    for name in FUNCTIONS:
        client.delete_function(FunctionName=f"probe-{name}")


DENIED = {"AccessDenied", "AccessDeniedException"}


def test_the_authorizers_role_may_read_its_secret_and_no_more(prod: Deployed, probe: Any) -> None:
    given = {"SecretId": prod.secret_id}
    assert probe("jwt_authorizer", "secretsmanager", "get_secret_value", **given) == "allowed"
    for operation in ("describe_secret", "list_secret_version_ids"):
        assert probe("jwt_authorizer", "secretsmanager", operation, **given) in DENIED


def test_the_api_functions_role_is_refused_the_secret(prod: Deployed, probe: Any) -> None:
    for operation in ("get_secret_value", "describe_secret"):
        assert probe("api_handler", "secretsmanager", operation, SecretId=prod.secret_id) in DENIED


@pytest.mark.parametrize("function", ["jwt_authorizer", "rotate_secret"])
@pytest.mark.parametrize("suffix", ["x", "-other", "-123456", "-other-123456"])
def test_no_role_that_may_read_the_secret_reads_another(prod: Deployed, probe: Any, function: str, suffix: str) -> None:
    client = prod.aws.client("secretsmanager")
    name = prod.secret_id + suffix
    client.create_secret(Name=name, SecretString="another")
    try:
        assert probe(function, "secretsmanager", "get_secret_value", SecretId=name) in DENIED
    finally:
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.mark.parametrize("function", ["api_handler", "jwt_authorizer"])
def test_only_the_rotations_role_may_change_the_secret(prod: Deployed, probe: Any, function: str) -> None:
    new = {"SecretId": prod.secret_id, "SecretString": "mine"}
    assert probe(function, "secretsmanager", "put_secret_value", **new) in DENIED


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("secretsmanager", "delete_secret", {"SecretId": "fixture-key"}),
        ("secretsmanager", "list_secrets", {}),
        ("s3", "list_buckets", {}),
        ("iam", "list_roles", {}),
        ("lambda", "list_functions", {}),
        ("logs", "create_log_group", {"logGroupName": "/aws/lambda/somebody-elses"}),
        ("logs", "describe_log_groups", {}),
    ],
)
def test_no_role_may_do_anything_else(
    probe: Any, function: str, service: str, operation: str, parameters: dict[str, Any]
) -> None:
    assert probe(function, service, operation, **parameters) in DENIED


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_role_may_write_its_own_log_and_no_other(prod: Deployed, probe: Any, function: str) -> None:
    for name in FUNCTIONS:
        group = f"/aws/lambda/{prod.function(name)}"
        with contextlib.suppress(prod.aws.client("logs").exceptions.ResourceAlreadyExistsException):
            prod.aws.client("logs").create_log_group(logGroupName=group)
        stream = f"probe-{time.time_ns()}"
        got = probe(function, "logs", "create_log_stream", logGroupName=group, logStreamName=stream)
        assert got == "allowed" if name == function else got in DENIED


def test_each_function_has_a_role_of_its_own(prod: Deployed) -> None:
    roles = {name: found["role_arn"] for name, found in prod.resources.items() if "role_arn" in found}
    assert len(set(roles.values())) == len(roles) == len(FUNCTIONS)
