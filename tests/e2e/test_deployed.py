"""A deployed stage: the outcomes over the emulated API Gateway, its cache, its logs, and what fails around it."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_metrics import metrics_of
from tests.support.printed import paste
from tests.support.tokens import forge

UNAUTHORIZED = (401, {"message": "Unauthorized"})


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


# The outcomes.


@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_each_role_may_do_what_its_row_says_and_no_more(dev: Deployed, scheme: str) -> None:
    user, admin = scheme + dev.token("user"), scheme + dev.token("admin")
    read = dev.ask("GET", user)
    assert (read.status, read.json) == (200, {"subject": "alice", "roles": ["user"], "claims": {}})
    assert dev.ask("POST", user).status == 403
    assert dev.ask("GET", admin).status == 200
    posted = dev.ask("POST", admin)
    assert (posted.status, posted.json) == (200, {"key": "value"})


def test_no_token_and_a_bad_one_are_the_same_401(dev: Deployed) -> None:
    for token in (None, "", "nonsense", "Basic x", dev.token("user", key="x" * 64), dev.token("user", exp=1)):
        answer = dev.ask("GET", token)
        assert (answer.status, answer.json) == UNAUTHORIZED


@pytest.mark.parametrize(
    "change",
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
def test_a_signed_token_with_one_invalid_claim_is_a_401(dev: Deployed, change: dict[str, Any]) -> None:
    claims = {"sub": "alice", "roles": ["admin"], "exp": int(time.time()) + 600, **change}
    kept = {name: value for name, value in claims.items() if value is not ...}
    forged = forge(b'{"alg":"HS256"}', json.dumps(kept).encode(), dev.signing_key())
    assert dev.ask("POST", forged).status == 401


def test_a_valid_token_without_a_role_that_may_is_a_403(dev: Deployed) -> None:
    for roles in ([], ["stranger"], ["Admin"], ["administrator"]):
        assert dev.ask("GET", dev.token(*roles)).status == 403


def test_a_body_that_is_no_json_is_a_400_of_the_view(dev: Deployed) -> None:
    answer = dev.ask("POST", dev.token("admin"), body=b"not json")
    assert (answer.status, answer.json["Code"]) == (400, "BadRequestError")


def test_a_route_that_does_not_exist_is_closed(dev: Deployed) -> None:
    assert dev.ask("GET", dev.token("admin"), "/unknown").status == 404
    assert dev.ask("DELETE", dev.token("admin")).status == 404


def test_a_route_of_a_blueprint_is_guarded_like_any_other(dev: Deployed) -> None:
    report = "/reports/7"
    for role in ("admin", "support"):
        answer = dev.ask("GET", dev.token(role), report)
        assert (answer.status, answer.json) == (200, {"report": "7", "read_by": "alice"})
    assert dev.ask("GET", dev.token("user"), report).status == 403
    for token in (None, dev.token("admin", key="x" * 64)):
        assert dev.ask("GET", token, report).status == 401
    assert dev.ask("GET", dev.token("support"), f"{report}/pages").status in {403, 404}


def test_a_public_route_needs_no_token_and_opens_no_other(dev: Deployed) -> None:
    dev.ask("GET", dev.token("user"))  # there is a log from the first decision on
    before = len(dev.decisions("jwt_authorizer"))
    for token in (None, "nonsense", dev.token("admin", exp=1)):
        answer = dev.ask("GET", token, "/health")
        assert (answer.status, answer.json) == (200, {"up": True})
    assert len(dev.decisions("jwt_authorizer")) == before
    assert dev.ask("POST", None, "/health").status == 404


# "Only one's own": GET /users/{sub}/orders is for the user whose `sub` it is, and for support.


# No subject with a percent sign before digits: API Gateway hands a path's parameter over as it was sent, and the
# embedded one decodes it first. tests/guard/ has those.
@pytest.mark.parametrize("subject", ["alice", "a b", "alice@example.com", "ü", "auth0|5f", "100%", "a+b"])
def test_an_owner_reads_its_own_however_its_subject_is_written(dev: Deployed, subject: str) -> None:
    answer = dev.ask("GET", dev.token(sub=subject), f"/users/{quote(subject, safe='')}/orders")
    assert (answer.status, answer.json["subject"]) == (200, subject)


@pytest.mark.parametrize("path", ["bob", "Al{}", "al{}%20", "l{}", "*", "%2A", "al{}%00", "al{}%252F", "AL{}", "al%2A"])
def test_a_caller_is_refused_what_is_anothers(dev: Deployed, path: str) -> None:
    unique = f"{time.time_ns()}"
    token = dev.token("user", "admin", sub=f"al{unique}")
    assert dev.ask("GET", token, f"/users/al{unique}/orders").status == 200
    assert dev.ask("GET", token, f"/users/{path.format(unique)}/orders").status == 403
    line = dev.decision("api_handler", subject=f"al{unique}", reason="not_owner")
    assert (line["check"], line["outcome"]) == ("middleware", "deny")


@pytest.mark.parametrize("subject", ["*", "?", "{sub}", ".", "..", "a/b", "bob/../alice"])
def test_an_odd_subject_owns_nothing_of_anybody_else(dev: Deployed, subject: str) -> None:
    assert dev.ask("GET", dev.token(sub=subject), "/users/alice/orders").status == 403
    assert dev.ask("GET", dev.token(sub=subject), "/items").status == 403
    if subject not in {"*", "?", "{sub}"}:
        assert dev.ask("GET", dev.token(sub=subject), f"/users/{quote(subject, safe='')}/orders").status != 200


def test_support_reads_everybodys_and_no_token_reads_none(dev: Deployed) -> None:
    for subject in ("alice", "bob"):
        answer = dev.ask("GET", dev.token("support", sub="carol"), f"/users/{subject}/orders")
        assert (answer.status, answer.json) == (200, {"of": subject, "subject": "carol"})
    for token in (None, dev.token("support", key="x" * 64), dev.token(exp=1)):
        assert dev.ask("GET", token, "/users/alice/orders").status == 401


# Settings that change which tokens are valid, and what views get of them.


@pytest.fixture
def with_settings(dev: Deployed) -> Iterator[Any]:
    """Give the authorizer other settings, for a while."""
    changed: dict[str, str] = {}

    def change(**settings: str) -> None:
        changed.update(settings)
        dev.restart("jwt_authorizer", **settings)

    yield change
    dev.restart("jwt_authorizer", **dict.fromkeys(changed, ""))


def test_a_token_is_for_us_if_one_of_its_audiences_is_one_of_ours(dev: Deployed, with_settings: Any) -> None:
    with_settings(JWT_AUDIENCE="orders, invoices")
    for good in ("orders", "invoices", ["invoices"], ["elsewhere", "orders"]):
        assert dev.ask("GET", dev.token("user", aud=good)).status == 200
    for bad in (..., "elsewhere", "orders, invoices", "order", [], ["Orders"], 7, ["orders", 7]):
        answer = dev.ask("GET", dev.token("user", aud=bad))
        assert (answer.status, answer.json) == UNAUTHORIZED


def test_a_view_gets_the_claims_that_were_asked_for_and_no_log_does(dev: Deployed, with_settings: Any) -> None:
    with_settings(JWT_CALLER_CLAIMS="tenant email seats")
    token = dev.token("user", tenant='acme "ü"', seats=7, password="hunter2")
    answer = dev.ask("GET", token)
    assert (answer.status, answer.json["claims"]) == (200, {"tenant": 'acme "ü"', "seats": "7"})
    written = "\n".join(dev.log("jwt_authorizer") + dev.log("api_handler"))
    assert "acme" not in written
    assert "hunter2" not in written
    for bad in ({"tenant": ["acme"]}, {"tenant": "x" * 4000}):
        assert dev.ask("GET", dev.token("user", **bad)).status == 401


def test_a_claim_that_is_required_must_have_exactly_its_text(dev: Deployed, with_settings: Any) -> None:
    with_settings(JWT_REQUIRED_CLAIMS="token_use=access tenant=acme", JWT_TOKEN_TYPE="at+jwt")
    good = {"token_use": "access", "tenant": "acme"}
    assert dev.ask("GET", dev.token("user", **good)).status == 401  # its typ is JWT
    with_settings(JWT_TOKEN_TYPE="")
    assert dev.ask("GET", dev.token("user", **good)).status == 200
    for changed in ({"token_use": "id"}, {"tenant": "ACME"}, {"tenant": ...}, {"tenant": ["acme"]}):
        assert dev.ask("GET", dev.token("user", **{**good, **changed})).status == 401


def test_a_token_that_is_bound_to_a_key_is_no_bearer_token(dev: Deployed) -> None:
    assert dev.ask("GET", dev.token("user", cnf={"jkt": "x"})).status == 401


def test_a_misspelt_setting_lets_nobody_in(dev: Deployed, with_settings: Any) -> None:
    with_settings(JWT_MAX_LIFETIME="60")
    assert dev.ask("GET", dev.token("user")).status == 500
    line = dev.decisions("jwt_authorizer")[-1]
    assert (line["outcome"], line["reason"]) == ("error", "bad_setting")
    assert "JWT_MAX_LIFETIME_SECONDS" in line["detail"]


# What only a gateway with a cache shows.


def test_what_a_token_was_used_for_first_changes_no_answer(dev: Deployed) -> None:
    first, second = dev.token("user"), dev.token("user")
    assert [dev.ask(method, first).status for method in ("GET", "POST", "GET")] == [200, 403, 200]
    assert [dev.ask(method, second).status for method in ("POST", "GET", "POST")] == [403, 200, 403]
    admin = dev.token("admin")
    assert [dev.ask(method, admin).status for method in ("POST", "GET", "POST")] == [200, 200, 200]


def test_a_second_request_with_a_token_asks_no_authorizer(dev: Deployed) -> None:
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
    assert len(dev.decisions("jwt_authorizer")) == before + 1  # the middleware refused it
    assert dev.decisions("api_handler")[-1]["reason"] == "expired"


# Past the gateway.


def invoke(dev: Deployed, authorizer: Any, method: str = "GET") -> dict[str, Any]:
    event = {
        "requestContext": {"httpMethod": method, "resourcePath": "/items", "authorizer": authorizer},
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
    good = {"principalId": "alice", "roles": "admin", "exp": str(int(time.time()) + 60)}
    assert invoke(dev, good)["statusCode"] == 200
    for change in ({"principalId": ""}, {"exp": "never"}, {"roles": ["admin"]}, {"caller_claims": "{"}):
        assert invoke(dev, {**good, **change})["statusCode"] == 401
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
            assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"  # the gateway, not the middleware
        assert dev.ask("GET").status == 401
    finally:
        put("")


# Failures of ours.


def test_without_the_permission_it_is_a_500_until_it_is_given_back(dev: Deployed) -> None:
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
def test_an_unusable_secret_is_a_500_and_the_log_names_the_fix(
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
    assert [value for _, _, name, value in counted if name == "refresh_failures"] == [0]


def test_the_package_has_no_cryptography_no_boto3_and_no_commands(dev: Deployed) -> None:
    (package,) = (dev.project / ".chalice" / "deployments").glob("*.zip")
    with zipfile.ZipFile(package) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"app.py", "chalice", "chalicelib", "jwt"}


# The operator's commands.


def test_deploy_says_what_it_checked_and_prints_no_secret(dev: Deployed) -> None:
    for check in ("credentials", "Region", "runtime", "name", "table", "policy size", "permissions", "keys"):
        assert f"ok  {check}: " in dev.printed
    assert f"/restapis/{dev.api_id}/dev/_user_request_" in dev.printed
    assert dev.signing_key() not in dev.printed
    assert "eyJ" not in dev.printed  # a terminal's history is no place for a token


def test_the_lines_that_deploy_prints_get_what_they_say_is_due(dev: Deployed) -> None:
    pasted = paste(dev.printed, dev.project, dev.aws.environment())
    assert [line for line in pasted if not line.right] == []
    assert {line.status for line in pasted} == {200, 401, 403}


def test_a_token_of_the_stage_names_the_current_key_that_signed_it(dev: Deployed) -> None:
    token = dev.manage("token", "--stage", "dev", "--role", "user").strip()
    assert dev.ask("GET", token).status == 200
    line = dev.decisions("jwt_authorizer")[-1]
    current = dev.aws.client("secretsmanager").get_secret_value(SecretId=dev.secret_id)["VersionId"]
    assert line["kid"] == current


def test_secret_create_overwrites_nothing_and_status_shows_no_value(dev: Deployed) -> None:
    key = dev.signing_key()
    with pytest.raises(AssertionError, match="exists already"):
        dev.manage("secret", "create", "--stage", "dev")
    assert dev.signing_key() == key
    status = dev.manage("secret", "status", "--stage", "dev")
    assert "AWSCURRENT" in status
    assert key not in status
    assert len(key.encode()) >= 64
