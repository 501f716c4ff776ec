"""Keys that change while requests come in, on the real versions and labels of the embedded Secrets Manager."""

from __future__ import annotations

import json
import re
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

from tests.e2e.conftest import Deployed
from tests.guard.test_local_http import ask, serving

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def current(dev: Deployed) -> tuple[str, str]:
    """Return the id and the key of AWSCURRENT."""
    value = dev.aws.client("secretsmanager").get_secret_value(SecretId=dev.secret_id)
    return value["VersionId"], json.loads(value["SecretString"])["my_secret_key"]


def labels(dev: Deployed) -> dict[str, str]:
    """Return which version has which label."""
    stages = dev.aws.client("secretsmanager").describe_secret(SecretId=dev.secret_id)["VersionIdsToStages"]
    return {label: version for version, its in stages.items() for label in its}


def token(key: tuple[str, str], *, named: bool = True, role: str = "user") -> str:
    """Return a token that no request has used, signed with this key, which its kid names or not."""
    claims = {"sub": "alice", "roles": [role], "exp": int(time.time()) + 600, "jti": str(uuid.uuid4())}
    return jwt.encode(claims, key[1], "HS256", headers={"kid": key[0]} if named else None)


def rotate(dev: Deployed, *words: str) -> str:
    return dev.manage("secret", "rotate", "--stage", "dev", *words)


