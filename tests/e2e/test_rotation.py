"""Keys that change while requests come in, on the real versions and labels of the embedded Secrets Manager."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.deployed import Deployed
from tests.support.local_server import ask, serving
from tests.support.project import copy_project

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def current(prod: Deployed) -> tuple[str, str]:
    """Return the id and the key of AWSCURRENT."""
    value = prod.aws.client("secretsmanager").get_secret_value(SecretId=prod.secret_id)
    return value["VersionId"], json.loads(value["SecretString"])["my_secret_key"]


def labels(prod: Deployed) -> dict[str, str]:
    """Return which version has which label."""
    stages = prod.aws.client("secretsmanager").describe_secret(SecretId=prod.secret_id)["VersionIdsToStages"]
    return {label: version for version, its in stages.items() for label in its}


def token(key: tuple[str, str], *, named: bool = True, role: str = "user") -> str:
    """Return a token that no request has used, signed with this key, which its kid names or not."""
    claims = {"sub": "alice", "roles": [role], "exp": int(time.time()) + 600, "jti": str(uuid.uuid4())}
    return jwt.encode(claims, key[1], "HS256", headers={"kid": key[0]} if named else None)


def rotate(prod: Deployed, *words: str) -> str:
    return prod.manage("secret", "rotate", "--stage", "prod", *words)


def wait_until(holds: Callable[[], bool]) -> bool:
    """Wait until it holds; return whether it did within a minute, which a busy machine may need."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def calls_since(prod: Deployed, moment: datetime, name: str) -> int:
    """Return how often the embedded AWS was asked for this; its CloudTrail tells of the newest 50 at most."""
    wanted = [{"AttributeKey": "EventName", "AttributeValue": name}]
    found = prod.aws.client("cloudtrail").lookup_events(LookupAttributes=wanted, StartTime=moment)["Events"]
    return len(found)


@pytest.fixture(scope="module")
def as_deployed(prod: Deployed) -> Iterator[Callable[[], None]]:
    """Give the authorizer the settings that it is deployed with, after the last of these tests too."""

    def restart() -> None:
        prod.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="", JWT_PREVIOUS_KEY="")

    yield restart
    restart()


@pytest.fixture(autouse=True)
def fresh(as_deployed: Callable[[], None]) -> None:
    """Give each test an authorizer that has fetched nothing yet, with the settings that it is deployed with."""
    as_deployed()


def test_a_rotation_under_load_fails_no_request(prod: Deployed) -> None:
    keys = [current(prod)]
    answers: Counter[tuple[str, int]] = Counter()
    stop = threading.Event()

    def load(number: int) -> None:
        while not stop.is_set():
            for which, key in zip(("old", "new"), keys, strict=False):
                for named in (True, False):
                    answers[which, prod.ask("GET", token(key, named=named and number % 2 == 0)).status] += 1

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, number) for number in range(4)]
        try:
            enough = wait_until(lambda: answers["old", 200] > 20)
            rotate(prod, "--force")
            keys.append(current(prod))
            enough = wait_until(lambda: answers["new", 200] > 20) and enough
        finally:
            stop.set()
        for done in running:
            done.result()
    print(f"\nrotation under load: {dict(answers)}")  # noqa: T201  # figures for who runs this with -s
    assert {status for _, status in answers} == {200}
    assert enough


def test_a_flood_of_forged_tokens_is_no_flood_of_calls(prod: Deployed, tmp_path: Path) -> None:
    # Under `chalice local`, one process as one execution environment is on AWS. The embedded Lambda is no place
    # for this: it ends an environment whenever a function raises, as an authorizer does for every 401.
    given = {name: value for name, value in prod.aws.environment().items() if name.startswith("AWS_")}
    with serving(copy_project(tmp_path / "project"), **given, JWT_SECRET_ID=prod.secret_id) as port:

        def ask_local(key: tuple[str, str], *, named: bool) -> int:
            return ask(port, "GET", "/items", Authorization=token(key, named=named))[0]

        time.sleep(1.1)  # CloudTrail looks events up by the second
        before = datetime.now(UTC)
        with ThreadPoolExecutor(4) as pool:
            forged = (str(uuid.uuid4()), "x" * 64)
            statuses = Counter(pool.map(lambda number: ask_local(forged, named=number % 2 == 0), range(500)))
        made = calls_since(prod, before, "GetSecretValue")
        print(f"\nflood: {dict(statuses)}, GetSecretValue calls: {made}")  # noqa: T201  # as above
        assert statuses == {401: 500}
        assert 0 < made <= 8  # two versions at a fetch: the first one, an early one, and one more for each 30 s
        assert ask_local(current(prod), named=False) == 200


