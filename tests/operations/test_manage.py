"""The operator's command line: what it prints is true, and what is wrong is said in a sentence."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

import manage
from chalicelib.rules import RULES
from operations import access_page
from operations.minting import LOCAL_SECRET
from tests.conftest import PATH, SECRET
from tests.guard.test_local_http import ask, free_port
from tests.guard.test_tokens import check
from tests.support.project import PROJECT

Change = Callable[..., None]


def run(*words: str) -> Result:
    return CliRunner().invoke(manage.cli, list(words))


def in_copy(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(*words: str) -> str:
    """Return the sentence with which a command refuses."""
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


# token


def test_a_token_is_all_that_token_prints_and_it_stands() -> None:
    result = run("token", "--sub", "bob", "--role", "user", "--role", "admin")
    caller = check(result.output.removesuffix("\n"))
    assert (caller.subject, caller.roles) == ("bob", {"user", "admin"})
    assert 3590 < caller.expires_at - time.time() <= 3600


@pytest.mark.parametrize(("ttl", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_a_token_lives_as_long_as_it_is_told(ttl: str, seconds: int) -> None:
    assert abs(check(run("token", "--ttl", ttl).output.strip()).expires_at - time.time() - seconds) < 5


def test_a_claim_is_json_or_text_and_may_replace_one_of_ours() -> None:
    made = run("token", "--claim", "aud=us", "--claim", "sub=carol", "--claim", 'roles=["admin"]').output.strip()
    caller = check(made, audience="us")
    assert (caller.subject, caller.roles) == ("carol", {"admin"})


def test_a_token_is_made_as_the_settings_want_it(environment: Change) -> None:
    environment(JWT_ISSUER="https://issuer.example", JWT_AUDIENCE="us", JWT_ROLES_CLAIM="groups")
    caller = check(
        run("token", "--role", "user").output.strip(),
        issuer="https://issuer.example",
        audience="us",
        roles_claim="groups",
    )
    assert caller.roles == {"user"}


def test_a_role_that_the_table_does_not_know_is_noted_beside_the_token() -> None:
    result = run("token", "--role", "amdin")
    assert "'amdin'" in result.stderr
    assert check(result.stdout.strip())


@pytest.mark.parametrize(
    "words", [["--ttl", "1"], ["--ttl", "-1h"], ["--ttl", "1y"], ["--claim", "x"], ["--claim", "=x"]]
)
def test_a_word_that_token_does_not_understand_is_named(words: list[str]) -> None:
    assert words[1] in refused("token", *words)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUTHORIZER_SECRET": ""}, "make local"),
        ({"AUTHORIZER_SECRET": "a-password"}, "AUTHORIZER_SECRET"),
        ({"JWT_LEEWAY_SECONDS": "x"}, "JWT_LEEWAY_SECONDS"),
    ],
)
def test_what_is_wrong_is_a_sentence_that_names_the_mend(
    project_copy: Path, variables: dict[str, str], named: str
) -> None:
    result = in_copy(project_copy, "token", **variables)
    assert (result.returncode, result.stdout) == (2, "")
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert named in sentence
    assert "a-password" not in sentence


# rules


def test_rules_prints_who_may_call_what() -> None:
    lines = [line.split() for line in run("rules").output.splitlines()]
    assert lines == [
        ["Method", "Path", "admin", "user"],
        ["GET", PATH, "yes", "yes"],
        ["POST", PATH, "yes", "-"],
    ]
    assert len(lines) == len(RULES) + 1


def test_rules_prints_a_markdown_table() -> None:
    assert run("rules", "--markdown").output.splitlines() == [
        "| Method | Path | admin | user |",
        "| --- | --- | --- | --- |",
        f"| GET | {PATH} | yes | yes |",
        f"| POST | {PATH} | yes | - |",
    ]


def test_rules_makes_a_page_for_an_auditor(tmp_path: Path) -> None:
    file = tmp_path / "access.html"
    assert run("rules", "--html", str(file)).output == ""
    page = file.read_text()
    assert '<tr><td>POST</td><th scope="row">/protected-resource</th><td class="yes">yes</td>' in page
    assert '<th scope="col">admin</th><th scope="col">user</th>' in page
    assert re.search(r"Made on \d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert f"revision {head.stdout.strip() or 'unknown'}" in page
    assert "The table agrees with app.py" in page
    assert "<script" not in page
    assert not re.search(r"(src|href|url)\s*[=(]", page)
    assert run("rules", "--html").output.startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    assert refused("rules", "--html", str(tmp_path / "none" / "x.html")).endswith("No such file or directory.")


def test_the_auditors_page_shows_a_fault_of_the_table_and_escapes_all_that_it_is_given() -> None:
    nasty = "<b>&\"'"
    page = access_page.page(
        nasty, [["Method", "Path", nasty], ["GET", nasty, nasty]], [nasty], nasty, datetime.now(UTC)
    )
    assert "<b>" not in page
    assert page.count("&lt;b&gt;&amp;&quot;&#x27;") == 7
    assert "disagree" in page
    assert "agrees" not in page


def test_outside_of_git_the_auditors_page_says_so(project_copy: Path) -> None:
    done = in_copy(project_copy, "rules", "--html", GIT_CEILING_DIRECTORIES=str(project_copy.parent))
    assert "revision unknown (not under version control here)" in done.stdout


def test_a_change_that_is_not_committed_is_told_on_the_auditors_page(project_copy: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project_copy, check=True)
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert "uncommitted" not in in_copy(project_copy, "rules", "--html", **quiet).stdout
    (project_copy / "app.py").write_text((project_copy / "app.py").read_text() + "\n")
    assert "with uncommitted changes" in in_copy(project_copy, "rules", "--html", **quiet).stdout


@pytest.mark.parametrize("words", [[], ["token"], ["rules"], ["local"], ["why"], ["smoke"]])
def test_every_command_explains_itself(words: list[str]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


# local


def start(project: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program in a process group of its own, which Ctrl-C can be sent to."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Under a shell's `&`, where Ctrl-C is ignored, the tests pass too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # no threads
    )


def start_local(port: int, project: Path, **environment: str) -> subprocess.Popen[str]:
    return start(project, "manage.py", "local", "--port", str(port), **environment)


def read_until_serving(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    printed = ""
    while "Serving on" not in printed:
        line = server.stdout.readline()
        assert line, printed
        printed += line
    return printed


def stop(server: subprocess.Popen[str]) -> str:
    """Press Ctrl-C and return what is printed after it."""
    os.killpg(server.pid, signal.SIGINT)
    return server.communicate(timeout=10)[0]


def paste(command: str) -> tuple[int, bytes]:
    """Do what this curl line does; a machine that runs the tests need not have curl."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-X", default="GET")
    parser.add_argument("-d")
    parser.add_argument("url")
    words = parser.parse_args(shlex.split(command)[1:])
    url = urlsplit(words.url)
    headers = dict(header.split(": ", 1) for header in words.H)
    code, _, body = ask(url.port or 80, words.X, url.path, words.d and words.d.encode(), **headers)
    return code, body


