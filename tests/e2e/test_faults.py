"""What breaks around the two locks: what clients get, what the log says, when it ends; and nobody is let in meanwhile.

docs/faults-table.md is the table of it, a test a row. Each case has an API and an authorizer of its own, which runs
as on AWS: its environment, with the keys that it keeps, goes on after an answer of 401 or 500. The cases mostly
wait, so they are played side by side; each test tells of one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import secrets
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from operations import gateway_responses
from tests.e2e.conftest import Deployed
from tests.support import aws_runtime
from tests.support.endpoint import Endpoint, Reply, Request, passing_to

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="AWS's runtime client, awslambdaric, runs on Linux only"
)

RETRY_AFTER = 3.0  # as in chalicelib/guard/keys/cache.py: a failed first fetch is not repeated sooner
ROLE = "faults"
TROUBLE = (500, {"message": "Internal Server Error"})
UNAUTHORIZED = (401, {"message": "Unauthorized"})
AT_ONCE = 12  # cases


@dataclass
class Guard(Deployed):
    """An API whose authorizer gets its keys through `endpoint`. `sign` makes a token of claims, or forges one."""

    names: dict[str, dict[str, str]] = field(default_factory=dict)
    endpoint: Endpoint = field(default_factory=lambda: Endpoint(lambda _: Reply(404, b"")))
    sign: Callable[[Mapping[str, Any], bool], str] = lambda _claims, _forged: ""
    impostors_keys: bytes = b""  # with which the forged tokens would stand

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        return self.names

    def minted(self, *roles: str, forged: bool = False, **changes: Any) -> str:
        """Return a token that no request has used."""
        claims = {"sub": "alice", "roles": list(roles), "exp": int(time.time()) + 600, "jti": str(uuid.uuid4())}
        return self.sign({**claims, **changes}, forged)

    def get(self, token: str) -> tuple[int, Any]:
        answer = self.ask("GET", token)
        return answer.status, answer.json

    def lines(self) -> list[dict[str, Any]]:
        """Return the authorizer's decisions, oldest first; none where it was never invoked, and so has no log."""
        with contextlib.suppress(self.aws.client("logs").exceptions.ResourceNotFoundException):
            return [line for line in self.decisions("jwt_authorizer") if "lock" in line]
        return []

    def logged(self, since: int, count: int = 1, **due: Any) -> list[dict[str, Any]]:
        """Return the decisions that are as due among those after the first `since`; there must be so many.

        On a busy machine the embedded Lambda gets hold of a line with the next request only, so one is made.
        """
        for _ in range(5):
            found = [line for line in self.lines()[since:] if all(line.get(name) == due[name] for name in due)]
            if len(found) >= count:
                return found
            time.sleep(0.2)
            self.get(self.minted("user"))
        raise AssertionError(f"{len(found)} lines of {due}: {self.lines()[since:]}")


# How the APIs are made: copies of the one that `manage.py deploy` deployed.


