"""Whoever takes this over breaks nothing: a clone with another service in place of the sample.

Nothing of the engine, the operations or other tests is touched in it. tests/e2e/test_readme.py follows the README, and
tests/e2e/test_existing.py is about an app that existed before.
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
from pathlib import Path

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws, free_port
from tests.support.printed import paste
from tests.support.project import PROJECT, SERVICE, UNSHIPPED, copy_everything
from tests.support.tokens import SECRET

SUPPORT = PROJECT / "tests" / "support"


@dataclass(frozen=True)
class Clone:
    """A copy with a user's changes. `reader` may GET `path`, `other` may not."""

    name: str
    deployed: Deployed
    path: str
    reader: str
    other: str
    rows: tuple[str, ...]  # patterns for lines that `rules` prints
    sample: str  # a pattern for what nothing may say any more
    tests: subprocess.Popen[str]  # that a user runs; started first, for they take a while

    def says(self, *words: str) -> str:
        printed = self.deployed.manage(*words)
        self.check(printed)
        return printed

    def check(self, printed: str) -> None:
        """Nothing speaks of the sample; the namespace of the metrics is the engine's name, and so may a folder's be."""
        printed = printed.replace('"Namespace":"api-guard"', "").replace(str(Path(sys.executable).parent), "")
        lines = [line for line in printed.splitlines() if re.search(self.sample, line)]
        assert lines == []


def with_another_service(folder: Path) -> None:
    """Replace routes, roles, stages, names and the tests of them."""
    another = SUPPORT / "another"
    shutil.copy(another / "app.py", folder)
    shutil.copytree(another / "chalicelib", folder / "chalicelib", dirs_exist_ok=True)
    shutil.copy(another / "own_tests.py", folder / "tests" / "test_app.py")
    shutil.rmtree(
        folder / ".chalice"
    )  # of the service below, for the names in it are known, whatever the app is called
    shutil.copytree(SERVICE / ".chalice", folder / ".chalice", ignore=UNSHIPPED)
    shutil.copy(another / "examples.json", folder / ".chalice")
    for file in (folder / ".chalice").glob("*.json"):
        file.write_text(file.read_text().replace("fixture-key", "clinic-token-key").replace("fixture", "clinic"))


@pytest.fixture(scope="module")
def clone(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = copy_everything(tmp_path_factory.mktemp("clone") / "project")
    with_another_service(folder)
    deployed = Deployed(aws, folder, "dev", "clinic-token-key-dev")
    rows = (r"GET +/opening-hours +public +public", r"GET +/patients/\{patient_id\}/notes +yes +-")
    sample = r"protected-resource|api-guard|jwt-secret-key|fixture|(?i:\b(?:user|admin)(?:_token)?\b)"
    with started(folder, "tests/test_app.py", "tests/operations", "tests/docs") as tests:
        yield Clone("clinic", deployed, "/patients/7/notes", "doctor", "nurse", rows, sample, tests)


@contextmanager
def started(folder: Path, *tests: str) -> Iterator[subprocess.Popen[str]]:
    """Start the tests that a user runs, which must not be red because table and routes are the user's."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AWS_", "JWT_"))}
    # What is deployed meanwhile is the folder without bytecode.
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


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


def test_the_tests_that_a_user_runs_pass(clone: Clone) -> None:
    printed, _ = clone.tests.communicate()
    assert clone.tests.returncode == 0, printed[-5000:]