def test_two_keys_verify_after_a_rotation_and_no_older_one(prod: Deployed) -> None:
    prod.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="1")
    first = current(prod)
    rotate(prod, "--force")
    second = current(prod)
    for key in (first, second):
        for named in (True, False):
            assert prod.ask("GET", token(key, named=named)).status == 200
    rotate(prod, "--force")
    time.sleep(1.1)
    third = current(prod)
    for named in (True, False):
        assert prod.ask("GET", token(first, named=named)).status == 401
        assert prod.ask("GET", token(second, named=named)).status == 200
        assert prod.ask("GET", token(third, named=named)).status == 200
    assert len({first[1], second[1], third[1]}) == 3
    assert all(len(key[1].encode()) >= 64 for key in (second, third))


def test_after_a_leak_no_old_key_is_left(prod: Deployed) -> None:
    prod.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="1")
    leaked = current(prod)
    assert prod.ask("GET", token(leaked)).status == 200
    said = rotate(prod, "--leaked")
    assert "all sessions end" in said
    time.sleep(1.1)
    for named in (True, False):
        assert prod.ask("GET", token(leaked, named=named)).status == 401
        assert prod.ask("GET", token(current(prod), named=named)).status == 200
    assert leaked[0] not in labels(prod).values()


def test_a_rotation_that_would_end_good_tokens_is_refused(prod: Deployed) -> None:
    rotate(prod, "--force")
    before = labels(prod)
    with pytest.raises(AssertionError, match="another rotation would end them"):
        rotate(prod)
    with pytest.raises(AssertionError, match="another rotation would end them"):
        rotate(prod, "--token-lifetime", "1h")
    assert labels(prod) == before
    time.sleep(1.1)
    said = rotate(prod, "--token-lifetime", "1s")
    assert labels(prod)["AWSPREVIOUS"] == before["AWSCURRENT"]
    assert labels(prod)["AWSCURRENT"] in said
    assert current(prod)[1] not in said


def test_the_switch_refuses_the_previous_key(prod: Deployed) -> None:
    old = current(prod)
    rotate(prod, "--force")
    prod.restart("jwt_authorizer", JWT_PREVIOUS_KEY="refuse")
    for named in (True, False):
        assert prod.ask("GET", token(old, named=named)).status == 401
        assert prod.ask("GET", token(current(prod), named=named)).status == 200


def test_a_previous_version_that_cannot_be_used_is_left_out_and_noted(prod: Deployed) -> None:
    client = prod.aws.client("secretsmanager")
    client.put_secret_value(SecretId=prod.secret_id, SecretString='{"my_secret_key": "a-password"}')
    rotate(prod, "--force")
    prod.restart("jwt_authorizer")
    assert prod.ask("GET", token(current(prod))).status == 200
    notes = [line for line in prod.decisions("jwt_authorizer") if line.get("event") == "keys"]
    assert any("left out" in note.get("detail", "") for note in notes)
    assert "a-password" not in str(notes)


def test_a_kid_that_is_no_versions_id_is_a_hint_as_it_is_locally(prod: Deployed) -> None:
    rotate(prod, "--force")
    rotate(prod, "--force")
    prod.restart("jwt_authorizer")
    previous = labels(prod)["AWSPREVIOUS"]
    text = prod.aws.client("secretsmanager").get_secret_value(SecretId=prod.secret_id, VersionId=previous)
    key = json.loads(text["SecretString"])["my_secret_key"]
    assert prod.ask("GET", token(("an-issuer's-own-name", key))).status == 200
    assert prod.ask("GET", token(("an-issuer's-own-name", current(prod)[1]))).status == 200
    assert prod.ask("GET", token((current(prod)[0], key))).status == 401


# Secrets Manager's own rotation: the function that it calls, step by step.


