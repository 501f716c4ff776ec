"""Whoever takes this over breaks nothing: a clone with the README's route, with another service, an app that exists.

Each is a copy in which a user's own steps were taken; nothing of the engine, the operations or other tests is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws, free_port
from tests.support.printed import paste
from tests.support.project import PROJECT, copy_everything
from tests.support.tokens import SECRET

SUPPORT = PROJECT / "tests" / "support"
#: What a user runs, and what must not be red because the table and the routes are the user's.
TESTS = ("tests/test_app.py", "tests/operations", "tests/docs")


@dataclass(frozen=True)
class Clone:
    """A copy with a user's changes. `reader` may GET `path`, `other` may not."""

    name: str
    deployed: Deployed
    path: str
    reader: str
    other: str
    rows: tuple[str, ...]  # patterns for lines that `rules` prints
    sample: str  # a pattern for what nothing may say any more, or an empty one

    def says(self, *words: str) -> str:
        printed = self.deployed.manage(*words)
        self.check(printed)
        return printed

    def check(self, printed: str) -> None:
        """Nothing speaks of the sample; the namespace of the metrics is the engine's name."""
        printed = printed.replace('"Namespace":"api-guard"', "")
        lines = [line for line in printed.splitlines() if self.sample and re.search(self.sample, line)]
        assert lines == []


def as_the_readme_says(folder: Path) -> None:
    """Add a route and a role."""
    pages.follow(pages.section(PROJECT / "README.md", "Add a route and a role"), folder)


def with_another_service(folder: Path) -> None:
    """Replace routes, roles, names and the tests of them."""
    another = SUPPORT / "another"
    shutil.copy(another / "app.py", folder)
    shutil.copytree(another / "chalicelib", folder / "chalicelib", dirs_exist_ok=True)
    shutil.copy(another / "own_tests.py", folder / "tests" / "test_app.py")
    shutil.copy(another / "examples.json", folder / ".chalice")
    for file in (folder / ".chalice").glob("*.json"):
        renamed = file.read_text().replace("api-guard", "clinic").replace("jwt-secret-key", "clinic-token-key")
        file.write_text(renamed)


@pytest.fixture(scope="module", params=["the readme's route", "another service"])
def clone(request: pytest.FixtureRequest, aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = copy_everything(tmp_path_factory.mktemp("clone") / "project")
    if request.param == "another service":
        with_another_service(folder)
        deployed = Deployed(aws, folder, "dev", "clinic-token-key-dev")
        rows = (r"GET +/opening-hours +public +public", r"GET +/patients/\{patient_id\}/notes +yes +-")
        sample = r"protected-resource|api-guard|jwt-secret-key|(?i:\b(?:user|admin)(?:_token)?\b)"
        return Clone("clinic", deployed, "/patients/7/notes", "doctor", "nurse", rows, sample)
    as_the_readme_says(folder)
    deployed = Deployed(aws, folder, "dev", "jwt-secret-key-dev")
    rows = (r"GET +/orders/\{order_id\} +yes +yes +-", r"POST +/protected-resource +yes +- +-")
    return Clone("api-guard", deployed, "/orders/7", "auditor", "user", rows, "")


def test_the_tests_that_a_user_runs_pass(clone: Clone) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *TESTS]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AWS_", "JWT_"))}
    done = subprocess.run(
        command, cwd=clone.deployed.project, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_rules_prints_the_users_table_and_no_fault(clone: Clone) -> None:
    printed = clone.says("rules")
    for row in clone.rows:
        assert re.search(rf"^{row}$", printed, re.MULTILINE), printed
    page = clone.says("rules", "--html")
    assert clone.name in page
    assert clone.reader in page


def test_make_local_serves_what_it_prints(clone: Clone) -> None:
    with serving(clone) as printed:
        clone.check(printed)
        assert clone.name in printed
        assert clone.reader in printed
        pasted = paste(printed, clone.deployed.project, os.environ)
        assert [line for line in pasted if not line.right] == []
        assert {line.status for line in pasted} >= {200, 401, 403}


def test_why_explains_the_users_routes(clone: Clone) -> None:
    for role, allowed in ((clone.reader, True), (clone.other, False)):
        token = here(clone, "token", "--role", role).stdout
        explained = here(clone, "why", "-", "GET", clone.path, given=token)
        assert (explained.returncode == 0) == allowed, explained.stdout + explained.stderr
        assert role in explained.stdout
        clone.check(explained.stdout)


def here(clone: Clone, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as on a machine with a local secret."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=clone.deployed.project,
        env=clone.deployed.aws.environment(AUTHORIZER_SECRET=SECRET),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def serving(clone: Clone) -> Iterator[str]:
    """Run what `make local` runs; yield what it prints before it serves."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "local", "--port", str(port)],
        cwd=clone.deployed.project,
        env=clone.deployed.aws.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(printed)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.1)
        yield printed
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def served(clone: Clone) -> Clone:
    """Deploy the clone."""
    clone.says("secret", "create", "--stage", "dev")
    clone.deployed.printed = clone.says("deploy", "--stage", "dev")
    return clone


def test_deploy_and_smoke_send_the_users_requests(served: Clone) -> None:
    deployed = served.deployed
    assert served.reader in deployed.printed
    smoked = served.says("smoke", "--stage", "dev")
    assert re.search(r"^All \d+ hold\.$", smoked, re.MULTILINE)
    assert "WRONG" not in smoked
    answer = deployed.ask("GET", deployed.token(served.reader), served.path)
    assert (answer.status, deployed.ask("GET", deployed.token(served.other), served.path).status) == (200, 403)
    assert deployed.ask("GET", None, served.path).status == 401
    for function in ("jwt_authorizer", "api_handler"):
        served.check("\n".join(deployed.log(function)))


@pytest.mark.parametrize("clone", ["the readme's route"], indirect=True)
@pytest.mark.parametrize(("body", "status"), [(b"not json", 400), (b"", 400), (b"x" * 1_100_000, 413)])
def test_the_sample_says_what_is_wrong_with_a_body(served: Clone, body: bytes, status: int) -> None:
    answer = served.deployed.ask("POST", served.deployed.token("admin"), "/protected-resource", body)
    assert answer.status == status
    assert answer.json["Message"].startswith("The body is ")


# Into an app that exists.

ADOPTING = PROJECT / "docs" / "adopting.md"
EXISTING = SUPPORT / "existing"


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


def test_the_authorizer_has_a_role_of_its_own_and_the_others_keep_theirs(library: Deployed) -> None:
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
