"""The README, followed from its first command to its last: a clone, the sample, a service made of it, a deployment.

On the way docs/keys.md is followed to a list of ended sessions.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import manage
from tests.support import pages
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws, free_port
from tests.support.printed import PREAMBLE
from tests.support.project import PROJECT, change, copy_everything
from tests.support.terminal import press_ctrl_c, read_until

README = PROJECT / "README.md"
KEYS = PROJECT / "docs" / "keys.md"
TEXT = README.read_text()


class Reader:
    """Pastes blocks into a shell, for which the embedded AWS is AWS; `said` is what they have printed."""

    def __init__(self, aws: EmbeddedAws, folder: Path) -> None:
        self.folder = folder
        self.deployed = Deployed(aws, folder / "api-guard", "dev", "jwt-secret-key-dev")
        self.said: dict[str, str] = {}

    def paste(self, commands: str, *, where: str = "api-guard") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-u"],
            input=f"set -e\n{PREAMBLE}\n{commands}",
            cwd=self.folder / where,
            env=self.deployed.aws.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def follow(self, heading: str) -> None:
        """Follow a section; each of its commands must succeed."""

        def run(commands: str) -> None:
            done = self.paste(commands)
            assert done.returncode == 0, done.stdout
            self.said[heading] = self.said.get(heading, "") + done.stdout

        pages.follow(pages.section(README, heading), self.deployed.project, run)

    def install(self) -> None:
        """Do what `make demo` and `make test` do to .venv, with what is installed here."""
        ours, venv = Path(sys.prefix), self.deployed.project / ".venv"
        venv.mkdir()
        for entry in ours.iterdir():
            if not entry.name.startswith("."):
                (venv / entry.name).symlink_to(entry)
        # `chalice local` starts again for each new file, of bytecode too, and refuses connections meanwhile.
        compile_all = [sys.executable, "-m", "compileall", "-q", "manage.py", "app.py", "chalicelib", "operations"]
        subprocess.run(compile_all, cwd=self.deployed.project, check=True)
        for layer in ("ready", "demo", "test"):
            (venv / f".{layer}").touch()


def commands_of(heading: str) -> str:
    (found,) = [block.text for block in pages.blocks(pages.section(README, heading)) if block.kind == "sh"]
    return found


@contextmanager
def serving(project: Path, port: int) -> Iterator[None]:
    """Run `make local`."""
    with subprocess.Popen(
        ["make", "local", f"PORT={port}"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # no threads
    ) as program:
        read_until(program, "Serving on")
        yield
        press_ctrl_c(program)


@pytest.fixture(scope="module")
def reader(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Clone it. The demo is not run: tests/e2e/test_demo.py does that."""
    folder = tmp_path_factory.mktemp("reader")
    reader = Reader(aws, folder)
    clone = commands_of("Run it").replace("git clone URL", f"cp -R '{copy_everything(folder / 'repository')}'")
    done = reader.paste(clone.replace("make demo", "make -n demo"), where=".")
    assert done.returncode == 0, done.stdout
    reader.install()
    return reader


@pytest.fixture(scope="module")
def tried(reader: Reader) -> str:
    """Return what the block under "Try it" prints; its last command explains a refusal, so it does not succeed."""
    port = free_port()
    with serving(reader.deployed.project, port):
        done = reader.paste(commands_of("Try it").replace(":8000", f":{port}"))
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def made(reader: Reader) -> str:
    reader.follow("Make it yours")
    return reader.said["Make it yours"]


@pytest.fixture(scope="module")
def deployed(reader: Reader, made: str) -> Deployed:
    assert made
    reader.follow("Deploy it to your account")
    reader.deployed.printed = reader.said["Deploy it to your account"]
    return reader.deployed


@pytest.fixture(scope="module")
def extended(reader: Reader, deployed: Deployed) -> list[dict[str, int]]:
    """Write the row that the README has for a role beside the owner, and follow docs/keys.md to a list.

    Return how two users are answered after each block of commands. The page's deployment deploys the row too.
    """
    ((row, key),) = re.findall(r"`((\(\"GET\", \"/users/\{sub\}/orders\"\): )[^`]+,)`", TEXT)
    change(deployed.project / "chalicelib" / "rules.py", f"    {key}OWNER,\n", f"    {row}\n")
    answers = []

    def run(commands: str) -> None:
        done = reader.paste(commands)
        assert done.returncode == 0, done.stdout
        answers.append(answered(deployed))

    pages.follow(pages.section(KEYS, "End a user's sessions"), deployed.project, run)
    return answers


def answered(deployed: Deployed) -> dict[str, int]:
    """Ask for the own orders of two users, with tokens that were issued before and that no cache has."""
    before = int(time.time()) - 30
    return {who: orders(deployed, who, iat=before) for who in ("alice", "bob")}


def orders(deployed: Deployed, whose: str, *roles: str, sub: str | None = None, **claims: Any) -> int:
    return deployed.ask("GET", deployed.token(*roles, sub=sub or whose, **claims), f"/users/{whose}/orders").status


