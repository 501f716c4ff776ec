"""A deployed stage: the outcomes over the emulated API Gateway, its cache, and what each function may do."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import forge
from tests.e2e.conftest import Deployed
from tests.support.embedded_metrics import metrics_of

UNAUTHORIZED = (401, {"message": "Unauthorized"})


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


# The outcomes.


@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_the_tutorials_requests_get_the_tutorials_answers(dev: Deployed, scheme: str) -> None:
    user, admin = scheme + dev.token("user"), scheme + dev.token("admin")
    assert dev.ask("GET", user).status == 200
    assert dev.ask("POST", user).status == 403
    assert dev.ask("GET", admin).status == 200
    posted = dev.ask("POST", admin)
    assert (posted.status, posted.json) == (200, {"key": "value"})


def test_no_token_and_a_bad_one_are_the_same_401(dev: Deployed) -> None:
    for token in (None, "", "nonsense", "Basic x", dev.token("user", key="x" * 64), dev.token("user", exp=1)):
        answer = dev.ask("GET", token)
        assert (answer.status, answer.json) == UNAUTHORIZED


@pytest.mark.parametrize(
    "spoil",
    [
        {"exp": ...},
        {"exp": "4102444800"},
        {"exp": 10**400},
        {"nbf": 4102444800},
        {"iat": 4102444800},
        {"sub": ...},
        {"sub": 7},
        {"roles": "admin"},
        {"roles": {"admin": True}},
        {"roles": None},
        {"aud": "somebody-else"},
    ],
)
def test_a_signed_token_with_a_claim_that_does_not_stand_is_a_401(dev: Deployed, spoil: dict[str, Any]) -> None:
    claims = {"sub": "alice", "roles": ["admin"], "exp": int(time.time()) + 600, **spoil}
    kept = {name: value for name, value in claims.items() if value is not ...}
    forged = forge(b'{"alg":"HS256"}', json.dumps(kept).encode(), dev.signing_key())
    assert dev.ask("POST", forged).status == 401


def test_a_valid_token_without_a_role_that_may_is_a_403(dev: Deployed) -> None:
    for roles in ([], ["stranger"], ["Admin"], ["administrator"]):
        assert dev.ask("GET", dev.token(*roles)).status == 403


@pytest.mark.parametrize(("body", "status"), [(b"not json", 400), (b"", 400), (b"x" * 1_100_000, 413)])
def test_a_bad_body_is_told_what_is_wrong_with_it(dev: Deployed, body: bytes, status: int) -> None:
    answer = dev.ask("POST", dev.token("admin"), body=body)
    assert answer.status == status
    assert answer.json["Message"].startswith("The body is ")


def test_a_route_that_does_not_exist_is_closed(dev: Deployed) -> None:
    assert dev.ask("GET", dev.token("admin"), "/unknown").status == 404
    assert dev.ask("DELETE", dev.token("admin")).status == 404


# What only a gateway with a cache shows.


def test_a_token_used_for_get_first_is_still_refused_for_post_and_the_other_way_round(dev: Deployed) -> None:
    first, second = dev.token("user"), dev.token("user")
    assert [dev.ask(method, first).status for method in ("GET", "POST", "GET")] == [200, 403, 200]
    assert [dev.ask(method, second).status for method in ("POST", "GET", "POST")] == [403, 200, 403]
    admin = dev.token("admin")
    assert [dev.ask(method, admin).status for method in ("POST", "GET", "POST")] == [200, 200, 200]


def test_the_second_request_with_a_token_does_not_invoke_the_authorizer(dev: Deployed) -> None:
    token = dev.token("user")
    before = len(dev.decisions("jwt_authorizer"))
    for method in ("GET", "GET", "POST", "GET"):
        dev.ask(method, token)
    assert len(dev.decisions("jwt_authorizer")) == before + 1


def test_an_answer_in_the_cache_does_not_outlive_the_token(dev: Deployed) -> None:
    exp = int(time.time()) + 3
    token = dev.token("user", exp=exp)
    before = len(dev.decisions("jwt_authorizer"))
    assert dev.ask("GET", token).status == 200
    wait_until(exp)
    answer = dev.ask("GET", token)
    assert (answer.status, answer.json) == UNAUTHORIZED
    assert len(dev.decisions("jwt_authorizer")) == before + 1  # it was the handler lock
    assert dev.decisions("api_handler")[-1]["reason"] == "expired"


# Past the gateway.


def invoke(dev: Deployed, authorizer: Any, method: str = "GET") -> dict[str, Any]:
    event = {
        "requestContext": {"httpMethod": method, "resourcePath": "/protected-resource", "authorizer": authorizer},
        "headers": {"authorization": dev.token("admin")},
        "pathParameters": None,
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": None,
    }
    answer = dev.invoke("api_handler", event)
    assert answer is not None
    return answer


def test_the_api_function_invoked_past_the_gateway_refuses(dev: Deployed) -> None:
    for authorizer in (None, {}, {"principalId": "alice"}, {"principalId": "alice", "roles": "admin"}):
        assert invoke(dev, authorizer)["statusCode"] == 401
    user = {"principalId": "alice", "roles": "user", "exp": str(int(time.time()) + 60)}
    assert invoke(dev, user)["statusCode"] == 200
    assert invoke(dev, user, "POST")["statusCode"] == 403
    assert invoke(dev, {**user, "exp": "1"})["statusCode"] == 401


def test_a_resource_policy_that_allows_everything_opens_nothing(dev: Deployed) -> None:
    gateway = dev.aws.client("apigateway")
    everything = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*"}

    def put(policy: str) -> None:
        operation = {"op": "replace", "path": "/policy", "value": policy}
        gateway.update_rest_api(restApiId=dev.api_id, patchOperations=[operation])
        gateway.create_deployment(restApiId=dev.api_id, stageName=dev.stage)

    put(json.dumps({"Version": "2012-10-17", "Statement": [everything]}))
    try:
        user = dev.token("user")
        assert dev.ask("GET", user).status == 200
        for answer in (dev.ask("POST", user), dev.ask("GET", dev.token("stranger"))):
            assert answer.status == 403
            assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"  # the gateway, not the handler lock
        assert dev.ask("GET").status == 401
    finally:
        put("")


# Least privilege: what really happens with each function's role.

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
def probe(dev: Deployed) -> Iterator[Any]:
    """Make a call to AWS as the role of one of our functions, from a Lambda function that has this role."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("probe.py", PROBE)
    client = dev.aws.client("lambda")
    for name in FUNCTIONS:
        role = dev.resources[f"{name}_role"]["role_arn"]
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


