"""Ended sessions on the embedded AWS: the list among several operators, and how soon it holds under load.

Under `chalice local` too, with a list on the embedded AWS.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

import manage
from chalicelib.guard.keys.source import Revocations, parse
from operations import deployment, revocation, secret, stage
from operations.fault import Fault
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.endpoint import Endpoint, Reply, Request, passing_to
from tests.support.local_server import ask, serving
from tests.support.project import change, copy_project, project_of
from tests.support.tokens import SECRET, token

NOW = 1_800_000_000
SETTING = '"JWT_REVOCATIONS_SECRET_ID": "fixture-revocations-dev"'


def wait_until(holds: Callable[[], bool]) -> bool:
    """Wait until it holds; return whether it did within a minute, which a busy machine may need."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


class List:
    """A list of ended sessions that no other test has, and the stage that reads it, which is not deployed."""

    def __init__(self, aws: EmbeddedAws, project: Path) -> None:
        self.aws, self.project, self.name = aws, project, f"ended-{uuid.uuid4()}"
        change(project / ".chalice" / "config.json", "fixture-revocations-dev", self.name)
        self.client = aws.client("secretsmanager")

    def bound(self, seconds: int) -> None:
        """Let no token live longer."""
        old = '"JWT_SECRET_ID": "fixture-key-dev"'
        change(self.project / ".chalice" / "config.json", old, f'{old}, "JWT_MAX_LIFETIME_SECONDS": "{seconds}"')

    @property
    def stage(self) -> stage.Stage:
        return stage.load(project_of(self.project), "dev")

    def end(self, *subjects: str, until: int = NOW, now: int = NOW, everyone: bool = False) -> Revocations:
        return revocation.end(self.stage, subjects, everyone=everyone, until=until, now=now)

    def put(self, text: str) -> None:
        self.client.create_secret(Name=self.name, SecretString=text)

    def another(self, *subjects: str) -> None:
        """Put another list in its place."""
        self.replace(revocation.text(Revocations(-1, dict.fromkeys(subjects, NOW))))

    def replace(self, text: str) -> None:
        self.client.put_secret_value(SecretId=self.name, SecretString=text)

    @property
    def text(self) -> str:
        return str(self.client.get_secret_value(SecretId=self.name)["SecretString"])

    @property
    def subjects(self) -> dict[str, float]:
        return dict(parse(self.text).subjects)


@pytest.fixture
def listed(aws: EmbeddedAws, project_copy: Path, environment: Callable[..., None]) -> List:
    environment(**{name: value for name, value in aws.environment().items() if name.startswith("AWS_")})
    return List(aws, project_copy)


