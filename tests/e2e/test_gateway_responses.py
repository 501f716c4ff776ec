"""What API Gateway itself answers: one shape, RFC 6750's challenge, and readable for the allowed origin's pages."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.deployed import Answer, Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.events import request_event
from tests.support.project import copy_project

PATH = "/items"
ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def by_chalice_alone(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployed, Answer]:
    """A stage for the pages of one origin, deployed by manage.py, and again by Chalice; what it answers then."""
    project = copy_project(tmp_path_factory.mktemp("origin") / "project")
    for file in (project / ".chalice" / "policy-api-dev.json", project / ".chalice" / "policy-authorizer-dev.json"):
        text = file.read_text().replace("-dev", "-pages")
        file.with_name(file.name.replace("dev", "pages")).write_text(text)
    config = json.loads((project / ".chalice" / "config.json").read_text())
    config["stages"]["pages"] = json.loads(json.dumps(config["stages"]["dev"]).replace("dev", "pages"))
    (project / ".chalice" / "config.json").write_text(json.dumps(config))
    change_origin(project, ORIGIN)
    deployed = Deployed(aws, project, "pages", "fixture-key-pages")
    deployed.manage("secret", "create", "--stage", "pages")
    deployed.manage("deploy", "--stage", "pages")
    assert cors(deployed.ask("GET")) == READABLE
    deployed.chalice("deploy", "--stage", "pages")
    return deployed, deployed.ask("GET")


@pytest.fixture(scope="module")
def guard(by_chalice_alone: tuple[Deployed, Answer]) -> Deployed:
    """The stage, deployed by manage.py again: as on every other day than the first."""
    deployed, _ = by_chalice_alone
    deployed.printed = deployed.manage("deploy", "--stage", "pages")
    return deployed


def change_origin(project: Path, origin: str) -> None:
    file = project / ".chalice" / "config.json"
    config = json.loads(file.read_text())
    config["stages"]["pages"]["environment_variables"]["CORS_ALLOWED_ORIGIN"] = origin
    file.write_text(json.dumps(config))


def preflight(guard: Deployed, path: str = PATH) -> Answer:
    url = urlsplit(guard.aws.api_url(guard.api_id, guard.stage) + path)
    wanted = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    wanted["Access-Control-Request-Headers"] = "authorization,content-type"
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    try:
        connection.request("OPTIONS", url.path, headers=wanted)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def cors(answer: Answer) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name.startswith("access-control-")}


READABLE = {"access-control-allow-origin": ORIGIN, "access-control-expose-headers": "WWW-Authenticate"}


def test_a_request_without_a_token_is_a_401_with_a_challenge(guard: Deployed) -> None:
    answer = guard.ask("GET")
    assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert cors(answer) == READABLE


def test_a_bad_token_is_a_401_with_a_challenge(guard: Deployed) -> None:
    answer = guard.ask("GET", guard.token("user", key="x" * 64))
    assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert cors(answer) == READABLE


def test_a_role_that_may_not_is_a_403_with_a_challenge(guard: Deployed) -> None:
    answer = guard.ask("POST", guard.token("user"))
    assert (answer.status, answer.json) == (403, {"message": "Forbidden"})
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    assert cors(answer) == READABLE


@pytest.mark.parametrize("path", ["/unknown", "/", PATH + "/more"])
def test_a_path_that_no_route_has_is_a_404(guard: Deployed, path: str) -> None:
    for token in (None, guard.token("admin")):
        answer = guard.ask("GET", token, path)
        assert (answer.status, answer.json) == (404, {"message": "Not Found"})
        assert cors(answer) == READABLE


def test_a_failure_of_ours_is_a_500_that_says_nothing(guard: Deployed) -> None:
    secrets = guard.aws.client("secretsmanager")
    secrets.delete_secret(SecretId=guard.secret_id, RecoveryWindowInDays=7)
    try:
        guard.restart("jwt_authorizer")
        answer = guard.ask("GET", guard.token("user", key="x" * 64))
    finally:
        secrets.restore_secret(SecretId=guard.secret_id)
        guard.restart("jwt_authorizer")
    assert (answer.status, answer.json) == (500, {"message": "Internal Server Error"})
    assert cors(answer) == READABLE


def test_views_and_middleware_answer_the_allowed_origin(guard: Deployed) -> None:
    admin = guard.token("admin")
    for answer, status in (
        (guard.ask("GET", admin), 200),
        (guard.ask("POST", admin, body=b"not json"), 400),
    ):
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
    past_the_gateway = guard.invoke("api_handler", request_event(None, "GET", PATH)) or {}
    headers = {name.lower(): text for name, text in past_the_gateway["headers"].items()}
    assert past_the_gateway["statusCode"] == 401
    assert {name: headers[name] for name in READABLE} == READABLE


def test_a_preflight_is_answered_without_a_token(guard: Deployed) -> None:
    answer = preflight(guard)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(","))
    assert {"Authorization", "Content-Type"} <= set(answer.headers["access-control-allow-headers"].split(","))
    assert "access-control-allow-credentials" not in answer.headers


def test_without_the_setting_no_answer_is_readable_for_a_page(dev: Deployed) -> None:
    for answer in (
        dev.ask("GET"),
        dev.ask("GET", "bad"),
        dev.ask("GET", dev.token("user")),
        dev.ask("POST", dev.token("user")),
        dev.ask("GET", None, "/unknown"),
        preflight(dev),
    ):
        assert cors(answer) == {}
    assert preflight(dev).status == 404


def test_an_origin_that_no_browser_sends_is_refused_before_a_deployment(guard: Deployed) -> None:
    change_origin(guard.project, ORIGIN + "/")
    try:
        with pytest.raises(AssertionError, match=r"CORS_ALLOWED_ORIGIN.*slash at the end"):
            guard.manage("deploy", "--stage", "pages")
    finally:
        change_origin(guard.project, ORIGIN)


def test_plain_chalice_takes_the_responses_away_and_deploy_puts_them(
    by_chalice_alone: tuple[Deployed, Answer], guard: Deployed
) -> None:
    _, answer = by_chalice_alone
    assert (answer.status, cors(answer)) == (401, {})
    assert cors(guard.ask("GET")) == READABLE


def test_the_template_of_package_holds_the_same_responses(guard: Deployed, tmp_path: Path) -> None:
    guard.manage("package", "--stage", "pages", str(tmp_path))
    template = json.loads((tmp_path / "sam.json").read_text())
    packaged = template["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    deployed = guard.aws.client("apigateway").get_gateway_responses(restApiId=guard.api_id)["items"]
    for found in deployed:
        if not found["defaultResponse"]:
            here = packaged.pop(found["responseType"])
            headers = {
                f"gatewayresponse.header.{name}": text for name, text in here["ResponseParameters"]["Headers"].items()
            }
            assert headers == found["responseParameters"]
            assert here["ResponseTemplates"] == found["responseTemplates"]
            assert here.get("StatusCode") == found.get("statusCode")
    assert packaged == {}