def test_local_prints_curl_lines_that_give_the_status_they_promise_and_ctrl_c_ends_it() -> None:
    port = free_port()
    server = start_local(port, PROJECT)
    printed = read_until_serving(server)
    try:
        promised = re.findall(r"^# (\d{3}): .*\n(curl .*)$", printed, re.MULTILINE)
        assert [code for code, _ in promised] == ["200", "403", "200", "200", "401", "401"]
        for code, command in promised:
            got, body = paste(command)
            assert got == int(code)
            if code == "200" and "-X POST" in command:
                assert json.loads(body) == {"key": "value"}
        assert SECRET not in printed
    finally:
        rest = stop(server)
    assert "Traceback" not in rest
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 2):
        pass


def test_a_port_in_use_is_a_sentence_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("local", "--port", str(port))
    assert result.exit_code == 2
    (sentence,) = result.output.splitlines()
    assert sentence.startswith(f"Error: Port {port}: ")
    assert "PORT=" in sentence


def test_the_local_secret_is_strong_readable_by_its_owner_alone_and_kept(project_copy: Path) -> None:
    place = project_copy / LOCAL_SECRET.relative_to(PROJECT)
    secrets = []
    for _ in range(2):
        server = start_local(free_port(), project_copy, AUTHORIZER_SECRET="")
        secrets.append(read_until_serving(server) and place.read_text())
        stop(server)
    assert secrets[0] == secrets[1]
    assert len(secrets[0].encode()) >= 64
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    minted = in_copy(project_copy, "token", "--role", "user", AUTHORIZER_SECRET="").stdout.strip()
    assert check(minted, secrets={None: secrets[0]}).roles == {"user"}


def test_the_local_secret_is_ignored_by_git() -> None:
    assert subprocess.run(["git", "check-ignore", "-q", str(LOCAL_SECRET)], cwd=PROJECT, check=False).returncode == 0