@pytest.fixture
def between(listed: List, environment: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Let something happen just before this action of Secrets Manager, the first so many times."""
    through = passing_to(listed.aws.port)
    endpoint = Endpoint(through)

    def happens(action: str, what: Callable[[], Reply | None], times: int = 1) -> None:
        left = [what] * times

        def answer(request: Request) -> Reply:
            due = request.headers.get("X-Amz-Target") == f"secretsmanager.{action}" and left
            return (due and left.pop()()) or through(request)

        endpoint.answers(answer)
        environment(AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint.url)

    yield happens
    endpoint.close()


# The list.


def test_the_first_entry_makes_the_secret(listed: List) -> None:
    assert listed.end("alice").subjects == listed.subjects == {"alice": NOW}


def test_secret_create_makes_an_empty_list_beside_a_key_that_is_there(listed: List) -> None:
    secret_id = f"key-{uuid.uuid4()}"
    change(listed.project / ".chalice" / "config.json", "fixture-key-dev", secret_id)
    key, ended = secret.create(listed.stage)
    assert (secret_id in key, listed.name in ended) == (True, True)
    listed.client.delete_secret(SecretId=listed.name, ForceDeleteWithoutRecovery=True)
    (again,) = secret.create(listed.stage)
    assert listed.name in again
    assert parse(listed.text) == Revocations()
    with pytest.raises(Fault, match="exists already"):
        secret.create(listed.stage)


def test_each_entry_stays_when_another_is_added(listed: List) -> None:
    listed.end("alice")
    listed.end("bob", "carol", until=NOW - 1)
    assert listed.subjects == {"alice": NOW, "bob": NOW - 1, "carol": NOW - 1}


def test_what_is_refused_already_is_refused_afterwards(listed: List) -> None:
    listed.end("alice", until=NOW)
    listed.end("alice", until=NOW - 1000)
    assert listed.subjects == {"alice": NOW}
    listed.end(everyone=True, until=NOW - 10)
    assert listed.end(everyone=True, until=NOW - 20).everyone == NOW - 10


def test_everyone_takes_the_place_of_subjects_that_it_covers(listed: List) -> None:
    listed.end("alice", until=NOW - 10)
    listed.end("bob", until=NOW)
    ended = listed.end(everyone=True, until=NOW - 10)
    assert ended == parse(listed.text) == Revocations(NOW - 10, {"bob": NOW})


def test_forget_takes_off_what_it_names_and_nothing_else(listed: List) -> None:
    listed.end("alice", "bob")
    listed.end(everyone=True, until=NOW - 10)
    revocation.forget(listed.stage, ["alice"], everyone=False, now=NOW)
    assert parse(listed.text) == Revocations(NOW - 10, {"bob": NOW})
    revocation.forget(listed.stage, [], everyone=True, now=NOW)
    assert parse(listed.text) == Revocations(-1, {"bob": NOW})
    before = listed.text
    for subjects, everyone in ((["alice"], False), (["bob", "alice"], False), ([], True)):
        with pytest.raises(Fault, match="not on the list"):
            revocation.forget(listed.stage, subjects, everyone=everyone, now=NOW)
    assert listed.text == before


def test_an_entry_goes_when_the_last_token_of_it_has_expired(listed: List) -> None:
    listed.bound(3600)
    listed.end("alice", until=NOW)
    listed.end(everyone=True, until=NOW - 1)
    last = NOW + 3600 + revocation.MARGIN
    assert listed.end("bob", until=last, now=last - 2) == Revocations(NOW - 1, {"alice": NOW, "bob": last})
    assert listed.end("bob", until=last, now=last - 1) == Revocations(-1, {"alice": NOW, "bob": last})
    assert listed.end("bob", until=last, now=last) == Revocations(-1, {"bob": last})


def test_without_a_bound_on_lifetimes_no_entry_goes(listed: List) -> None:
    listed.end("alice")
    assert "alice" in listed.end("bob", until=NOW * 2, now=NOW * 2).subjects


def test_a_full_list_is_left_as_it_is_and_says_what_to_do(listed: List) -> None:
    subjects = {f"{number:036}": NOW for number in range(1280)}
    listed.put(revocation.text(Revocations(-1, subjects)))
    before = listed.text
    with pytest.raises(Fault, match="The list is full") as refusal:
        listed.end(*(f"more-{number:030}" for number in range(40)))
    assert all(word in refusal.value.message for word in ("--forget", "JWT_MAX_LIFETIME_SECONDS", "--everyone"))
    assert listed.text == before
    assert listed.end(everyone=True) == Revocations(NOW, {})


@pytest.mark.parametrize(
    "text", ["not JSON", "[]", "{}", '{"my_secret_key": "x"}', '{"everyone": -1, "subjects": {"a": "1"}}']
)
def test_a_secret_of_another_form_is_refused_and_not_replaced(listed: List, text: str) -> None:
    listed.put(text)
    for change_it in (lambda: listed.end("alice"), lambda: revocation.current(listed.stage)):
        with pytest.raises(Fault, match="left as it is"):
            change_it()
    assert listed.text == text


def test_a_list_that_was_never_made_is_named_with_what_makes_it(listed: List) -> None:
    with pytest.raises(Fault, match=r"manage\.py secret create --stage dev"):
        revocation.current(listed.stage)
    secret_id = f"key-{uuid.uuid4()}"
    for name in ("config.json", "policy-authorizer-dev.json"):
        change(listed.project / ".chalice" / name, "fixture-key-dev", secret_id)
    change(listed.project / ".chalice" / "policy-authorizer-dev.json", "fixture-revocations-dev", listed.name)
    secret.create(listed.stage)
    assert dict(deployment.preflight(listed.stage))["ended sessions"].startswith(listed.name)
    listed.client.delete_secret(SecretId=listed.name, ForceDeleteWithoutRecovery=True)
    with pytest.raises(Fault, match=rf"{listed.name}.*manage\.py secret create --stage dev"):
        list(deployment.preflight(listed.stage))


@pytest.mark.parametrize("action", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_an_entry_that_came_in_between_is_kept(listed: List, between: Callable[..., None], action: str) -> None:
    listed.end("alice")
    between(action, lambda: listed.another("alice", "mallory"))
    listed.end("bob")
    assert listed.subjects == {"alice": NOW, "bob": NOW, "mallory": NOW}


def test_a_first_entry_that_came_in_between_is_kept(listed: List, between: Callable[..., None]) -> None:
    between("CreateSecret", lambda: listed.put(revocation.text(Revocations(-1, {"mallory": NOW}))))
    listed.end("bob")
    assert listed.subjects == {"bob": NOW, "mallory": NOW}


def test_who_never_gets_a_turn_is_refused_and_loses_nothing(listed: List, between: Callable[..., None]) -> None:
    listed.end("alice")
    between("UpdateSecretVersionStage", lambda: listed.another("mallory"), 1000)
    with pytest.raises(Fault, match="try again"):
        listed.end("bob")
    assert listed.subjects == {"mallory": NOW}


def test_a_move_whose_answer_was_lost_is_done(listed: List, environment: Callable[..., None]) -> None:
    listed.end("alice")
    through, moves = passing_to(listed.aws.port), Counter[str]()

    def answer(request: Request) -> Reply:
        reply = through(request)
        moves[action := request.headers["X-Amz-Target"].partition(".")[2]] += 1
        lost = action == "UpdateSecretVersionStage" and moves[action] == 1
        return Reply(500, b"{}") if lost else reply

    endpoint = Endpoint(answer)
    environment(AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint.url)
    listed.end("bob")
    endpoint.close()
    assert listed.subjects == {"alice": NOW, "bob": NOW}
    assert (moves["UpdateSecretVersionStage"], moves["PutSecretValue"]) == (2, 1)


def test_an_error_that_is_no_others_write_is_said(listed: List, between: Callable[..., None]) -> None:
    listed.end("alice")
    between(
        "UpdateSecretVersionStage", lambda: Reply(400, b'{"__type": "AccessDeniedException", "Message": "no"}'), 1000
    )
    with pytest.raises(Fault, match=r"AWS refused UpdateSecretVersionStage \(AccessDeniedException\)"):
        listed.end("bob")
    assert listed.subjects == {"alice": NOW}


def test_tokens_of_an_issuer_whose_clock_is_ahead_are_refused_too(listed: List) -> None:
    old = '"JWT_SECRET_ID": "fixture-key-dev"'
    change(listed.project / ".chalice" / "config.json", old, f'{old}, "JWT_LEEWAY_SECONDS": "100"')
    before = time.time()
    result = CliRunner().invoke(
        manage.cli, ["revoke", "--stage", "dev", "--sub", "alice"], obj=project_of(listed.project)
    )
    assert result.exit_code == 0
    assert before + 100 <= listed.subjects["alice"] <= time.time() + 101
    assert "Not started again" in result.output  # it was never deployed
    assert "Not emptied: Stage dev is not deployed from here" in result.output


def test_the_second_that_was_begun_is_refused_as_a_whole(listed: List) -> None:
    moment = "2026-01-01T00:00:00.25+00:00"
    words = ["revoke", "--stage", "dev", "--sub", "alice", "--before", moment]
    assert CliRunner().invoke(manage.cli, words, obj=project_of(listed.project)).exit_code == 0
    assert revocation.moment(listed.subjects["alice"]) == "2026-01-01T00:00:01Z"
    before = time.time()
    assert CliRunner().invoke(manage.cli, words[:-2], obj=project_of(listed.project)).exit_code == 0
    assert listed.subjects["alice"] >= before


OPERATOR = """
import sys
from pathlib import Path
from operations import revocation, stage
from operations.project import Project
chosen = stage.load(Project(Path.cwd()), "dev")
sys.stdin.readline()
for number in range(8):
    revocation.end(chosen, [f"{sys.argv[1]}-{number}"], everyone=False, until=1800000000, now=1800000000)
"""


def test_two_operators_at_once_lose_no_entry(listed: List) -> None:
    listed.end("alice")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", OPERATOR, who],
            cwd=listed.project,
            env=listed.aws.environment(),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for who in ("ann", "ben")
    ]
    with ThreadPoolExecutor(len(running)) as pool:
        said = list(pool.map(lambda operator: operator.communicate("\n")[1], running))
    assert said == ["", ""]
    assert listed.subjects.keys() == {"alice", *(f"{who}-{n}" for who in ("ann", "ben") for n in range(8))}


# Under `chalice local`, which reads the list of the embedded AWS beside its own secret.


@dataclass(frozen=True)
class Local:
    """A server with its list; each request goes to a route that `user` may call, and to the caller's own orders."""

    listed: List
    port: int

    def statuses(self, subject: str, **changes: Any) -> set[int]:
        headers = {"Authorization": token("user", **{"sub": subject, "iat": int(time.time()) - 30, **changes})}
        own = f"/users/{quote(subject)}/orders"
        return {ask(self.port, "GET", path, **headers)[0] for path in ("/items", own)}

    def revoke(self, *words: str) -> None:
        words = ("revoke", "--stage", "dev", *words)
        result = CliRunner().invoke(manage.cli, words, obj=project_of(self.listed.project))
        assert result.exit_code == 0, result.output

    @property
    def printed(self) -> str:
        return (self.listed.project / "printed").read_text()


@pytest.fixture(scope="module")
def server(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    listed = List(aws, copy_project(tmp_path_factory.mktemp("local") / "project"))
    listed.put(revocation.EMPTY)
    variables = {
        **{name: value for name, value in aws.environment().items() if name.startswith("AWS_")},
        "AUTHORIZER_SECRET": SECRET,
        "JWT_REVOCATIONS_SECRET_ID": listed.name,
        "JWT_KEY_TTL_SECONDS": "1",
        "JWT_KEY_MAX_STALE_SECONDS": "0",
    }
    with serving(listed.project, **variables) as port:
        yield Local(listed, port)


@pytest.fixture
def local(server: Local, environment: Callable[..., None]) -> Local:
    """The server, whose list is empty, and the AWS that `manage.py revoke` finds."""
    environment(**{name: value for name, value in server.listed.aws.environment().items() if name.startswith("AWS_")})
    server.listed.replace(revocation.EMPTY)
    assert wait_until(lambda: server.statuses("alice", iat=1) == {200})
    return server


def test_under_chalice_local_one_users_sessions_end(local: Local) -> None:
    until = int(time.time()) - 60
    assert local.statuses("alice", iat=until) == {200}
    local.revoke("--sub", "alice", "--before", str(until))
    assert wait_until(lambda: local.statuses("alice", iat=until) == {401})
    assert local.statuses("alice", iat=until - 1) == {401}
    assert local.statuses("alice", iat=...) == {401}
    assert local.statuses("alice", iat=until + 1) == {200}
    for somebody_else in ("bob", "Alice", "alice ", "*"):  # a subject is compared exactly
        assert local.statuses(somebody_else, iat=until - 1) == {200}
    code, headers, body = ask(local.port, "GET", "/items", Authorization=token("user", iat=until))
    assert (code, json.loads(body)) == (401, {"message": "Unauthorized"})
    assert headers["www-authenticate"] == 'Bearer error="invalid_token"'
    local.revoke("--forget", "alice")
    assert wait_until(lambda: local.statuses("alice", iat=until) == {200})
    lines = [json.loads(line) for line in local.printed.splitlines() if line.startswith('{"time"')]
    assert "alice" in {line["subject"] for line in lines if line.get("reason") == "revoked"}
    assert "eyJ" not in local.printed


def test_under_chalice_local_everyones_sessions_end(local: Local) -> None:
    until = int(time.time()) - 60
    local.revoke("--everyone", "--before", str(until))
    assert wait_until(lambda: local.statuses("alice", iat=until) == {401})
    assert local.statuses("bob", iat=until) == {401}
    assert local.statuses("bob", iat=until + 1) == {200}


@pytest.mark.parametrize("text", ["", "{}"], ids=["absent", "of-another-form"])
def test_under_chalice_local_nobody_gets_in_without_a_list(local: Local, text: str) -> None:
    listed = local.listed
    try:
        if text:
            listed.replace(text)
        else:
            listed.client.delete_secret(SecretId=listed.name, ForceDeleteWithoutRecovery=True)
        assert wait_until(lambda: local.statuses("alice") == {500})
        assert local.statuses("bob") == {500}
        assert ask(local.port, "GET", "/items")[0] == 401
    finally:
        if not text:
            listed.put(revocation.EMPTY)
    said = "is no revocation list" if text else "cannot be read (ResourceNotFoundException)"
    assert f"Secret '{listed.name}' {said}" in local.printed


# How soon it holds, on a stage that was deployed with a short TTL.

TTL = 2


@pytest.fixture(scope="module")
def own(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    project = copy_project(tmp_path_factory.mktemp("own") / "project")
    change(project / "app.py", "ttl_seconds=300", f"ttl_seconds={TTL}")
    for file in (project / "app.py", *(project / ".chalice").glob("*.json")):
        file.write_text(file.read_text().replace("fixture", "ending"))
    deployed = Deployed(aws, project, "dev", "ending-key-dev")
    deployed.manage("secret", "create", "--stage", "dev")
    deployed.manage("deploy", "--stage", "dev")
    return deployed


@pytest.fixture
def chosen(own: Deployed, environment: Callable[..., None]) -> stage.Stage:
    """The stage, with an empty list and an authorizer that knows it."""
    environment(**{name: value for name, value in own.aws.environment().items() if name.startswith("AWS_")})
    put_list(own, revocation.EMPTY)
    own.restart("jwt_authorizer")
    return stage.load(project_of(own.project), "dev")


def put_list(own: Deployed, text: str) -> None:
    own.aws.client("secretsmanager").put_secret_value(SecretId="ending-revocations-dev", SecretString=text)


def issued(own: Deployed, subject: str, ago: int = 30, **claims: Any) -> str:
    """Return a token that was issued so many seconds ago."""
    return own.token("user", sub=subject, iat=int(time.time()) - ago, **claims)


def revoke(own: Deployed, *words: str) -> Result:
    return CliRunner().invoke(manage.cli, ["revoke", "--stage", "dev", *words], obj=project_of(own.project))


@pytest.mark.usefixtures("chosen")
def test_a_users_sessions_end_soon_and_nobody_else_notices(own: Deployed) -> None:
    start = datetime.now(UTC).isoformat(timespec="milliseconds")
    alices, undated = issued(own, "alice"), own.token("user", iat=...)
    cached = {who: issued(own, who) for who in ("bob", "carol")}
    answers: Counter[tuple[str, int]] = Counter()
    stop, ended = threading.Event(), threading.Event()
    first = []

    def others(who: str) -> None:
        while not stop.is_set():
            answers[who, own.ask("GET", cached[who]).status] += 1
            answers[who, own.ask("GET", issued(own, who)).status] += 1
            time.sleep(0.02)

    def alice() -> None:
        while not stop.is_set() and own.ask("GET", alices).status == 200:
            time.sleep(0.02)
        first.append(time.monotonic())
        ended.set()

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(others, "bob"), pool.submit(others, "carol"), pool.submit(alice)]
        try:
            assert own.ask("GET", undated).status == 200
            enough = wait_until(lambda: answers.total() > 20)
            began = time.monotonic()
            said = own.manage("revoke", "--stage", "dev", "--sub", "alice")
            done = time.monotonic()
            assert ended.wait(60)
            before = answers.total()
            enough = wait_until(lambda: answers.total() > before + 20) and enough
        finally:
            stop.set()
        for job in running:
            job.result()
    print(  # noqa: T201  # figures for who runs this with -s
        f"\nrevoke took {done - began:.1f} s; first refusal {first[0] - began:.1f} s after it began, with a cache of"
        f" {TTL} s; others meanwhile: {dict(answers)}"
    )
    assert first[0] - began < 30
    # The embedded Lambda can end an environment in the middle of a request, which Lambda does not: a 500 is its own
    # if neither function has logged a failure.
    assert {status for _, status in answers} <= {200, 500}
    lines = [line for name in ("jwt_authorizer", "api_handler") for line in own.decisions(name)]
    assert [line for line in lines if line["time"] >= start and line.get("outcome") == "error"] == []
    assert sum(count for (_, status), count in answers.items() if status == 500) <= 2
    assert enough
    assert "The authorizer runs in new environments" in said
    assert f"API Gateway may use answers from before for {TTL} s" in said  # the embedded AWS cannot empty it
    assert own.ask("GET", alices).status == 401
    assert wait_until(lambda: own.ask("GET", undated).status == 401)
    assert own.ask("GET", own.token("user", sub="alice", iat=...)).status == 401
    (until,) = re.findall(r"issued up to (\S+) are refused", said)
    assert wait_until(lambda: revocation.moment(time.time()) > until)
    assert own.ask("GET", issued(own, "alice", ago=0)).status == 200  # signed in again
    listed = own.manage("revoke", "--stage", "dev", "--list")
    assert re.search(rf"^alice +{until} +-$", listed, re.MULTILINE)
    assert "eyJ" not in listed + said
    refusal = next(line for line in own.decisions("jwt_authorizer") if line.get("reason") == "revoked")
    assert (refusal["outcome"], refusal["subject"]) == ("unauthorized", "alice")


def test_after_a_restart_nothing_old_gets_into_the_cache(own: Deployed, chosen: stage.Stage) -> None:
    old = issued(own, "alice")
    assert own.ask("GET", old).status == 200
    revocation.end(chosen, ["alice"], everyone=False, until=int(time.time()), now=time.time())
    revocation.restart(chosen)
    assert own.ask("GET", issued(own, "alice")).status == 401
    time.sleep(TTL + 0.1)  # what a flush does
    assert own.ask("GET", old).status == 401


def test_a_cache_emptied_first_is_filled_by_who_has_the_old_list(own: Deployed, chosen: stage.Stage) -> None:
    old = issued(own, "alice")
    assert own.ask("GET", old).status == 200
    revocation.end(chosen, ["alice"], everyone=False, until=int(time.time()), now=time.time())
    time.sleep(TTL + 0.1)  # what a flush does
    assert own.ask("GET", old).status == 200
    revocation.restart(chosen)
    assert own.ask("GET", issued(own, "alice")).status == 401
    time.sleep(TTL + 0.1)
    assert own.ask("GET", old).status == 401


def test_environments_are_new_before_the_cache_is_emptied(
    own: Deployed, chosen: stage.Stage, environment: Callable[..., None]
) -> None:
    calls: list[tuple[str, str]] = []
    through = passing_to(own.aws.port)
    flush = f"/restapis/{own.api_id}/stages/dev/cache/authorizers"

    def answer(request: Request) -> Reply:
        calls.append((request.method, request.path))
        return Reply(202, b"") if request.path == flush else through(request)

    endpoint = Endpoint(answer)
    environment(AWS_ENDPOINT_URL_LAMBDA=endpoint.url, AWS_ENDPOINT_URL_API_GATEWAY=endpoint.url)
    said = revoke(own, "--sub", "alice")
    undone = revoke(own, "--forget", "alice")
    endpoint.close()
    assert (said.exit_code, undone.exit_code) == (0, 0)
    assert "Note:" not in said.output
    where = f"/2015-03-31/functions/{own.function('jwt_authorizer')}"
    updated, emptied = calls.index(("PUT", f"{where}/configuration")), calls.index(("DELETE", flush))
    assert ("GET", where) in calls[updated:emptied]  # it is waited for
    assert calls.count(("DELETE", flush)) == 1  # no answer was wrong for who was forgotten
    assert chosen.settings.revocations_secret_id == "ending-revocations-dev"


@pytest.mark.usefixtures("chosen")
def test_who_is_forgotten_is_let_in_again(own: Deployed) -> None:
    token = issued(own, "alice")
    assert revoke(own, "--everyone", "--before", str(int(time.time()))).exit_code == 0
    assert own.ask("GET", token).status == 401
    assert own.ask("GET", issued(own, "bob")).status == 401
    said = revoke(own, "--forget-everyone").output
    assert "valid again" in said
    assert own.ask("GET", token).status == 200


@pytest.mark.usefixtures("chosen")
def test_an_authorizer_that_reads_no_list_is_named(own: Deployed) -> None:
    own.restart("jwt_authorizer", JWT_REVOCATIONS_SECRET_ID="")
    try:
        result = revoke(own, "--sub", "alice")
        assert own.ask("GET", issued(own, "alice")).status == 200
    finally:
        own.restart("jwt_authorizer", JWT_REVOCATIONS_SECRET_ID="ending-revocations-dev")
    assert result.exit_code == 2
    assert "the deployed authorizer does not read it" in result.output
    assert "manage.py deploy --stage dev" in result.output
    assert "It holds" not in result.output


def test_if_the_authorizer_cannot_restart_it_says_how_long_it_takes(
    own: Deployed, chosen: stage.Stage, environment: Callable[..., None]
) -> None:
    endpoint = Endpoint(lambda _: Reply(403, b'{"Code":"AccessDeniedException","Message":"no"}'))
    environment(AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
    said, seconds = revocation.spread(chosen, ended=True)
    endpoint.close()
    assert seconds == 300 + TTL
    assert "may know the list before for 300 s" in said[0]
    assert own.ask("GET", issued(own, "alice")).status == 200


def test_other_variables_stay_and_another_change_in_between_is_kept(
    own: Deployed, chosen: stage.Stage, environment: Callable[..., None]
) -> None:
    through, client = passing_to(own.aws.port), own.aws.client("lambda")
    function = own.function("jwt_authorizer")

    def variables() -> dict[str, str]:
        found = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        return {name: value for name, value in found.items() if name not in {"RESTARTED", "RESTARTED_AT"}}

    before, meanwhile = variables(), []

    def answer(request: Request) -> Reply:
        if request.method == "PUT" and not meanwhile:
            meanwhile.append(own.restart("jwt_authorizer", OTHERS="change"))
        return through(request)

    endpoint = Endpoint(answer)
    environment(AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
    revocation.restart(chosen)
    endpoint.close()
    assert variables() == {**before, "OTHERS": "change"}


def test_variables_that_cannot_be_read_are_not_written(
    own: Deployed, chosen: stage.Stage, environment: Callable[..., None]
) -> None:
    methods = []

    def answer(request: Request) -> Reply:
        methods.append(request.method)
        error = {"ErrorCode": "AccessDeniedException", "Message": "kms"}
        return Reply(200, json.dumps({"Environment": {"Error": error}, "RevisionId": "1"}).encode())

    endpoint = Endpoint(answer)
    environment(AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
    with pytest.raises(Fault, match=f"the variables of {own.function('jwt_authorizer')} cannot be read"):
        revocation.restart(chosen)
    endpoint.close()
    assert methods == ["GET"]


@pytest.mark.usefixtures("chosen")
def test_a_list_unreadable_for_too_long_is_a_500_and_never_an_allow(own: Deployed) -> None:
    times = {"JWT_KEY_TTL_SECONDS": "1", "JWT_KEY_MAX_STALE_SECONDS": "0"}
    own.restart("jwt_authorizer", **times)
    try:
        assert own.ask("GET", issued(own, "bob")).status == 200
        put_list(own, '{"everyone": -1}')
        assert wait_until(lambda: own.ask("GET", issued(own, "bob")).status == 500)
        for who in ("alice", "bob"):
            assert own.ask("GET", issued(own, who)).status == 500
        assert own.ask("GET", own.token("user", key="x" * 64)).status == 500  # nothing is decided
        put_list(own, revocation.text(Revocations(-1, {"alice": int(time.time())})))
        assert wait_until(lambda: own.ask("GET", issued(own, "bob")).status == 200)
        assert own.ask("GET", issued(own, "alice")).status == 401
    finally:
        own.restart("jwt_authorizer", **dict.fromkeys(times, ""))
    errors = [line for line in own.decisions("jwt_authorizer") if line.get("outcome") == "error"]
    assert {line["reason"] for line in errors} == {"keys_unavailable"}
    assert all("ending-revocations-dev" in line["detail"] for line in errors)