@dataclass(frozen=True)
class Workshop:
    """What the copies are made of."""

    dev: Deployed
    swagger: str
    role: str
    plain: bytes  # the deployment package
    with_cryptography: bytes
    issuer: rsa.RSAPrivateKey
    impostor: rsa.RSAPrivateKey
    stack: contextlib.ExitStack

    def guard(self, endpoint: Endpoint, code: bytes, *, own_api_function: bool = False, **variables: str) -> Guard:
        names = {name: self.dev.resources[name] for name in ("api_handler", "jwt_authorizer")}
        swagger = self.swagger
        for name, handler in (("jwt_authorizer", "app.jwt_authorizer"), ("api_handler", "app.app")):
            if name == "jwt_authorizer" or own_api_function:
                arn = self._function(handler, code, variables)
                swagger = swagger.replace(f"{names[name]['lambda_arn']}/", f"{arn}/")
                names[name] = {"lambda_arn": arn}
        gateway = self.dev.aws.client("apigateway")
        names["rest_api"] = {"rest_api_id": gateway.import_rest_api(body=swagger)["id"]}
        gateway_responses.put(gateway, names["rest_api"]["rest_api_id"], self.dev.stage, None)
        return Guard(self.dev.aws, Path(), self.dev.stage, "", names=names, endpoint=endpoint)

    def _function(self, handler: str, code: bytes, variables: dict[str, str]) -> str:
        functions = self.dev.aws.client("lambda")
        made = functions.create_function(
            FunctionName=f"faults-{uuid.uuid4().hex[:8]}",
            Runtime=aws_runtime.RUNTIME,
            Role=self.role,
            Handler=handler,
            Code={"ZipFile": aws_runtime.package(code)},
            Timeout=15,
            Environment={"Variables": variables},
        )
        self.stack.callback(functions.delete_function, FunctionName=made["FunctionName"])  # and its environments
        return str(made["FunctionArn"])

    def with_a_secret(self, *, own_api_function: bool = False, **variables: str) -> Guard:
        endpoint = Endpoint(passing_to(self.dev.aws.port))
        self.stack.callback(endpoint.close)
        key, name = secrets.token_urlsafe(64), f"jwt-secret-key-faults-{uuid.uuid4().hex[:8]}"
        self.dev.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"my_secret_key": key}))
        variables = {"JWT_SECRET_ID": name, "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint.url, **variables}
        guard = self.guard(endpoint, self.plain, own_api_function=own_api_function, **variables)
        guard.secret_id = name
        guard.sign = lambda claims, forged: jwt.encode(dict(claims), "x" * 64 if forged else key, "HS256")
        return guard

    def with_a_provider(self, **variables: str) -> Guard:
        endpoint = Endpoint(lambda _: Reply(200, key_set(self.issuer)))
        self.stack.callback(endpoint.close)
        given = {"iss": "https://issuer.example", "aud": "api"}
        guard = self.guard(
            endpoint,
            self.with_cryptography,
            JWT_JWKS_URL=f"{endpoint.url}/jwks.json",
            JWT_ISSUER=given["iss"],
            JWT_AUDIENCE=given["aud"],
            **variables,
        )
        guard.impostors_keys = key_set(self.impostor)
        guard.sign = lambda claims, forged: jwt.encode(
            {**claims, **given}, self.impostor if forged else self.issuer, "RS256", headers={"kid": "k"}
        )
        return guard


def key_set(private: rsa.RSAPrivateKey) -> bytes:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": "k"}]}).encode()


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


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
MAY_READ = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "arn:aws:secretsmanager:*:*:secret:jwt-secret-key-faults-*",
        }
    ],
}