def step(prod: Deployed, name: str, version: str) -> dict[str, Any] | None:
    return prod.invoke("rotate_secret", {"SecretId": prod.secret_id, "ClientRequestToken": version, "Step": name})


def staged(prod: Deployed) -> str:
    """Stage a version without a value, as Secrets Manager does when it begins a rotation; return its id."""
    version = str(uuid.uuid4())
    client = prod.aws.client("secretsmanager")
    client.put_secret_value(SecretId=prod.secret_id, ClientRequestToken=version, VersionStages=["AWSPENDING"])
    return version


@pytest.mark.parametrize("interrupted_after", range(len(STEPS) + 1))
def test_a_rotation_that_was_cut_off_anywhere_and_began_again_ends_well(prod: Deployed, interrupted_after: int) -> None:
    old, version = current(prod), staged(prod)
    for name in STEPS[:interrupted_after]:
        assert step(prod, name, version) is None
    for name in STEPS:
        assert step(prod, name, version) is None
    new = current(prod)
    assert new[0] == version
    assert new[1] != old[1]
    assert len(new[1].encode()) >= 64
    assert labels(prod)["AWSPREVIOUS"] == old[0]
    prod.restart("jwt_authorizer")
    assert prod.ask("GET", token(old)).status == 200
    assert prod.ask("GET", token(new)).status == 200


def test_every_step_may_be_repeated(prod: Deployed) -> None:
    old, version = current(prod), staged(prod)
    client = prod.aws.client("secretsmanager")
    for name in STEPS[:3]:
        for _ in range(2):
            assert step(prod, name, version) is None
    pending = client.get_secret_value(SecretId=prod.secret_id, VersionId=version)["SecretString"]
    assert current(prod) == old
    for _ in range(2):
        assert step(prod, "finishSecret", version) is None
    assert client.get_secret_value(SecretId=prod.secret_id)["SecretString"] == pending
    assert labels(prod)["AWSPREVIOUS"] == old[0]


def test_the_other_fields_of_the_secret_stay(prod: Deployed) -> None:
    client = prod.aws.client("secretsmanager")
    whole = {**json.loads(client.get_secret_value(SecretId=prod.secret_id)["SecretString"]), "note": "kept"}
    client.put_secret_value(SecretId=prod.secret_id, SecretString=json.dumps(whole))
    version = staged(prod)
    for name in STEPS:
        step(prod, name, version)
    assert json.loads(client.get_secret_value(SecretId=prod.secret_id)["SecretString"])["note"] == "kept"


@pytest.mark.parametrize("name", [*STEPS, "nonsense"])
def test_a_step_for_a_version_that_is_not_pending_changes_nothing(prod: Deployed, name: str) -> None:
    before = labels(prod)
    error = step(prod, name, str(uuid.uuid4()))
    assert error is not None
    assert "is not AWSPENDING" in error["errorMessage"]
    assert labels(prod) == before


def test_invented_tokens_end_no_session(prod: Deployed) -> None:
    before = current(prod), labels(prod)
    for invented in (str(uuid.uuid4()), str(uuid.uuid4())):
        for name in STEPS:
            assert step(prod, name, invented) is not None
    assert (current(prod), labels(prod)) == before
    prod.restart("jwt_authorizer")
    assert prod.ask("GET", token(current(prod))).status == 200


@pytest.mark.parametrize("name", ["testSecret", "finishSecret"])
def test_a_pending_version_that_cannot_be_used_never_is_current(prod: Deployed, name: str) -> None:
    version, before = staged(prod), current(prod)
    prod.aws.client("secretsmanager").put_secret_value(
        SecretId=prod.secret_id,
        ClientRequestToken=version,
        SecretString='{"my_secret_key": "a-password"}',
        VersionStages=["AWSPENDING"],
    )
    error = step(prod, name, version)
    assert error is not None
    assert "32 bytes" in error["errorMessage"]
    assert "a-password" not in json.dumps(error)
    assert current(prod) == before


def test_no_step_leaves_the_secret_in_its_log(prod: Deployed) -> None:
    version = staged(prod)
    for name in STEPS:
        step(prod, name, version)
    written = "\n".join(prod.log("rotate_secret"))
    assert version in written
    assert current(prod)[1] not in written
