"""`make load`: a bounded flood of good, bad and forged tokens through the embedded API Gateway.

Each answer is checked. Both functions run under AWS's own runtime client, so an
execution environment lives on after a 401 as on AWS, and what it keeps in memory can be watched.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import math
import random
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
import psutil

from chalicelib.guard.keys.source import EARLY_REFRESH_EVERY
from tests.support import aws_runtime, embedded_aws
from tests.support.embedded_aws import EmbeddedAws
from tests.support.endpoint import Endpoint, Reply, Request, passing_to
from tests.support.project import copy_project
from tests.support.steps import manage, say, step

CONCURRENCY = 50
#: Each client begins so many seconds after the one before where environments start: on AWS each has its own processor.
STAGGER = 0.25
#: How much an environment may grow between two samples of its memory, in MB.
GROWTH = 5
#: The share of the requests that one environment gets once more.
ALONE = 0.5
STAGE = "dev"
SECRET = "fixture-key-dev"
REPEATED = 40  # tokens of each repeated kind
UNAUTHORIZED = {"message": "Unauthorized"}


class Sent(NamedTuple):
    """A request, and what it is due: a status, and what the body must be."""

    method: str
    token: str | None
    body: bytes | None
    status: int
    fits: Callable[[Any], bool]


@dataclass
class Traffic:
    """Makes the requests of each kind. `keys` sign good tokens; the newest comes last."""

    keys: list[str]
    repeated: dict[str, list[Sent]] = field(default_factory=dict)

    def token(self, *roles: str, key: str | None = None, kid: str | None = None, **changes: Any) -> tuple[str, str]:
        """Return a token that is in no cache, and its subject."""
        subject = f"user-{uuid.uuid4()}"
        claims = {"sub": subject, "roles": list(roles), "exp": int(time.time()) + 3600, **changes}
        headers = None if kid is None else {"kid": kid}
        return jwt.encode(claims, key or random.choice(self.keys), "HS256", headers), subject  # noqa: S311  # no secret

    def read(self, role: str) -> Sent:
        token, subject = self.token(role)
        due = {"subject": subject, "roles": [role], "claims": {}}
        return Sent("GET", token, None, 200, lambda body: body == due)

    def write(self, role: str, *, may: bool) -> Sent:
        token, subject = self.token(role)
        due = {"written by": subject}
        body = json.dumps(due).encode()
        if may:
            return Sent("POST", token, body, 200, lambda body: body == due)
        return Sent("POST", token, body, 403, forbidden)

    def refused(self, token: str | None) -> Sent:
        return Sent("GET", token, None, 401, lambda body: body == UNAUTHORIZED)

    def stranger(self) -> Sent:
        return Sent("GET", self.token("stranger")[0], None, 403, forbidden)

    def malformed(self) -> Sent:
        token, _ = self.token("admin")
        head, payload, _ = token.split(".")
        changed = (f"{head}.{payload}", f"Bearer  {token}", f"Basic {token}", f"{token}=", f"{token[:-2]}é", payload)
        return self.refused(random.choice(changed))  # noqa: S311  # no secret

    def unsigned(self) -> Sent:
        token, _ = self.token("admin")
        return self.refused(jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, "none"))

    def forged(self, *, named: bool) -> Sent:
        kid = str(uuid.uuid4()) if named else None
        return self.refused(self.token("admin", key=secrets.token_urlsafe(64), kid=kid)[0])

    def again(self, kind: str, make: Callable[[], Sent]) -> Sent:
        known = self.repeated.setdefault(kind, [])
        if len(known) < REPEATED:
            known.append(make())
        return random.choice(known)  # noqa: S311  # no secret

    def kinds(self) -> dict[str, tuple[int, Callable[[], Sent]]]:
        """Return each kind's share of a hundred requests, and how one is made."""
        reader, writer = (lambda: self.read("user")), (lambda: self.write("admin", may=True))
        unable = lambda: self.write("user", may=False)  # noqa: E731  # a row of the table below
        return {
            "GET as user, new token": (12, reader),
            "GET as user, again": (14, lambda: self.again("read", reader)),
            "GET as admin, new token": (6, lambda: self.read("admin")),
            "POST as admin, new token": (8, writer),
            "POST as admin, again": (6, lambda: self.again("write", writer)),
            "POST as user, new token": (6, unable),
            "POST as user, again": (6, lambda: self.again("unable", unable)),
            "GET, role unknown": (6, self.stranger),
            "GET, expired": (6, lambda: self.refused(self.token("admin", exp=int(time.time()) - 1)[0])),
            "GET, malformed": (8, self.malformed),
            "GET, unsigned (none)": (2, self.unsigned),
            "GET, forged": (12, lambda: self.forged(named=False)),
            "GET, forged, with kid": (4, lambda: self.forged(named=True)),
            "GET, no token": (4, lambda: self.refused(None)),
        }


