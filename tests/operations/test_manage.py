"""The operator's command line: what it prints is true, and what is wrong is said in a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import manage
from chalicelib.guard.decision import Caller
from chalicelib.guard.keys.source import hmac_keys
from chalicelib.guard.settings import from_environment
from chalicelib.guard.tokens import verify
from operations import access_page
from operations.project import Project
from tests.support.local_server import free_port
from tests.support.project import PROJECT, change, project_of
from tests.support.terminal import paste_all, press_ctrl_c, read_until, start
from tests.support.tokens import SECRET

Change = Callable[..., None]
Run = Callable[..., Result]


@pytest.fixture
def run(project: Project) -> Run:
    return lambda *words: CliRunner().invoke(manage.cli, list(words), obj=project)


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Return the sentence with which a command refuses."""

    def run_it(*words: str) -> str:
        result = run(*words)
        assert result.exit_code == 2
        return str(result.output.strip().splitlines()[-1])

    return run_it


def in_copy(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def accepted(token: str, secret: str = SECRET, **variables: str) -> Caller:
    wanted = from_environment(variables)
    return verify(token, hmac_keys(secret, None, wanted.algorithms, "the secret"), wanted, time.time())


# token


def test_a_token_is_all_that_token_prints_and_it_is_valid(run: Run) -> None:
    result = run("token", "--sub", "bob", "--role", "user", "--role", "admin")
    caller = accepted(result.output.removesuffix("\n"))
    assert (caller.subject, caller.roles) == ("bob", {"user", "admin"})
    assert 3590 < caller.expires_at - time.time() <= 3600


@pytest.mark.parametrize(("ttl", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_a_token_lives_as_long_as_it_is_asked_to(run: Run, ttl: str, seconds: int) -> None:
    assert abs(accepted(run("token", "--ttl", ttl).output.strip()).expires_at - time.time() - seconds) < 5


def test_a_claim_is_json_or_text_and_may_replace_one_of_ours(run: Run) -> None:
    made = run("token", "--claim", "aud=us", "--claim", "sub=carol", "--claim", 'roles=["admin"]').output.strip()
    caller = accepted(made, JWT_AUDIENCE="us")
    assert (caller.subject, caller.roles) == ("carol", {"admin"})


def test_a_token_is_made_as_the_settings_want_it(run: Run, environment: Change) -> None:
    wanted = {"JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us", "JWT_ROLES_CLAIM": "groups"}
    environment(**wanted)
    assert accepted(run("token", "--role", "user").output.strip(), **wanted).roles == {"user"}


def test_a_lifetime_is_cut_to_what_is_accepted_and_a_note_says_so(run: Run, environment: Change) -> None:
    environment(JWT_MAX_LIFETIME_SECONDS="60")
    result = run("token", "--ttl", "1h")
    assert accepted(result.stdout.strip(), JWT_MAX_LIFETIME_SECONDS="60")
    assert result.stderr == "Note: a token lives 60 s, which is what JWT_MAX_LIFETIME_SECONDS allows.\n"
    assert run("token", "--ttl", "1m").stderr == ""


def test_a_token_is_made_as_the_stage_local_wants_it(project_copy: Path) -> None:
    change(project_copy / ".chalice" / "config.json", '"AWS_EC2_METADATA_DISABLED": "true"', '"JWT_ISSUER": "us"')
    made = CliRunner().invoke(manage.cli, ["token"], obj=project_of(project_copy)).output.strip()
    assert accepted(made, JWT_ISSUER="us")


def test_a_role_that_the_table_does_not_know_is_noted_beside_the_token(run: Run) -> None:
    result = run("token", "--role", "amdin")
    assert "'amdin'" in result.stderr
    assert accepted(result.stdout.strip())


@pytest.mark.parametrize(
    "words", [["--ttl", "1"], ["--ttl", "-1h"], ["--ttl", "1y"], ["--claim", "x"], ["--claim", "=x"]]
)
def test_a_word_that_token_does_not_understand_is_named(refused: Callable[..., str], words: list[str]) -> None:
    assert words[1] in refused("token", *words)


PROVIDER = {"JWT_JWKS_URL": "https://issuer.example/keys", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUTHORIZER_SECRET": "a-password"}, "AUTHORIZER_SECRET"),
        ({"JWT_LEEWAY_SECONDS": "x"}, "JWT_LEEWAY_SECONDS"),
        ({"JWT_MAX_LIFETIME": "60"}, "JWT_MAX_LIFETIME_SECONDS"),
        ({"AUTHORIZER_SECRET": None, **PROVIDER}, "https://issuer.example"),
    ],
)
def test_a_wrong_setting_is_a_sentence_that_names_the_fix(
    refused: Callable[..., str], environment: Change, variables: dict[str, str | None], named: str
) -> None:
    environment(**variables)
    sentence = refused("token")
    assert sentence.startswith("Error: ")
    assert named in sentence
    assert "a-password" not in sentence


@pytest.mark.parametrize(
    ("file", "named"),
    [("chalicelib/rules.py", "chalicelib/rules.py, line 1: SyntaxError"), ("app.py", "app.py, line 1: SyntaxError")],
)
def test_a_program_that_cannot_be_imported_is_one_sentence(project_copy: Path, file: str, named: str) -> None:
    (project_copy / file).write_text("def x(:\n")
    result = in_copy(project_copy, "rules")
    assert (result.returncode, result.stdout) == (2, "")
    (sentence,) = result.stderr.splitlines()
    assert named in sentence


def test_a_token_needs_a_secret(project_copy: Path) -> None:
    result = in_copy(project_copy, "token", AUTHORIZER_SECRET="")
    assert (result.returncode, result.stdout) == (2, "")
    assert "run make local once" in result.stderr


# rules


def test_rules_prints_who_may_call_what(run: Run) -> None:
    result = run("rules")
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [
        ["Method", "Path", "admin", "support", "user"],
        ["GET", "/health", "public", "public", "public"],
        ["GET", "/items", "yes", "-", "yes"],
        ["POST", "/items", "yes", "-", "-"],
        ["GET", "/reports/{report_id}", "yes", "yes", "-"],
        ["GET", "/users/{sub}/orders", "own", "yes", "own"],
    ]


def test_rules_prints_a_markdown_table(run: Run) -> None:
    lines = run("rules", "--markdown").output.splitlines()
    assert lines[:2] == ["| Method | Path | admin | support | user |", "| --- | --- | --- | --- | --- |"]
    assert lines[-1] == "| GET | /users/{sub}/orders | own | yes | own |"


def test_rules_of_a_table_without_roles_has_a_column_for_any_caller(project_copy: Path) -> None:
    rules = project_copy / "chalicelib" / "rules.py"
    rules.write_text(
        "from chalicelib.guard import OWNER, PUBLIC\n"
        'RULES = {("GET", "/users/{sub}/orders"): OWNER, ("GET", "/health"): PUBLIC}\n'
    )
    result = CliRunner().invoke(manage.cli, ["rules"], obj=project_of(project_copy))
    assert "GET     /users/{sub}/orders  own\n" in result.stdout
    assert "(any caller)" in result.stdout


def test_rules_refuses_a_table_that_disagrees_with_the_app(project_copy: Path) -> None:
    change(project_copy / "chalicelib" / "rules.py", '("POST", "/items")', '("PUT", "/items")')
    result = CliRunner().invoke(manage.cli, ["rules"], obj=project_of(project_copy))
    assert result.exit_code == 2
    assert "PUT     /items" in result.stdout
    assert "PUT /items is in the table but app.py has no such route." in result.stderr


def test_rules_makes_a_page_for_an_auditor(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "access.html"
    assert run("rules", "--html", str(file)).output == ""
    page = file.read_text()
    assert "<h1>Who may call what: fixture</h1>" in page
    assert '<tr><td>POST</td><th scope="row">/items</th><td class="yes">yes</td><td class="no">-</td>' in page
    assert '/orders</th><td class="own">own</td><td class="yes">yes</td><td class="own">own</td>' in page
    assert '<th scope="col">admin</th><th scope="col">support</th>' in page
    assert re.search(r"Made on \d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert f"revision {head.stdout.strip() or 'unknown'}" in page
    assert "The table agrees with app.py: all 5 routes" in page
    assert "<script" not in page
    assert not re.search(r"(src|href|url)\s*[=(]", page)
    assert run("rules", "--html").output.startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_a_sentence(refused: Callable[..., str], tmp_path: Path) -> None:
    assert refused("rules", "--html", str(tmp_path / "none" / "x.html")).endswith("No such file or directory.")


def test_the_auditors_page_shows_faults_and_escapes_all_that_it_is_given() -> None:
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


def test_a_change_that_is_not_committed_is_named_on_the_auditors_page(project_copy: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project_copy, check=True)
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert "uncommitted" not in in_copy(project_copy, "rules", "--html", **quiet).stdout
    (project_copy / "app.py").write_text((project_copy / "app.py").read_text() + "\n")
    assert "with uncommitted changes" in in_copy(project_copy, "rules", "--html", **quiet).stdout


@pytest.mark.parametrize(
    "words", [[], ["token"], ["rules"], ["local"], ["why"], ["smoke"], ["deploy"], ["package"], ["secret"]]
)
def test_every_command_explains_itself(run: Run, words: list[str]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    commands = result.output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line for line in commands if not re.search(r"[a-z0-9]\.$", line)] == []  # whole sentences, not cut off


# local


def start_local(project: Path, **environment: str) -> tuple[int, subprocess.Popen[str]]:
    port = free_port()
    return port, start(project, "manage.py", "local", "--port", str(port), **environment)


def test_local_prints_curl_lines_that_hold_and_ctrl_c_ends_it(project_copy: Path) -> None:
    port, server = start_local(project_copy)
    printed = read_until(server, "Serving on")
    try:
        answers = paste_all(printed)
        for due, command, got, _ in answers:
            assert due.met_by(got), command
        assert len(answers) == len(re.findall("^# ", printed, re.MULTILINE)) == 19
        posted = [body for due, command, _, body in answers if due == "2xx" and "-X POST" in command]
        assert list(map(json.loads, posted)) == [{"key": "value"}]
        assert printed.startswith(f"fixture answers on http://127.0.0.1:{port}\n")
        assert SECRET not in printed
    finally:
        rest = press_ctrl_c(server)
    assert "Traceback" not in rest
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 2):
        pass


def test_local_names_a_disagreement_and_what_it_does_not_try(project_copy: Path) -> None:
    change(project_copy / "chalicelib" / "rules.py", '("GET", "/health")', '("GET", "/healthy")')
    (project_copy / ".chalice" / "examples.json").unlink()
    _, server = start_local(project_copy)
    printed = read_until(server, "Serving on")
    press_ctrl_c(server)
    assert "Note: GET /healthy is in the table but app.py has no such route." in printed
    assert "Note: Not tried, since they have an effect: POST /items." in printed
    assert "$API/healthy" not in printed


def test_a_port_in_use_is_a_sentence_and_no_traceback(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("local", "--port", str(port))
    assert result.exit_code == 2
    (sentence,) = result.output.splitlines()
    assert sentence.startswith(f"Error: Port {port}: ")
    assert "PORT=" in sentence


def test_the_local_secret_is_strong_readable_by_its_owner_alone_and_kept(project_copy: Path) -> None:
    place = project_copy / ".chalice" / "local-secret"
    secrets = []
    for _ in range(2):
        _, server = start_local(project_copy, AUTHORIZER_SECRET="")
        secrets.append(read_until(server, "Serving on") and place.read_text())
        press_ctrl_c(server)
    assert secrets[0] == secrets[1]
    assert len(secrets[0].encode()) >= 64
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    minted = in_copy(project_copy, "token", "--role", "user", AUTHORIZER_SECRET="").stdout.strip()
    assert accepted(minted, secrets[0]).roles == {"user"}


def test_the_local_secret_is_ignored_by_git(tmp_path: Path) -> None:
    shutil.copy(PROJECT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    command = ["git", "-C", tmp_path, "check-ignore", "-q", ".chalice/local-secret"]
    assert subprocess.run(command, check=False).returncode == 0
