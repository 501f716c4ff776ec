"""From a clone to a deployment, its change as the README tells it, and its end: `chalice deploy` itself, unmodified."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import PROJECT, copy_project


def follow_the_readme(project: Path, heading: str) -> None:
    """Make each change that a diff under this heading shows, in the one file that it fits."""
    section = (PROJECT / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    for block in re.findall(r"```diff\n(.*?)```", section, re.DOTALL):
        lines = block.splitlines()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        (file,) = (path for path in (project / "app.py", project / "chalicelib/rules.py") if before in path.read_text())
        assert file.read_text().count(before) == 1
        file.write_text(file.read_text().replace(before, after))


def change(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture(scope="module")
def prod(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Deploy the stage `prod` by hand, with `chalice deploy`."""
    deployed = Deployed(aws, copy_project(tmp_path_factory.mktemp("prod") / "project"), "prod", "jwt-secret-key")
    deployed.manage("secret", "create", "--stage", "prod")
    deployed.chalice("deploy", "--stage", "prod")
    return deployed


def test_a_first_deployment_serves_the_tutorials_requests(prod: Deployed) -> None:
    user, admin = prod.token("user"), prod.token("admin")
    assert [prod.ask("GET", user).status, prod.ask("POST", user).status] == [200, 403]
    assert [prod.ask("GET", admin).status, prod.ask("POST", admin).status] == [200, 200]
    assert prod.ask("GET").status == 401


@pytest.fixture(scope="module")
def redeployed(prod: Deployed) -> Deployed:
    """Add a route and a role as the README tells, change a rule that was there, and deploy again."""
    assert prod.ask("GET", prod.token("auditor"), "/orders/7").status == 403
    assert prod.ask("POST", prod.token("user")).status == 403
    api_id = prod.api_id
    follow_the_readme(prod.project, "Add a route and a role")
    change(
        prod.project / "chalicelib" / "rules.py", '"/protected-resource"): WRITERS', '"/protected-resource"): READERS'
    )
    prod.chalice("deploy", "--stage", "prod")
    assert prod.api_id == api_id
    return prod


def test_a_route_and_a_role_added_as_the_readme_tells_work_after_the_next_deployment(redeployed: Deployed) -> None:
    prod = redeployed
    assert re.search(r"^GET +/orders/\{order_id\} +yes +yes +-$", prod.manage("rules"), re.MULTILINE)
    answer = prod.ask("GET", prod.token("auditor", sub="bob"), "/orders/7")
    assert (answer.status, answer.json) == (200, {"order": "7", "read_by": "bob"})
    assert prod.ask("GET", prod.token("admin"), "/orders/7").status == 200
    assert prod.ask("GET", prod.token("user"), "/orders/7").status == 403
    assert prod.ask("GET", None, "/orders/7").status == 401
    assert prod.ask("GET", prod.token("auditor")).status == 403
    assert prod.ask("GET", prod.token("auditor"), "/orders/7/items").status == 403


def test_a_changed_rule_holds_after_the_next_deployment(redeployed: Deployed) -> None:
    assert redeployed.ask("POST", redeployed.token("user")).status == 200
    assert redeployed.ask("POST", redeployed.token("auditor")).status == 403


def test_delete_takes_everything_away_but_the_secret(redeployed: Deployed) -> None:
    prod = redeployed
    names = ("api_handler", "jwt_authorizer", "rotate_secret")
    functions = {prod.function(name) for name in names}
    roles = {prod.resources[f"{name}_role"]["role_name"] for name in names}
    api_id = prod.api_id
    prod.chalice("delete", "--stage", "prod")
    aws = prod.aws
    assert not functions & {found["FunctionName"] for found in aws.client("lambda").list_functions()["Functions"]}
    assert not roles & {found["RoleName"] for found in aws.client("iam").list_roles()["Roles"]}
    assert api_id not in {found["id"] for found in aws.client("apigateway").get_rest_apis()["items"]}
    assert prod.signing_key()


# What manage.py deploy refuses, before anything is changed.


@pytest.fixture
def fresh(aws: EmbeddedAws, project_copy: Path) -> Deployed:
    return Deployed(aws, project_copy, "dev", "jwt-secret-key-dev")