def test_the_authorizers_role_may_read_and_describe_its_secret(dev: Deployed, probe: Any) -> None:
    for operation in ("get_secret_value", "describe_secret"):
        assert probe("jwt_authorizer", "secretsmanager", operation, SecretId=dev.secret_id) == "allowed"


def test_the_api_functions_role_is_refused_the_secret(dev: Deployed, probe: Any) -> None:
    for operation in ("get_secret_value", "describe_secret"):
        assert probe("api_handler", "secretsmanager", operation, SecretId=dev.secret_id) in DENIED


@pytest.mark.parametrize("function", ["jwt_authorizer", "rotate_secret"])
@pytest.mark.parametrize("suffix", ["x", "-other", "-123456", "-other-123456"])
def test_neither_role_that_may_read_the_secret_may_read_another(
    dev: Deployed, probe: Any, function: str, suffix: str
) -> None:
    client = dev.aws.client("secretsmanager")
    name = dev.secret_id + suffix
    client.create_secret(Name=name, SecretString="another")
    try:
        assert probe(function, "secretsmanager", "get_secret_value", SecretId=name) in DENIED
    finally:
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.mark.parametrize("function", ["api_handler", "jwt_authorizer"])
def test_only_the_rotations_role_may_change_the_secret(dev: Deployed, probe: Any, function: str) -> None:
    new = {"SecretId": dev.secret_id, "SecretString": "mine"}
    assert probe(function, "secretsmanager", "put_secret_value", **new) in DENIED


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("secretsmanager", "delete_secret", {"SecretId": "jwt-secret-key-dev"}),
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
def test_each_role_may_write_its_own_log_and_no_other(dev: Deployed, probe: Any, function: str) -> None:
    for name in FUNCTIONS:
        group = f"/aws/lambda/{dev.function(name)}"
        with contextlib.suppress(dev.aws.client("logs").exceptions.ResourceAlreadyExistsException):
            dev.aws.client("logs").create_log_group(logGroupName=group)
        stream = f"probe-{time.time_ns()}"
        got = probe(function, "logs", "create_log_stream", logGroupName=group, logStreamName=stream)
        assert got == "allowed" if name == function else got in DENIED


