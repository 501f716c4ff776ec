"""From a project to a deployment, its change and its end: by `chalice` itself."""

from __future__ import annotations

import re

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import change, copy_project, of_another_name

REPORT = "/reports/7"
ORDERS = """

@app.route("/orders/{order_id}", methods=["GET"])
def read_order(order_id):
    return {"order": order_id, "read_by": caller_of(app.current_request).subject}


app.register_blueprint(reports)
"""


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