def with_installed(package: bytes, *modules: str) -> bytes:
    """Return the package with what of this virtual environment the README's line for providers would put in."""
    packed = io.BytesIO(package)
    with zipfile.ZipFile(packed, "a") as archive:
        for module in modules:
            found = importlib.util.find_spec(module)
            assert found is not None
            assert found.origin is not None
            origin = Path(found.origin)
            files = sorted(origin.parent.rglob("*")) if origin.name == "__init__.py" else [origin]
            for file in files:
                if file.is_file() and file.suffix in {".py", ".so"}:
                    place = file.relative_to(origin.parents[1] if origin.name == "__init__.py" else origin.parent)
                    archive.write(file, place, zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()


# What breaks, and how it is mended.


@dataclass(frozen=True)
class Fault:
    """`told` is what the log names. A slow one has a fetch wait for the authorizer's timeouts."""

    begin: Callable[[Guard], None]
    told: str
    slow: bool = False
    end: Callable[[Guard], None] = lambda guard: guard.endpoint.mend()


def answering(status: int, body: bytes, **headers: str) -> Callable[[Guard], None]:
    return lambda guard: guard.endpoint.answers(lambda _: Reply(status, body, headers))


def forbid(guard: Guard) -> None:
    """Take the permission away, for this secret: a Deny beats what the role allows."""
    statement = {"Effect": "Deny", "Action": "*", "Resource": f"arn:aws:secretsmanager:*:*:secret:{guard.secret_id}-*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    guard.aws.client("iam").put_role_policy(RoleName=ROLE, PolicyName=guard.secret_id, PolicyDocument=policy)


def permit(guard: Guard) -> None:
    guard.aws.client("iam").delete_role_policy(RoleName=ROLE, PolicyName=guard.secret_id)


def delete(guard: Guard) -> None:
    guard.aws.client("secretsmanager").delete_secret(SecretId=guard.secret_id, RecoveryWindowInDays=7)


def restore(guard: Guard) -> None:
    guard.aws.client("secretsmanager").restore_secret(SecretId=guard.secret_id)


def put_nonsense(guard: Guard) -> None:
    guard.aws.client("secretsmanager").put_secret_value(SecretId=guard.secret_id, SecretString='{"other": "x"}')


def put_back(guard: Guard) -> None:
    client = guard.aws.client("secretsmanager")
    good = client.get_secret_value(SecretId=guard.secret_id, VersionStage="AWSPREVIOUS")["SecretString"]
    client.put_secret_value(SecretId=guard.secret_id, SecretString=good)


def redirect(guard: Guard) -> None:
    """Lead away, to keys that somebody else made."""

    def answer(request: Request) -> Reply:
        if request.path == "/elsewhere":
            return Reply(200, guard.impostors_keys)
        return Reply(302, b"", {"Location": f"{guard.endpoint.url}/elsewhere"})

    guard.endpoint.answers(answer)


SECRETS_MANAGER = {
    "down": Fault(lambda guard: guard.endpoint.refuses_connections(), "EndpointConnectionError"),
    "unreachable": Fault(lambda guard: guard.endpoint.takes_no_connection(), "ConnectTimeoutError", slow=True),
    "slow": Fault(lambda guard: guard.endpoint.holds(), "ReadTimeoutError", slow=True),
    "throttling": Fault(answering(400, b'{"__type": "ThrottlingException"}'), "ThrottlingException"),
    "refusing": Fault(forbid, "AccessDenied", end=permit),
    "deleted": Fault(delete, "InvalidRequestException", end=restore),
    "malformed": Fault(put_nonsense, "is not of the form", end=put_back),
}
PROVIDER = {
    "down": Fault(lambda guard: guard.endpoint.refuses_connections(), "cannot be fetched"),
    "slow": Fault(lambda guard: guard.endpoint.holds(), "cannot be fetched", slow=True),
    "dripping": Fault(lambda guard: guard.endpoint.drips(), "cannot be fetched (TimeoutError)", slow=True),
    "error": Fault(answering(500, b'{"error": "try later"}'), "cannot be fetched"),
    "garbage": Fault(answering(200, b"<html>Welcome</html>"), "cannot be fetched"),
    "empty": Fault(answering(200, b'{"keys": []}'), "holds no key"),
    "redirect": Fault(redirect, "cannot be fetched"),
}
SOURCES = {
    "secrets_manager": (SECRETS_MANAGER, Workshop.with_a_secret),
    "provider": (PROVIDER, Workshop.with_a_provider),
}


# What each case shows, in an environment of its own.

A_MOMENT, LONG = 1, 600  # seconds for JWT_KEY_TTL_SECONDS and JWT_KEY_MAX_STALE_SECONDS


def before_the_first_use(guard: Guard, fault: Fault) -> None:
    user, stranger, forged = guard.minted("user"), guard.minted("stranger"), guard.minted("admin", forged=True)
    started(guard, LONG, LONG)
    with broken(guard, fault):
        all_in_trouble(guard, fault, user, stranger, forged)
    time.sleep(RETRY_AFTER)
    it_has_ended(guard, user, stranger, forged)  # in the same environment


def while_the_keys_are_fresh(guard: Guard, fault: Fault) -> None:
    started(guard, LONG, LONG)
    assert guard.get(guard.minted("user"))[0] == 200
    with broken(guard, fault):
        asked, before = guard.endpoint.requests, len(guard.lines())
        assert guard.get(guard.minted("user"))[0] == 200
        assert guard.get(guard.minted("stranger"))[0] == 403
        assert not any("detail" in line for line in guard.logged(before))
        assert guard.endpoint.requests == asked


def when_the_keys_are_stale(guard: Guard, fault: Fault) -> None:
    started(guard, A_MOMENT, LONG)
    assert guard.get(guard.minted("user"))[0] == 200
    with broken(guard, fault):
        before = len(guard.lines())
        time.sleep(A_MOMENT)
        subject = f"subject-{uuid.uuid4()}"
        assert guard.get(guard.minted("user", sub=subject))[0] == 200
        (line,) = guard.logged(before, subject=subject)
        assert line["outcome"] == "allow"
        assert fault.told in line["detail"]
        assert line["keys_age_s"] >= A_MOMENT
        assert guard.get(guard.minted("stranger"))[0] == 403
        assert guard.get(guard.minted("admin", forged=True)) == UNAUTHORIZED


def when_the_keys_are_too_old(guard: Guard, fault: Fault) -> None:
    user, stranger, forged = guard.minted("user"), guard.minted("stranger"), guard.minted("admin", forged=True)
    started(guard, A_MOMENT, A_MOMENT)
    assert guard.get(guard.minted("user"))[0] == 200
    with broken(guard, fault):
        time.sleep(2 * A_MOMENT)
        all_in_trouble(guard, fault, user, stranger, forged)
    time.sleep(RETRY_AFTER)
    it_has_ended(guard, user, stranger, forged)


PHASES = (before_the_first_use, while_the_keys_are_fresh, when_the_keys_are_stale, when_the_keys_are_too_old)


def started(guard: Guard, ttl: int, max_stale: int) -> None:
    guard.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS=f"{ttl}", JWT_KEY_MAX_STALE_SECONDS=f"{max_stale}")


@contextlib.contextmanager
def broken(guard: Guard, fault: Fault) -> Iterator[None]:
    fault.begin(guard)
    try:
        yield
    finally:
        fault.end(guard)


def all_in_trouble(guard: Guard, fault: Fault, *tokens: str) -> None:
    """Nobody is let in and nobody is refused: it is a 500, and the log names what is to be mended."""
    before = len(guard.lines())
    for token in tokens:
        assert guard.get(token) == TROUBLE
    for line in guard.logged(before, len(tokens), outcome="error", reason="keys_unavailable"):
        assert fault.told in line["detail"]


def it_has_ended(guard: Guard, user: str, stranger: str, forged: str) -> None:
    """The very tokens that met the trouble get what they are due: nothing was kept for them."""
    before = len(guard.lines())
    assert guard.get(user)[0] == 200
    assert guard.get(stranger)[0] == 403
    assert guard.get(forged) == UNAUTHORIZED
    assert not any("detail" in line for line in guard.logged(before, outcome="allow"))


Played = Mapping[tuple[str, str, str], "Future[None]"]


@pytest.fixture(scope="module")
def played(workshop: Workshop) -> Iterator[Played]:
    results: dict[tuple[str, str, str], Future[None]] = {}

    def play(source: str, name: str, phases: Sequence[Callable[[Guard, Fault], None]]) -> None:
        faults, make = SOURCES[source]
        guard: Guard | None = None
        for phase in phases:
            try:
                guard = guard or make(workshop)
                phase(guard, faults[name])
            except Exception as error:  # noqa: BLE001  # it is the test's to raise
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
def test_when_the_keys_are_stale_they_serve_on_and_the_log_says_why(played: Played, source: str, fault: str) -> None:
    played[source, fault, "when_the_keys_are_stale"].result()


@cases
def test_when_the_keys_are_too_old_it_is_a_500_until_it_ends(played: Played, source: str, fault: str) -> None:
    played[source, fault, "when_the_keys_are_too_old"].result()


# A function that is killed while it works.


def test_the_authorizer_is_killed_in_mid_request(workshop: Workshop) -> None:
    guard = workshop.with_a_secret()
    user, forged = guard.minted("user"), guard.minted("admin", forged=True)
    guard.endpoint.holds()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(guard.get, user)
        assert guard.endpoint.came.wait(20)  # it waits for the keys now
        for process in aws_runtime.environments(guard.function("jwt_authorizer")):
            process.kill()
        assert asked.result() == TROUBLE
    guard.endpoint.mend()
    assert guard.get(user)[0] == 200
    assert guard.get(forged) == UNAUTHORIZED
    assert guard.logged(0, outcome="allow")
    assert {line["outcome"] for line in guard.lines()} <= {"allow", "unauthorized"}  # the killed one said nothing


def test_the_api_function_is_killed_in_mid_request(workshop: Workshop) -> None:
    guard = workshop.with_a_secret(own_api_function=True)
    user = guard.minted("user")
    assert guard.get(user)[0] == 200
    (process,) = aws_runtime.environments(guard.function("api_handler"))
    process.suspend()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(guard.get, user)
        time.sleep(1)  # the request has come to the environment, which stands still
        assert not asked.done()
        process.kill()
        assert asked.result()[0] == 502  # with AWS's {"message": "Internal server error"}, or the emulator's own text
    assert guard.get(user)[0] == 200
    assert guard.ask("POST", user).status == 403
    assert len(guard.decisions("api_handler")) <= 2  # the killed one said nothing
    assert len(guard.lines()) <= 1  # the authorizer's answer stayed in the gateway's cache


# An issuer whose clock is a minute off.


@pytest.fixture(scope="module")
def lenient(workshop: Workshop) -> Guard:
    return warmed(workshop.with_a_secret(JWT_LEEWAY_SECONDS="60"))


@pytest.fixture(scope="module")
def strict(workshop: Workshop) -> Guard:
    return warmed(workshop.with_a_secret())


def warmed(guard: Guard) -> Guard:
    """Return it when it has its keys: a token of these tests may live for some seconds only."""
    assert guard.get(guard.minted("user"))[0] == 200
    return guard


def off_by(guard: Guard, seconds: int, lifetime: int = 600, **more: int) -> str:
    """Return a token of an issuer whose clock is off by so much."""
    now = int(time.time()) + seconds
    return guard.minted("user", iat=now, exp=now + lifetime, **{name: now + add for name, add in more.items()})


def test_the_issuers_clock_is_a_minute_ahead(strict: Guard, lenient: Guard) -> None:
    assert strict.get(off_by(strict, 60)) == UNAUTHORIZED
    assert strict.logged(0, reason="issued_in_future")
    assert strict.get(off_by(strict, 60, nbf=0)) == UNAUTHORIZED
    assert strict.logged(0, reason="not_yet_valid")
    assert lenient.get(off_by(lenient, 60, nbf=0))[0] == 200
    assert lenient.get(off_by(lenient, 90, nbf=0)) == UNAUTHORIZED


def test_the_issuers_clock_is_a_minute_behind(strict: Guard, lenient: Guard) -> None:
    assert strict.get(off_by(strict, -60))[0] == 200
    assert strict.get(off_by(strict, -60, lifetime=30)) == UNAUTHORIZED
    assert strict.logged(0, reason="expired")
    assert lenient.get(off_by(lenient, -60, lifetime=30))[0] == 200  # both locks add the leeway
    assert lenient.get(off_by(lenient, -60, lifetime=0)) == UNAUTHORIZED


def test_with_time_a_token_from_a_clock_ahead_stands_and_one_from_a_clock_behind_ends(
    strict: Guard, lenient: Guard
) -> None:
    early, late = off_by(strict, 4, nbf=0), off_by(lenient, -60, lifetime=4)
    assert strict.get(early) == UNAUTHORIZED
    assert lenient.get(late)[0] == 200
    time.sleep(4)
    assert strict.get(early)[0] == 200  # the refusal was kept nowhere
    assert lenient.get(late) == UNAUTHORIZED  # by the handler lock: the gateway still keeps its answer
