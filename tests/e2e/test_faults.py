"""What breaks around the two checks: what clients get, what the log says, when it ends. Nobody is let in meanwhile.

The table in docs/operating.md has a row a case. The cases mostly wait, so they are played side by side; each test
reports one.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support import aws_runtime
from tests.support.deployed import Deployed
from tests.support.faults import MAY_READ, ROLE, SOURCES, TRUST, Api, Fault, Workshop, with_installed

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="AWS's runtime client, awslambdaric, runs on Linux only"
)

RETRY_AFTER = 3.0  # as in chalicelib/guard/keys/source.py: a failed first fetch is not repeated sooner
FAILURE = (500, {"message": "Internal Server Error"})
UNAUTHORIZED = (401, {"message": "Unauthorized"})
AT_ONCE = 12  # cases


@pytest.fixture(scope="module")
def workshop(dev: Deployed) -> Iterator[Workshop]:
    asked = {"restApiId": dev.api_id, "stageName": dev.stage, "exportType": "swagger"}
    parameters = {"extensions": "integrations,authorizers"}
    swagger = dev.aws.client("apigateway").get_export(**asked, parameters=parameters)["body"].read().decode()
    (package,) = (dev.project / ".chalice" / "deployments").glob("*.zip")
    role = dev.aws.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    dev.aws.client("iam").put_role_policy(RoleName=ROLE, PolicyName="secret", PolicyDocument=json.dumps(MAY_READ))
    with contextlib.ExitStack() as stack:
        yield Workshop(
            dev,
            swagger,
            role["Arn"],
            package.read_bytes(),
            with_installed(package.read_bytes(), "cryptography", "cffi", "_cffi_backend"),
            rsa.generate_private_key(65537, 2048),
            rsa.generate_private_key(65537, 2048),
            stack,
        )


# What each case shows, in an environment of its own.

A_MOMENT, LONG = 1, 600  # seconds for JWT_KEY_TTL_SECONDS and JWT_KEY_MAX_STALE_SECONDS


def before_the_first_use(api: Api, fault: Fault) -> None:
    user, stranger, forged = api.minted("user"), api.minted("stranger"), api.minted("admin", forged=True)
    started(api, LONG, LONG)
    with broken(api, fault):
        all_fail(api, fault, user, stranger, forged)
    time.sleep(RETRY_AFTER)
    it_has_ended(api, user, stranger, forged)  # in the same environment


def while_the_keys_are_fresh(api: Api, fault: Fault) -> None:
    started(api, LONG, LONG)
    assert api.get(api.minted("user"))[0] == 200
    with broken(api, fault):
        asked, before = api.endpoint.requests, len(api.lines())
        assert api.get(api.minted("user"))[0] == 200
        assert api.get(api.minted("stranger"))[0] == 403
        assert not any("detail" in line for line in api.logged(before))
        assert api.endpoint.requests == asked


def when_the_keys_are_stale(api: Api, fault: Fault) -> None:
    started(api, A_MOMENT, LONG)
    assert api.get(api.minted("user"))[0] == 200
    with broken(api, fault):
        before = len(api.lines())
        time.sleep(A_MOMENT)
        subject = f"subject-{uuid.uuid4()}"
        assert api.get(api.minted("user", sub=subject))[0] == 200
        (line,) = api.logged(before, subject=subject)
        assert line["outcome"] == "allow"
        assert fault.detail in line["detail"]
        assert line["keys_age_s"] >= A_MOMENT
        assert api.get(api.minted("stranger"))[0] == 403
        assert api.get(api.minted("admin", forged=True)) == UNAUTHORIZED


def when_the_keys_are_too_old(api: Api, fault: Fault) -> None:
    user, stranger, forged = api.minted("user"), api.minted("stranger"), api.minted("admin", forged=True)
    started(api, A_MOMENT, A_MOMENT)
    assert api.get(api.minted("user"))[0] == 200
    with broken(api, fault):
        time.sleep(2 * A_MOMENT)
        all_fail(api, fault, user, stranger, forged)
    time.sleep(RETRY_AFTER)
    it_has_ended(api, user, stranger, forged)


PHASES = (before_the_first_use, while_the_keys_are_fresh, when_the_keys_are_stale, when_the_keys_are_too_old)


def started(api: Api, ttl: int, max_stale: int) -> None:
    api.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS=f"{ttl}", JWT_KEY_MAX_STALE_SECONDS=f"{max_stale}")


@contextlib.contextmanager
def broken(api: Api, fault: Fault) -> Iterator[None]:
    fault.begin(api)
    try:
        yield
    finally:
        fault.end(api)


def all_fail(api: Api, fault: Fault, *tokens: str) -> None:
    """Nobody is let in and nobody is refused: it is a 500, and the log says what is wrong."""
    before = len(api.lines())
    for token in tokens:
        assert api.get(token) == FAILURE
    for line in api.logged(before, len(tokens), outcome="error", reason="keys_unavailable"):
        assert fault.detail in line["detail"]


def it_has_ended(api: Api, user: str, stranger: str, forged: str) -> None:
    """The very tokens that got a 500 get what they are due: nothing was kept for them."""
    before = len(api.lines())
    assert api.get(user)[0] == 200
    assert api.get(stranger)[0] == 403
    assert api.get(forged) == UNAUTHORIZED
    assert not any("detail" in line for line in api.logged(before, outcome="allow"))


Played = Mapping[tuple[str, str, str], "Future[None]"]


@pytest.fixture(scope="module")
def played(workshop: Workshop) -> Iterator[Played]:
    results: dict[tuple[str, str, str], Future[None]] = {}

    def play(source: str, name: str, phases: Sequence[Callable[[Api, Fault], None]]) -> None:
        faults, make = SOURCES[source]
        api: Api | None = None
        for phase in phases:
            try:
                api = api or make(workshop)
                phase(api, faults[name])
            except Exception as error:  # noqa: BLE001  # the test raises it
                results[source, name, phase.__name__].set_exception(error)
            else:
                results[source, name, phase.__name__].set_result(None)

    slow, quick = [], []
    for source, (faults, _) in SOURCES.items():
        for name, fault in faults.items():
            results |= {(source, name, phase.__name__): Future() for phase in PHASES}
            if fault.slow:
                slow += [(source, name, (phase,)) for phase in PHASES]
            else:
                quick += [(source, name, PHASES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for case in slow + quick:
            pool.submit(play, *case)
        yield results


cases = pytest.mark.parametrize(
    ("source", "fault"), [(source, name) for source, (faults, _) in SOURCES.items() for name in faults]
)


@cases
def test_before_the_first_use_it_is_a_500_until_it_ends(played: Played, source: str, fault: str) -> None:
    played[source, fault, "before_the_first_use"].result()


@cases
def test_while_the_keys_are_fresh_nobody_notices(played: Played, source: str, fault: str) -> None:
    played[source, fault, "while_the_keys_are_fresh"].result()


@cases
def test_stale_keys_serve_on_and_the_log_says_why(played: Played, source: str, fault: str) -> None:
    played[source, fault, "when_the_keys_are_stale"].result()


@cases
def test_keys_that_are_too_old_are_a_500_until_it_ends(played: Played, source: str, fault: str) -> None:
    played[source, fault, "when_the_keys_are_too_old"].result()


# A function that is killed while it works.


def test_the_authorizer_is_killed_in_mid_request(workshop: Workshop) -> None:
    api = workshop.with_a_secret()
    user, forged = api.minted("user"), api.minted("admin", forged=True)
    api.endpoint.holds()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.get, user)
        assert api.endpoint.came.wait(20)  # it waits for the keys now
        for process in aws_runtime.environments(api.function("jwt_authorizer")):
            process.kill()
        assert asked.result() == FAILURE
    api.endpoint.recover()
    assert api.get(user)[0] == 200
    assert api.get(forged) == UNAUTHORIZED
    assert api.logged(0, outcome="allow")
    assert {line["outcome"] for line in api.lines()} <= {"allow", "unauthorized"}  # the killed one said nothing


def test_the_api_function_is_killed_in_mid_request(workshop: Workshop) -> None:
    api = workshop.with_a_secret(own_api_function=True)
    user = api.minted("user")
    assert api.get(user)[0] == 200
    (process,) = aws_runtime.environments(api.function("api_handler"))
    process.suspend()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.get, user)
        time.sleep(1)  # the request has come to the environment, which is stopped
        assert not asked.done()
        process.kill()
        assert asked.result()[0] == 502  # with AWS's {"message": "Internal server error"}, or the emulator's own text
    assert api.get(user)[0] == 200
    assert api.ask("POST", user).status == 403
    assert len(api.decisions("api_handler")) <= 2  # the killed one said nothing
    assert len(api.lines()) <= 1  # the authorizer's answer stayed in the gateway's cache


# An issuer whose clock is a minute off.


@pytest.fixture(scope="module")
def lenient(workshop: Workshop) -> Api:
    return warmed(workshop.with_a_secret(JWT_LEEWAY_SECONDS="60"))


@pytest.fixture(scope="module")
def strict(workshop: Workshop) -> Api:
    return warmed(workshop.with_a_secret())


def warmed(api: Api) -> Api:
    """Return it when it has its keys: a token of these tests may live for some seconds only."""
    assert api.get(api.minted("user"))[0] == 200
    return api


def off_by(api: Api, seconds: int, lifetime: int = 600, **more: int) -> str:
    """Return a token of an issuer whose clock is off by so much."""
    now = int(time.time()) + seconds
    return api.minted("user", iat=now, exp=now + lifetime, **{name: now + add for name, add in more.items()})


def test_the_issuers_clock_is_a_minute_ahead(strict: Api, lenient: Api) -> None:
    assert strict.get(off_by(strict, 60)) == UNAUTHORIZED
    assert strict.logged(0, reason="issued_in_future")
    assert strict.get(off_by(strict, 60, nbf=0)) == UNAUTHORIZED
    assert strict.logged(0, reason="not_yet_valid")
    assert lenient.get(off_by(lenient, 60, nbf=0))[0] == 200
    assert lenient.get(off_by(lenient, 90, nbf=0)) == UNAUTHORIZED


def test_the_issuers_clock_is_a_minute_behind(strict: Api, lenient: Api) -> None:
    assert strict.get(off_by(strict, -60))[0] == 200
    assert strict.get(off_by(strict, -60, lifetime=30)) == UNAUTHORIZED
    assert strict.logged(0, reason="expired")
    assert lenient.get(off_by(lenient, -60, lifetime=30))[0] == 200  # both checks add the leeway
    assert lenient.get(off_by(lenient, -60, lifetime=0)) == UNAUTHORIZED


def test_time_makes_an_early_token_valid_and_ends_a_late_one(strict: Api, lenient: Api) -> None:
    early, late = off_by(strict, 4, nbf=0), off_by(lenient, -60, lifetime=4)
    assert strict.get(early) == UNAUTHORIZED
    assert lenient.get(late)[0] == 200
    time.sleep(4)
    assert strict.get(early)[0] == 200  # the refusal was kept nowhere
    assert lenient.get(late) == UNAUTHORIZED  # by the middleware: the gateway still keeps its answer