def aligned(rows: list[list[str]]) -> str:
    """Return the rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def forbidden(body: Any) -> bool:
    return bool(body == {"message": "Forbidden"})


@dataclass
class Flood:
    """Sends requests to `url` and keeps what came back."""

    url: str
    traffic: Traffic
    seconds: dict[str, list[float]] = field(default_factory=dict)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, requests: int, concurrency: int, stagger: float = 0.0) -> None:
        """Send so many from so many clients, each of which begins `stagger` seconds after the one before."""
        kinds = self.traffic.kinds()
        drawn = random.choices(list(kinds), [share for share, _ in kinds.values()], k=requests)  # noqa: S311  # no secret
        queue = iter(drawn)
        began = time.monotonic()
        done = itertools.count(1)

        def client(number: int) -> None:
            time.sleep(number * stagger)
            with contextlib.closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
                while True:
                    with self.guard:
                        kind = next(queue, None)
                    if kind is None:
                        return
                    self.send(connection, kind, kinds[kind][1]())
                    so_far = next(done)
                    if so_far % 1000 == 0:
                        say(f"      {so_far} of {requests}, {so_far / (time.monotonic() - began):.0f} a second")

        with ThreadPoolExecutor(concurrency) as pool:
            for running in [pool.submit(client, number) for number in range(concurrency)]:
                running.result()

    def send(self, connection: http.client.HTTPConnection, kind: str, sent: Sent) -> None:
        headers = {"Content-Type": "application/json"}
        if sent.token is not None:
            headers["Authorization"] = sent.token
        since = time.monotonic()
        try:
            connection.request(sent.method, urlsplit(self.url).path, sent.body, headers)
            answer = connection.getresponse()
            status, body = answer.status, json.loads(answer.read())
            right = status == sent.status and sent.fits(body)
            got = f"{status} {body}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            right, got = False, f"{type(error).__name__}: {error}"
        took = time.monotonic() - since
        with self.guard:
            self.seconds.setdefault(kind, []).append(took)
            (self.right if right else self.wrong)[kind] += 1
            if not right and len(self.examples) < 20:
                self.examples.append(f"{kind}: due {sent.status}, got {got}")

    def sent(self) -> int:
        return self.right.total() + self.wrong.total()

    def authorizations(self) -> int:
        """Return how many of the requests came with a token that was new."""
        sent = self.right + self.wrong
        return sum(count for kind, count in sent.items() if not kind.endswith(("again", "no token")))

    def table(self) -> str:
        rows = [["Request", "Sent", "As due", "Otherwise", "median ms", "99th ms"]]
        for kind in self.traffic.kinds():
            times = sorted(self.seconds.get(kind, [0.0]))
            late = times[math.ceil(len(times) * 0.99) - 1]
            right, wrong = self.right[kind], self.wrong[kind]
            figures = (f"{1000 * statistics.median(times):.0f}", f"{1000 * late:.0f}")
            rows.append([kind, str(right + wrong), str(right), str(wrong), *figures])
        right, wrong = self.right.total(), self.wrong.total()
        rows.append(["all", str(right + wrong), str(right), str(wrong), "", ""])
        return aligned(rows)


@dataclass
class Memory:
    """What each execution environment of some functions took, sample by sample, in MB."""

    functions: list[str]
    taken: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    rows: list[list[str]] = field(
        default_factory=lambda: [["Memory", "Function", "Environments", "Smallest MB", "Largest MB"]]
    )

    def sample(self, when: str) -> None:
        for function in self.functions:
            now = {process.pid: process.memory_info().rss / 2**20 for process in aws_runtime.environments(function)}
            for pid, size in now.items():
                self.taken.setdefault((function, pid), []).append(size)
            sizes = [f"{size:.1f}" for size in (min(now.values(), default=0.0), max(now.values(), default=0.0))]
            self.rows.append([when, function, str(len(now)), *sizes])

    def table(self) -> str:
        return aligned(self.rows)

    def growth(self) -> float:
        """Return by how much the environment has grown that has grown most."""
        return max((sizes[-1] - sizes[0] for sizes in self.taken.values()), default=0.0)


class OneEnvironment:
    """One execution environment of the authorizer behind a Runtime API of our own, for more requests than fifty
    environments behind the gateway see each."""

    def __init__(self, traffic: Traffic, requests: int) -> None:
        self.traffic, self.requests, self.sent = traffic, requests, 0
        self.due: dict[str, str] = {}  # by request id: the subject that is let in, or an empty text for nobody
        self.wrong: list[str] = []
        self.samples: list[float] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.done, self.began, self.took = threading.Event(), time.monotonic(), 0.0

    def answer(self, request: Request) -> Reply:
        """Serve https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html as far as a runtime client needs it."""
        *_, identifier, what = request.path.split("/")
        if what == "next":
            if self.sent and self.sent % (self.requests // 4) == 0:
                self.sample()
            if self.sent == self.requests:
                self.done.set()
                time.sleep(2)  # meanwhile it is ended
                return Reply(500, b"")
            return self.next()
        answered = json.loads(request.body)
        due = self.due.pop(identifier)
        good = answered.get("principalId") == due if due else answered.get("errorMessage") == "Unauthorized"
        if not good:
            self.wrong.append(f"one environment: due {due or 'Unauthorized'}, got {answered}")
        return Reply(202, b"")

    def next(self) -> Reply:
        self.sent += 1
        kind = random.choice(("good", "forged", "forged", "malformed"))  # noqa: S311  # no secret
        if kind == "good":
            token, subject = self.traffic.token("user")
        else:
            made = self.traffic.malformed() if kind == "malformed" else self.traffic.forged(named=self.sent % 4 == 0)
            token, subject = str(made.token), ""
        identifier = str(uuid.uuid4())
        self.due[identifier] = subject
        arn = "arn:aws:execute-api:eu-central-1:000000000000:abcdefghij/dev/GET/items"
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn}
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": identifier,
            "Lambda-Runtime-Deadline-Ms": f"{1000 * int(time.time() + 15)}",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:000000000000:function:one-environment",
        }
        return Reply(200, json.dumps(event).encode(), headers)

    def sample(self) -> None:
        assert self.process is not None
        self.samples.append(psutil.Process(self.process.pid).memory_info().rss / 2**20)
        rate = self.sent / (time.monotonic() - self.began)
        say(f"      {self.sent} of {self.requests}, {rate:.0f} a second, {self.samples[-1]:.1f} MB")

    def run(self, package: bytes, folder: Path, environment: Mapping[str, str]) -> None:
        """Run the deployment package, in `folder`, until the last request has its answer."""
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(folder / "code")
        embedded_aws.lambda_runtime(folder / "runtime")
        with contextlib.closing(Endpoint(self.answer)) as endpoint, (folder / "log").open("wb") as log:
            variables = {
                **environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{endpoint.port}",
                "AWS_LAMBDA_FUNCTION_NAME": "one-environment",
                "PYTHONPATH": str(folder / "runtime"),
            }
            command = [sys.executable, "-m", "awslambdaric", "app.jwt_authorizer"]
            with subprocess.Popen(
                command, cwd=folder / "code", env=variables, stdout=log, stderr=subprocess.STDOUT
            ) as self.process:
                while not self.done.wait(0.5) and self.process.poll() is None:
                    pass
                self.process.kill()
        self.took = time.monotonic() - self.began
        if not self.done.is_set():
            said = (folder / "log").read_text()[-2000:]
            self.wrong.append(f"one environment: it ended after {self.sent} requests:\n{said}")


def spawned(aws: EmbeddedAws, function: str) -> int:
    """Return how many execution environments the function has had."""
    return len(re.findall(rf"environment spawned for {re.escape(function)} \(", aws.logs.read_text()))


def calls_at_most(environments: int, seconds: float) -> int:
    """Return how often so many environments may read the secret: two versions at the first use, at one early refresh
    and at one more in each 30 s."""
    return environments * 2 * (2 + math.floor(seconds / EARLY_REFRESH_EVERY))


def current_key(aws: EmbeddedAws) -> str:
    value = aws.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]
    return str(json.loads(value)["my_secret_key"])


def main(requests: int) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped here too
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        with step("Start the embedded AWS, with IAM enforced"):
            aws = stack.enter_context(embedded_aws.running())
        project = copy_project(folder / "project")
        with step("Put a secret into Secrets Manager, and deploy by chalice deploy (5 s or so)"):
            manage(project, aws, "secret", "create", "--stage", STAGE)
            manage(project, aws, "deploy", "--stage", STAGE)
        resources = json.loads((project / ".chalice" / "deployed" / f"{STAGE}.json").read_text())["resources"]
        deployed = {found["name"]: found for found in resources}
        authorizer, api = (
            deployed[name]["lambda_arn"].rpartition(":")[2] for name in ("jwt_authorizer", "api_handler")
        )
        (package,) = (project / ".chalice" / "deployments").glob("*.zip")
        with step("Hand both functions to AWS's runtime client, and count what they ask of Secrets Manager"):
            counting = Endpoint(passing_to(aws.port))
            stack.callback(counting.close)
            through = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": counting.url}
            stack.enter_context(aws_runtime.adopted(aws, authorizer, package.read_bytes(), **through))
            stack.enter_context(aws_runtime.adopted(aws, api, package.read_bytes()))
        url = f"{aws.api_url(deployed['rest_api']['rest_api_id'], STAGE)}/items"
        flood, memory = Flood(url, Traffic([current_key(aws)])), Memory([authorizer, api])

        def part(what: str, share: float, stagger: float = 0.0) -> None:
            count = round(requests * share)
            with step(f"{what}: {count} requests from {CONCURRENCY} clients"):
                flood.run(count, CONCURRENCY, stagger)
            memory.sample(what)

        began = time.monotonic()
        part("Cold", 0.10, STAGGER)
        part("Warm", 0.35)
        with step("Rotate the secret; the issuer still signs with the key before"):
            manage(project, aws, "secret", "rotate", "--stage", STAGE)
            rotated = time.monotonic()
        part("Rotated", 0.25)
        with step(
            f"Wait until {EARLY_REFRESH_EVERY:.0f} s have gone since the rotation: every environment may ask again"
        ):
            time.sleep(max(0.0, rotated + EARLY_REFRESH_EVERY + 1 - time.monotonic()))
        flood.traffic.keys.append(current_key(aws))
        part("Both keys", 0.15)
        limit = calls_at_most(spawned(aws, authorizer), time.monotonic() - began)
        with step("Restart the authorizer"):
            before, again = spawned(aws, authorizer), time.monotonic()
            aws_runtime.restart(aws, authorizer)
        part("Cold again", 0.15, STAGGER)
        limit += calls_at_most(spawned(aws, authorizer) - before, time.monotonic() - again)

        alone = OneEnvironment(flood.traffic, round(requests * ALONE))
        with step(f"One environment, {alone.requests} tokens one after the other, three quarters of them bad"):
            asked = counting.requests
            settings = {"JWT_SECRET_ID": SECRET, **through}
            alone.run(package.read_bytes(), folder / "alone", aws.environment(**settings))
            asked_alone = counting.requests - asked

        say(f"\n{flood.table()}\n\n{memory.table()}\n")
        growth, wrong = memory.growth(), flood.wrong.total()
        first, *_, last = alone.samples or (0.0, 0.0)
        verdicts = [
            (wrong == 0, f"Answers other than the one that was due: {wrong} of {flood.sent()}"),
            (growth <= GROWTH, f"Largest growth of an environment: {growth:.1f} MB of {GROWTH} at most"),
            (
                0 < asked <= limit,
                f"Calls to Secrets Manager: {asked} of {limit} at most, from {spawned(aws, authorizer)}"
                f" authorizer environments, for {flood.authorizations()} tokens that the gateway had not seen",
            ),
            (not alone.wrong, f"One environment, answers other than due: {len(alone.wrong)} of {alone.sent}"),
            (last - first <= GROWTH, f"One environment, memory: {', '.join(f'{mb:.1f}' for mb in alone.samples)} MB"),
            (
                0 < asked_alone <= calls_at_most(1, alone.took),
                f"One environment, calls to Secrets Manager: {asked_alone} of {calls_at_most(1, alone.took)} at most",
            ),
        ]
        for right, sentence in verdicts:
            say(f"{'ok   ' if right else 'WRONG'}  {sentence}")
        for example in flood.examples + alone.wrong[:20]:
            say(f"       {example}")
        return 0 if all(right for right, _ in verdicts) else 1
    say("\nStopped.")
    return 130


def number(text: str) -> int:
    count = int(text)
    if not 100 <= count <= 1_000_000:
        raise ValueError(text)
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--requests", type=number, default=30_000, help="100 to 1,000,000 (30,000)")
    sys.exit(main(parser.parse_args().requests))