def test_each_function_has_a_role_of_its_own(dev: Deployed) -> None:
    roles = {name: found["role_arn"] for name, found in dev.resources.items() if "role_arn" in found}
    assert len(set(roles.values())) == len(roles) == len(FUNCTIONS)


# Our own trouble.


def test_without_the_permission_it_is_a_500_and_with_it_again_it_recovers_without_a_deployment(dev: Deployed) -> None:
    iam, role = dev.aws.client("iam"), dev.resources["jwt_authorizer_role"]["role_name"]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    token = dev.token("user")
    iam.delete_role_policy(RoleName=role, PolicyName=name)
    try:
        dev.restart("jwt_authorizer")
        for _ in range(3):
            answer = dev.ask("GET", token)
            assert (answer.status, answer.json) == (500, {"message": "Internal Server Error"})
        line = dev.decisions("jwt_authorizer")[-1]
        assert (line["outcome"], line["reason"]) == ("error", "keys_unavailable")
        assert "AccessDenied" in line["detail"]
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    time.sleep(3.5)  # a failed fetch is not repeated for three seconds
    assert dev.ask("GET", token).status == 200


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"SecretString": "not json"}, "my_secret_key"),
        ({"SecretString": "[]"}, "my_secret_key"),
        ({"SecretString": '{"other": "' + "x" * 64 + '"}'}, "my_secret_key"),
        ({"SecretString": '{"my_secret_key": 7}'}, "my_secret_key"),
        ({"SecretString": '{"my_secret_key": ""}'}, "32 bytes"),
        ({"SecretString": '{"my_secret_key": "a-password"}'}, "32 bytes"),
        ({"SecretBinary": b"x" * 64}, "my_secret_key"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_500_that_names_the_mend_and_never_the_value(
    dev: Deployed, value: dict[str, Any], named: str
) -> None:
    client = dev.aws.client("secretsmanager")
    good, token = client.get_secret_value(SecretId=dev.secret_id)["SecretString"], dev.token("user")
    client.put_secret_value(SecretId=dev.secret_id, **value)
    try:
        dev.restart("jwt_authorizer")
        assert dev.ask("GET", token).status == 500
        detail = dev.decisions("jwt_authorizer")[-1]["detail"]
        assert dev.secret_id in detail
        assert named in detail
        assert "a-password" not in detail
    finally:
        client.put_secret_value(SecretId=dev.secret_id, SecretString=good)
    dev.restart("jwt_authorizer")
    assert dev.ask("GET", token).status == 200


def test_a_deleted_secret_is_a_500(dev: Deployed) -> None:
    client, token = dev.aws.client("secretsmanager"), dev.token("user")
    client.delete_secret(SecretId=dev.secret_id, RecoveryWindowInDays=7)
    try:
        dev.restart("jwt_authorizer")
        assert dev.ask("GET", token).status == 500
    finally:
        client.restore_secret(SecretId=dev.secret_id)
    dev.restart("jwt_authorizer")
    assert dev.ask("GET", token).status == 200


def test_a_secret_in_the_functions_configuration_is_refused(dev: Deployed) -> None:
    client, name = dev.aws.client("lambda"), dev.function("jwt_authorizer")
    good = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    token = dev.token("user")
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**good, "AUTHORIZER_SECRET": dev.signing_key()}}
    )
    try:
        assert dev.ask("GET", token).status == 500
        assert dev.decisions("jwt_authorizer")[-1]["reason"] == "bad_setting"
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": good})
    assert dev.ask("GET", token).status == 200