def wait_until(holds: Callable[[], bool]) -> bool:
    """Wait until it holds; return whether it did within a minute, which a busy machine may need."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def calls_since(dev: Deployed, moment: datetime, name: str) -> int:
    """Return how often the embedded AWS was asked for this; its CloudTrail tells of the newest 50 at most."""
    wanted = [{"AttributeKey": "EventName", "AttributeValue": name}]
    found = dev.aws.client("cloudtrail").lookup_events(LookupAttributes=wanted, StartTime=moment)["Events"]
    return len(found)


@pytest.fixture(autouse=True)
def fresh(dev: Deployed) -> Iterator[None]:
    """Give each test an authorizer that has fetched nothing yet, with the settings that it is deployed with."""
    settings = dict.fromkeys(("JWT_KEY_TTL_SECONDS", "JWT_PREVIOUS_KEY"), "")
    dev.restart("jwt_authorizer", **settings)
    yield
    dev.restart("jwt_authorizer", **settings)


def test_a_rotation_under_load_fails_no_request(dev: Deployed) -> None:
    keys = [current(dev)]
    answers: Counter[tuple[str, int]] = Counter()
    stop = threading.Event()

    def load(number: int) -> None:
        while not stop.is_set():
            for which, key in zip(("old", "new"), keys, strict=False):
                for named in (True, False):
                    answers[which, dev.ask("GET", token(key, named=named and number % 2 == 0)).status] += 1

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, number) for number in range(4)]
        try:
            enough = wait_until(lambda: answers["old", 200] > 20)
            rotate(dev, "--force")
            keys.append(current(dev))
            enough = wait_until(lambda: answers["new", 200] > 20) and enough
        finally:
            stop.set()
        for done in running:
            done.result()
    print(f"\nrotation under load: {dict(answers)}")  # noqa: T201  # figures for who runs this with -s
    assert {status for _, status in answers} == {200}
    assert enough


def test_a_flood_of_forged_tokens_is_no_flood_of_calls(dev: Deployed, tmp_path: Path) -> None:
    # Under `chalice local`, one process as one execution environment is on AWS. The embedded Lambda is no place
    # for this: it ends an environment whenever a function raises, as an authorizer does for every 401.
    given = {name: value for name, value in dev.aws.environment().items() if name.startswith("AWS_")}
    with serving(tmp_path / "log", **given, JWT_SECRET_ID=dev.secret_id) as port:

        def ask_local(key: tuple[str, str], *, named: bool) -> int:
            return ask(port, "GET", Authorization=token(key, named=named))[0]

        time.sleep(1.1)  # CloudTrail looks events up by the second
        before = datetime.now(UTC)
        with ThreadPoolExecutor(4) as pool:
            forged = (str(uuid.uuid4()), "x" * 64)
            statuses = Counter(pool.map(lambda number: ask_local(forged, named=number % 2 == 0), range(2000)))
        made = calls_since(dev, before, "GetSecretValue")
        print(f"\nflood: {dict(statuses)}, GetSecretValue calls: {made}")  # noqa: T201  # as above
        assert statuses == {401: 2000}
        assert 0 < made <= 8  # two versions at a fetch: the first one, an early one, and one more for each 30 s
        assert ask_local(current(dev), named=False) == 200


def test_after_one_rotation_both_keys_stand_and_after_two_the_oldest_does_not(dev: Deployed) -> None:
    dev.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="1")
    first = current(dev)
    rotate(dev, "--force")
    second = current(dev)
    for key in (first, second):
        for named in (True, False):
            assert dev.ask("GET", token(key, named=named)).status == 200
    rotate(dev, "--force")
    time.sleep(1.1)
    third = current(dev)
    for named in (True, False):
        assert dev.ask("GET", token(first, named=named)).status == 401
        assert dev.ask("GET", token(second, named=named)).status == 200
        assert dev.ask("GET", token(third, named=named)).status == 200
    assert len({first[1], second[1], third[1]}) == 3
    assert all(len(key[1].encode()) >= 64 for key in (second, third))


def test_after_a_leak_no_old_key_is_left(dev: Deployed) -> None:
    dev.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="1")
    leaked = current(dev)
    assert dev.ask("GET", token(leaked)).status == 200
    told = rotate(dev, "--leaked")
    assert "all sessions end" in told
    time.sleep(1.1)
    for named in (True, False):
        assert dev.ask("GET", token(leaked, named=named)).status == 401
        assert dev.ask("GET", token(current(dev), named=named)).status == 200
    assert leaked[0] not in labels(dev).values()


def test_a_rotation_that_would_end_good_tokens_is_refused(dev: Deployed) -> None:
    rotate(dev, "--force")
    before = labels(dev)
    with pytest.raises(AssertionError, match="another rotation would end them"):
        rotate(dev)
    with pytest.raises(AssertionError, match="another rotation would end them"):
        rotate(dev, "--token-lifetime", "1h")
    assert labels(dev) == before
    time.sleep(1.1)
    told = rotate(dev, "--token-lifetime", "1s")
    assert labels(dev)["AWSPREVIOUS"] == before["AWSCURRENT"]
    assert labels(dev)["AWSCURRENT"] in told
    assert current(dev)[1] not in told


def test_the_switch_refuses_the_previous_key(dev: Deployed) -> None:
    old = current(dev)
    rotate(dev, "--force")
    dev.restart("jwt_authorizer", JWT_PREVIOUS_KEY="refuse")
    for named in (True, False):
        assert dev.ask("GET", token(old, named=named)).status == 401
        assert dev.ask("GET", token(current(dev), named=named)).status == 200


def test_a_previous_version_that_cannot_be_used_is_left_out_and_noted(dev: Deployed) -> None:
    client = dev.aws.client("secretsmanager")
    client.put_secret_value(SecretId=dev.secret_id, SecretString='{"my_secret_key": "a-password"}')
    rotate(dev, "--force")
    dev.restart("jwt_authorizer")
    assert dev.ask("GET", token(current(dev))).status == 200
    notes = [line for line in dev.decisions("jwt_authorizer") if line.get("event") == "keys"]
    assert any("left out" in note.get("detail", "") for note in notes)
    assert "a-password" not in str(notes)


# Secrets Manager's own rotation: the function that it calls, step by step.


def step(dev: Deployed, name: str, version: str) -> dict[str, Any] | None:
    return dev.invoke("rotate_secret", {"SecretId": dev.secret_id, "ClientRequestToken": version, "Step": name})


@pytest.mark.parametrize("interrupted_after", range(len(STEPS) + 1))
def test_a_rotation_that_was_cut_off_anywhere_and_began_again_ends_well(dev: Deployed, interrupted_after: int) -> None:
    old, version = current(dev), str(uuid.uuid4())
    for name in STEPS[:interrupted_after]:
        assert step(dev, name, version) is None
    for name in STEPS:
        assert step(dev, name, version) is None
    new = current(dev)
    assert new[0] == version
    assert new[1] != old[1]
    assert len(new[1].encode()) >= 64
    assert labels(dev)["AWSPREVIOUS"] == old[0]
    dev.restart("jwt_authorizer")
    assert dev.ask("GET", token(old)).status == 200
    assert dev.ask("GET", token(new)).status == 200


def test_every_step_may_be_repeated(dev: Deployed) -> None:
    old, version = current(dev), str(uuid.uuid4())
    client = dev.aws.client("secretsmanager")
    for name in STEPS[:3]:
        for _ in range(2):
            assert step(dev, name, version) is None
    pending = client.get_secret_value(SecretId=dev.secret_id, VersionId=version)["SecretString"]
    assert current(dev) == old
    for _ in range(2):
        assert step(dev, "finishSecret", version) is None
    assert client.get_secret_value(SecretId=dev.secret_id)["SecretString"] == pending
    assert labels(dev)["AWSPREVIOUS"] == old[0]


def test_the_other_fields_of_the_secret_stay(dev: Deployed) -> None:
    client, version = dev.aws.client("secretsmanager"), str(uuid.uuid4())
    whole = {**json.loads(client.get_secret_value(SecretId=dev.secret_id)["SecretString"]), "note": "kept"}
    client.put_secret_value(SecretId=dev.secret_id, SecretString=json.dumps(whole))
    for name in STEPS:
        step(dev, name, version)
    assert json.loads(client.get_secret_value(SecretId=dev.secret_id)["SecretString"])["note"] == "kept"


@pytest.mark.parametrize("name", ["setSecret", "testSecret", "finishSecret", "nonsense"])
def test_a_step_for_a_version_that_is_not_pending_fails_and_changes_nothing(dev: Deployed, name: str) -> None:
    before = labels(dev)
    error = step(dev, name, str(uuid.uuid4()))
    assert error is not None
    assert "is not AWSPENDING" in error["errorMessage"]
    assert labels(dev) == before


def test_a_pending_version_that_the_authorizer_could_not_use_fails_the_test(dev: Deployed) -> None:
    client, version, before = dev.aws.client("secretsmanager"), str(uuid.uuid4()), current(dev)
    client.put_secret_value(
        SecretId=dev.secret_id,
        ClientRequestToken=version,
        SecretString='{"my_secret_key": "a-password"}',
        VersionStages=["AWSPENDING"],
    )
    error = step(dev, "testSecret", version)
    assert error is not None
    assert "32 bytes" in error["errorMessage"]
    assert "a-password" not in json.dumps(error)
    assert current(dev) == before


def test_no_step_leaves_the_secret_in_its_log(dev: Deployed) -> None:
    version = str(uuid.uuid4())
    for name in STEPS:
        step(dev, name, version)
    written = "\n".join(dev.log("rotate_secret"))
    assert version in written
    assert current(dev)[1] not in written


def test_schedule_lets_secrets_manager_call_the_function(dev: Deployed) -> None:
    for _ in range(2):
        assert "every 30 days" in dev.manage("secret", "schedule", "--stage", "dev", "--days", "30")
    described = dev.aws.client("secretsmanager").describe_secret(SecretId=dev.secret_id)
    assert described["RotationEnabled"] is True
    assert described["RotationRules"]["AutomaticallyAfterDays"] == 30
    assert described["RotationLambdaARN"].endswith(f":{dev.function('rotate_secret')}")
    policy = dev.aws.client("lambda").get_policy(FunctionName=dev.function("rotate_secret"))["Policy"]
    assert re.search(r'"Service": ?"secretsmanager\.amazonaws\.com"', policy)
    assert re.search(r'"AWS:SourceAccount": ?"000000000000"', policy, re.IGNORECASE)