def test_the_example_answers_what_the_readme_says(tried: str) -> None:
    (answers,) = [block.text for block in pages.blocks(TEXT) if block.kind == "console"]
    printed = tried.splitlines()
    assert [line for line in printed if line.startswith("{")] == answers.splitlines()
    assert "no_permission" in tried


def test_a_service_of_ones_own_has_green_tests_and_a_page(reader: Reader, made: str) -> None:
    assert re.search(r"\b\d+ passed\b", made)
    page = (reader.deployed.project / "access.html").read_text()
    assert "<title>Who may call what: shop</title>" in page
    assert "/orders/{order_id}" in page


def test_the_service_of_ones_own_is_deployed_and_holds(deployed: Deployed) -> None:
    assert "4 rules agree with app.py" in deployed.printed
    assert "shop answers on " in deployed.printed
    assert re.search(r"^All \d+ hold\.$", deployed.printed, re.MULTILINE)
    answer = deployed.ask("GET", deployed.token("auditor", sub="ann"), "/orders/7")
    assert answer.json == {"order": "7", "read_by": "ann"}
    assert deployed.ask("GET", deployed.token("user"), "/orders/7").status == 403
    assert deployed.ask("GET", deployed.token(sub="ann"), "/users/ann/orders").json == {"orders_of": "ann"}


def test_the_answers_are_those_of_the_readmes_table(deployed: Deployed) -> None:
    refused = deployed.ask("GET", deployed.token("user", exp=1), "/protected-resource")
    assert (refused.status, refused.body) == (401, b'{"message":"Unauthorized"}')
    assert deployed.ask("GET", None, "/protected-resource").status == 401
    assert deployed.ask("POST", deployed.token("user"), "/protected-resource").status == 403
    assert deployed.ask("GET", deployed.token("auditor", sub="bob"), "/users/ann/orders").status == 403
    assert deployed.ask("GET", deployed.token("user"), "/nowhere").status == 404
    assert deployed.ask("DELETE", deployed.token("user"), "/protected-resource").status == 404


@pytest.mark.parametrize(("body", "status"), [(b"not json", 400), (b"", 400), (b"x" * 1_100_000, 413)])
def test_the_sample_says_what_is_wrong_with_a_body(deployed: Deployed, body: bytes, status: int) -> None:
    answer = deployed.ask("POST", deployed.token("admin"), "/protected-resource", body)
    assert answer.status == status
    assert b'essage":"The body is ' in answer.body  # Chalice writes a capital letter


def test_the_pages_commands_end_one_users_sessions_and_forget_it(extended: list[dict[str, int]]) -> None:
    both = {"alice": 200, "bob": 200}
    assert extended == [both, {**both, "alice": 401}, both]


@pytest.mark.usefixtures("extended")
def test_the_readmes_command_ends_the_sessions_of_one_user(reader: Reader, deployed: Deployed) -> None:
    (command,) = re.findall(r"`(\.venv/bin/python manage\.py revoke [^`]+)`", TEXT)
    done = reader.paste(command)
    assert done.returncode == 0, done.stdout
    assert answered(deployed) == {"alice": 401, "bob": 200}
    refused = deployed.ask("GET", deployed.token(sub="alice", iat=...), "/protected-resource")
    assert (refused.status, refused.body) == (401, b'{"message":"Unauthorized"}')
    assert deployed.decision("jwt_authorizer", reason="revoked", route="/protected-resource")["subject"] == "alice"


@pytest.mark.usefixtures("extended")
def test_the_readmes_rows_let_in_the_owner_and_then_a_role_too(deployed: Deployed) -> None:
    assert orders(deployed, "bob") == 200
    for roles, status in (((), 403), (("user",), 403), (("auditor",), 200), (("admin",), 200)):
        assert orders(deployed, "bob", *roles, sub="ann") == status
    for token in (None, deployed.token("auditor", key="x" * 64), deployed.token(sub="bob", exp=1)):
        assert deployed.ask("GET", token, "/users/bob/orders").status == 401


def test_the_api_is_removed_by_the_last_command(reader: Reader, deployed: Deployed) -> None:
    (command,) = re.findall(r"`(\.venv/bin/chalice delete [^`]+)`", TEXT)
    there = deployed.api_id
    assert reader.paste(command).returncode == 0
    assert there not in {api["id"] for api in deployed.aws.client("apigateway").get_rest_apis()["items"]}


def test_the_commands_in_the_text_exist(reader: Reader) -> None:
    targets = set(re.findall(r"`make ([a-z-]+)`", TEXT))
    assert reader.paste(f"make -n {' '.join(sorted(targets))}").returncode == 0
    assert set(re.findall(r"manage\.py (\w+)", TEXT)) <= set(manage.cli.commands)


def test_the_readme_is_short_and_its_commands_have_no_comments() -> None:
    assert len(TEXT.splitlines()) <= 150
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
    # An interactive zsh takes a comment for words of the command.
    assert "#" not in "".join(block.text for block in pages.blocks(TEXT) if block.kind == "sh")
    assert pages.dead_links(README) == []