# What is left behind.


def test_no_log_holds_a_token_or_the_secret(dev: Deployed) -> None:
    good, bad = dev.token("user", sub="a-subject"), dev.token("admin", key="y" * 64, email="mail@example.com")
    dev.ask("GET", good)
    dev.ask("GET", bad)
    written = "\n".join(dev.log("jwt_authorizer") + dev.log("api_handler"))
    assert "a-subject" in written
    for part in (*good.split(".")[1:], *bad.split(".")[1:], "mail@example.com", dev.signing_key()):
        assert part not in written


@pytest.mark.parametrize(
    ("function", "counted"),
    [("jwt_authorizer", {"allow", "deny", "unauthorized"}), ("api_handler", {"allow"})],
)
def test_cloudwatch_can_count_each_decision(dev: Deployed, function: str, counted: set[str]) -> None:
    dev.ask("GET", dev.token("user"))  # there is a log from the first decision on
    before = len(dev.decisions(function))
    asked = [("POST", dev.token("user"), 403), ("GET", dev.token("user"), 200), ("GET", dev.token(key="y" * 64), 401)]
    for method, token, status in asked:
        assert dev.ask(method, token).status == status
    metrics = [metric for line in dev.decisions(function)[before:] for metric in metrics_of(json.dumps(line))]
    assert {by["function"] for _, by, _, _ in metrics} == {dev.function(function)}
    assert {by["outcome"] for _, by, _, _ in metrics if "outcome" in by} == counted


def test_a_fetch_of_keys_is_counted(dev: Deployed) -> None:
    dev.ask("GET", dev.token("user"))
    dev.restart("jwt_authorizer")
    before = len(dev.decisions("jwt_authorizer"))
    assert dev.ask("GET", dev.token("user")).status == 200
    counted = [m for line in dev.decisions("jwt_authorizer")[before:] for m in metrics_of(json.dumps(line))]
    assert [value for _, _, name, value in counted if name in {"refreshes", "refresh_failures"}] == [1, 0]


def test_what_goes_to_lambda_has_no_cryptography_no_boto3_and_no_command_line(dev: Deployed) -> None:
    (package,) = (dev.project / ".chalice" / "deployments").glob("*.zip")
    with zipfile.ZipFile(package) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"app.py", "chalice", "chalicelib", "jwt"}


# The operator's commands.


def test_deploy_says_what_it_checked_and_prints_lines_that_work(dev: Deployed) -> None:
    for check in ("credentials", "Region", "runtime", "table", "policy size", "permission", "keys"):
        assert f"ok  {check}: " in dev.printed
    assert f"/restapis/{dev.api_id}/dev/_user_request_/protected-resource" in dev.printed
    assert dev.signing_key() not in dev.printed
    assert "eyJ" not in dev.printed  # a terminal's history is no place for a token


def test_a_token_of_the_stage_is_signed_with_its_current_key_and_names_it(dev: Deployed) -> None:
    token = dev.manage("token", "--stage", "dev", "--role", "user").strip()
    assert dev.ask("GET", token).status == 200
    line = dev.decisions("jwt_authorizer")[-1]
    current = dev.aws.client("secretsmanager").get_secret_value(SecretId=dev.secret_id)["VersionId"]
    assert line["kid"] == current


def test_secret_create_refuses_to_overwrite_and_status_shows_no_value(dev: Deployed) -> None:
    key = dev.signing_key()
    with pytest.raises(AssertionError, match="exists already"):
        dev.manage("secret", "create", "--stage", "dev")
    assert dev.signing_key() == key
    status = dev.manage("secret", "status", "--stage", "dev")
    assert "AWSCURRENT" in status
    assert key not in status
    assert len(key.encode()) >= 64