def refusal(deployed: Deployed, *words: str) -> str:
    with pytest.raises(AssertionError) as refused:
        deployed.manage(*words)
    output = str(refused.value)
    assert "Creating deployment package" not in output
    assert "Traceback" not in output
    return next(line for line in output.splitlines() if "Error: " in line)


@pytest.mark.parametrize("stage", ["local", "staging", "../dev", ""])
def test_a_stage_that_is_not_there_is_named(fresh: Deployed, stage: str) -> None:
    assert "choose one of dev, prod" in refusal(fresh, "deploy", "--stage", stage)


def test_a_secret_that_was_never_made_is_named_with_the_command_that_makes_it(fresh: Deployed) -> None:
    config = fresh.project / ".chalice"
    change(config / "config.json", "jwt-secret-key-dev", "never-made")
    change(config / "policy-authorizer-dev.json", "jwt-secret-key-dev", "never-made")
    assert "manage.py secret create --stage dev" in refusal(fresh, "deploy", "--stage", "dev")


def test_a_secret_that_is_too_weak_is_refused(fresh: Deployed) -> None:
    config, client = fresh.project / ".chalice", fresh.aws.client("secretsmanager")
    change(config / "config.json", "jwt-secret-key-dev", "weak")
    change(config / "policy-authorizer-dev.json", "jwt-secret-key-dev", "weak")
    client.create_secret(Name="weak", SecretString='{"my_secret_key": "my_secret_key"}')
    assert "32 bytes" in refusal(fresh, "deploy", "--stage", "dev")


def test_a_policy_for_another_secret_is_refused(fresh: Deployed) -> None:
    change(fresh.project / ".chalice" / "config.json", "jwt-secret-key-dev", "jwt-secret-key-other")
    assert "policy-authorizer-dev.json does not let" in refusal(fresh, "deploy", "--stage", "dev")


@pytest.mark.parametrize(("file", "named"), [("config.json", "config.json"), ("policy-authorizer-dev.json", "policy")])
@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_broken_file_is_named(fresh: Deployed, file: str, named: str, spoil: Callable[[Path], object]) -> None:
    spoil(fresh.project / ".chalice" / file)
    assert named in refusal(fresh, "deploy", "--stage", "dev")


def test_a_table_that_disagrees_with_the_routes_is_refused(fresh: Deployed) -> None:
    change(fresh.project / "chalicelib" / "rules.py", '("POST", "/protected-resource")', '("POST", "/protected")')
    sentence = refusal(fresh, "deploy", "--stage", "dev")
    assert "POST /protected stands in the table but app.py has no such route" in sentence
    assert "POST /protected-resource stands in app.py but in no row" in sentence


def test_a_policy_that_api_gateway_would_not_take_is_refused_and_the_role_is_named(fresh: Deployed) -> None:
    routes = "".join(
        f'\napp.route("/r{number}/{"x" * 80}", methods=["GET"], authorizer=jwt_authorizer, name="v{number}")(dict)'
        for number in range(60)
    )
    app, rules = fresh.project / "app.py", fresh.project / "chalicelib" / "rules.py"
    app.write_text(app.read_text() + routes)
    rows = "".join(f'        ("GET", "/r{number}/{"x" * 80}"): WRITERS,\n' for number in range(60))
    change(
        rules,
        '        ("POST", "/protected-resource"): WRITERS,\n',
        '        ("POST", "/protected-resource"): WRITERS,\n' + rows,
    )
    sentence = refusal(fresh, "deploy", "--stage", "dev")
    assert "the role user" in sentence
    assert "8000" in sentence


@pytest.mark.parametrize("command", ["deploy", "secret create", "secret status", "token"])
@pytest.mark.parametrize(
    ("without", "named"),
    [(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "AWS_PROFILE"), (("AWS_DEFAULT_REGION",), "AWS_DEFAULT_REGION")],
)
def test_without_credentials_or_a_region_it_says_what_to_set(
    fresh: Deployed, command: str, without: tuple[str, ...], named: str
) -> None:
    assert named in refusal(dataclasses.replace(fresh, without=without), *command.split(), "--stage", "dev")
