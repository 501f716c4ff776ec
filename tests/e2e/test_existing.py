"""docs/adopting.md, followed step by step on an app that is not ours, up to a deployment that allows and refuses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import PROJECT

ADOPTING = PROJECT / "docs" / "adopting.md"
EXISTING = PROJECT / "tests" / "support" / "existing"


@pytest.fixture(scope="module")
def library(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Follow docs/adopting.md, step by step, with an upgrade of the engine before the deployment."""
    folder = Path(shutil.copytree(EXISTING, tmp_path_factory.mktemp("existing") / "library"))
    deployed = Deployed(aws, folder, "dev", "library-token-key-dev", api_stage="api")
    steps = [pages.section(ADOPTING, heading) for heading in re.findall(r"^## (\d\. .*)$", ADOPTING.read_text(), re.M)]
    *until_the_deployment, operating, tests = steps
    for step in until_the_deployment:
        pages.follow(step, folder, partial(sh, deployed))
    (folder / "chalicelib" / "guard" / "of_an_older_version.py").write_text("")
    for step in (pages.section(ADOPTING, "Upgrade"), operating, tests):
        pages.follow(step, folder, partial(sh, deployed))
    return deployed


def sh(deployed: Deployed, commands: str) -> None:
    """Run a block of commands as a reader would who has Chalice's virtual environment active; keep what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**deployed.aws.environment(PATH=path), "GUARD": str(PROJECT)}
    done = subprocess.run(
        ["sh", "-eu"], input=commands, cwd=deployed.project, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    deployed.printed += done.stdout


def test_an_app_that_exists_is_guarded_after_the_page(library: Deployed) -> None:
    assert "5 rules agree with app.py" in library.printed
    assert re.search(r"^All \d+ hold\.$", library.printed, re.MULTILINE)
    assert "Not tried" not in library.printed
    assert re.search(r"\b21 passed\b", library.printed)
    member, librarian = library.token("member"), library.token("librarian", sub="ines")
    assert library.ask("GET", None, "/ping").json == {"pong": True}
    assert library.ask("GET", member, "/books").json == {"books": {"1": "Middlemarch", "2": "Emma"}}
    assert library.ask("GET", member, "/loans").json == {"loans": ["1"]}
    assert library.ask("POST", librarian, "/loans/2").json == {"lent": "2"}
    renamed = library.ask("PUT", librarian, "/books/1", b'{"title": "Middlemarch, again"}')
    assert (renamed.status, renamed.json["title"]) == (200, "Middlemarch, again")
    assert renamed.json["signed"]  # with a requirement of its own


def test_an_app_that_exists_refuses_after_the_page(library: Deployed) -> None:
    requests = (("GET", "/books"), ("PUT", "/books/1"), ("GET", "/loans"), ("POST", "/loans/2"))
    for method, path in requests:
        for token in (None, library.token("librarian", key="x" * 64), library.token("librarian", exp=1)):
            assert library.ask(method, token, path).status == 401
        assert library.ask(method, library.token("stranger"), path).status == 403
    for method, path in (("PUT", "/books/1"), ("POST", "/loans/2")):
        assert library.ask(method, library.token("member"), path).status == 403


def test_the_scheduled_function_runs_as_before(library: Deployed) -> None:
    assert library.invoke("remind", {"time": "", "id": ""} | dict.fromkeys(EVENT, "x")) == {"reminded": 2}
    (rule,) = library.aws.client("events").list_rules(NamePrefix="library-dev-remind")["Rules"]
    assert rule["ScheduleExpression"] == "rate(1 day)"


#: What an event of EventBridge has.
EVENT = ("version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources")


def test_only_the_authorizer_gets_a_role_of_its_own(library: Deployed) -> None:
    roles = {name: found["role_arn"] for name, found in library.resources.items() if "role_arn" in found}
    assert set(roles) == {"jwt_authorizer_role", "default-role"}
    policy = (library.project / ".chalice" / "policy-authorizer-dev.json").read_text()
    assert "secret:library-token-key-dev-??????" in policy
    assert "api-guard" not in policy


def test_an_upgrade_leaves_the_new_engine_and_nothing_of_the_old(library: Deployed) -> None:
    source = (PROJECT / "chalicelib" / "guard" / "__init__.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE)
    assert f"{version}\n" in library.printed
    ours, theirs = PROJECT / "chalicelib" / "guard", library.project / "chalicelib" / "guard"
    assert {file.relative_to(ours) for file in ours.rglob("*.py")} == {
        file.relative_to(theirs) for file in theirs.rglob("*.py")
    }


def test_the_page_names_the_requirement_that_is_locked() -> None:
    (named,) = re.findall(r"^\+PyJWT==(.*)$", ADOPTING.read_text(), re.MULTILINE)
    assert f"pyjwt=={named} " in (PROJECT / "requirements.txt").read_text()
