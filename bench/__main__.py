"""`make bench`: cold starts, decisions, memory and size, beside what others would have written.

Every contender's package is unzipped and run as Lambda would, each time in a fresh process, with the embedded
AWS for Secrets Manager. Rounds are interleaved, so that whatever else the machine does hits all alike. Reported are
ratios to the handler written by hand (`plain`): of medians, or for warm decisions of the least. A wrong decision ends
it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jwt

from bench import artifacts, report
from bench.artifacts import Artifact
from bench.tables import PEERS, regular
from tests.support import embedded_aws
from tests.support.project import PROJECT

OUT = PROJECT / "build" / "bench"
SECRET_ID = "fixture-key-dev"
SECRET = "a-secret-for-measuring-" + "x" * 64
STAGE_ARN = f"arn:aws:execute-api:{embedded_aws.REGION}:123456789012:abcdefghij/dev"
COLD_ROUNDS = 25
WARM_ROUNDS = 9
TIMES = 400
TABLES = (10, 100, 1000)


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", flush=True)  # noqa: T201  # progress is for who waits


def event(token: str, path: str = "/items") -> str:
    arn = f"{STAGE_ARN}/GET{path}"
    asked = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn, "headers": {"authorization": token}}
    return json.dumps(asked)


def events() -> dict[str, str]:
    """Return an event for each outcome that is measured."""

    def token(secret: str = SECRET, **changes: Any) -> str:
        now = int(time.time())
        claims = {"sub": "alice", "roles": ["user"], "iat": now - 7200, "exp": now + 3600, **changes}
        return jwt.encode(claims, secret, "HS256")

    good = token()
    return {
        "allowed": event(good),
        "role may not": event(token(roles=["stranger"])),
        "bad signature": event(token("another-secret-" + "x" * 64)),
        "expired": event(token(exp=int(time.time()) - 3600)),
        "unsigned": event(jwt.encode({"sub": "alice", "roles": ["user"], "exp": 4102444800}, None, "none")),
        "malformed": event(good.replace(".", "!", 1)),
    }


def outcome(answer: str, asked: str) -> str:
    """Return allow, deny or the error's message: what API Gateway would make of the answer."""
    decoded, arn = json.loads(answer), json.loads(asked)["methodArn"]
    if "policyDocument" not in decoded:
        return str(decoded.get("errorMessage", "nothing"))
    effects = set()
    for statement in decoded["policyDocument"]["Statement"]:
        listed = statement["Resource"]
        if any(fnmatch.fnmatchcase(arn, one) for one in ([listed] if isinstance(listed, str) else listed)):
            effects.add(statement["Effect"])
    return "allow" if effects == {"Allow"} else "deny"


def check(artifact: Artifact, name: str, answers: list[str], asked: str) -> None:
    """End everything at a wrong decision: what decides wrongly is not worth its time."""
    refused = {"deny"} if artifact.node else {"Unauthorized"}  # the tutorial denies whatever is wrong
    right = {"allowed": {"allow"}, "role may not": {"deny"}}.get(name, refused)
    got = {outcome(answer, asked) for answer in answers}
    if got != right:
        raise SystemExit(f"{artifact.name} decided wrongly: {name} gave {sorted(got)}; {answers[0][:300]}")


def measure(artifact: Artifact, aws: embedded_aws.EmbeddedAws, work: Path, asked: dict[str, str], times: int) -> Any:
    """Start a process as Lambda starts an environment; return what it measured, all answers checked."""
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_REGION": embedded_aws.REGION,
        "AWS_DEFAULT_REGION": embedded_aws.REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{aws.port}",
        "JWT_SECRET_ID": SECRET_ID,
        "PYTHONDONTWRITEBYTECODE": "1",  # a function's folder is read-only in Lambda
        "PATH": os.environ["PATH"],
        "_HANDLER": artifact.handler,
        **dict(artifact.variables),
    }
    to = work / "measured.json"
    task = {
        "artifact": str(artifact.folder),
        "sdk": str(work / "runtime" / "sdk"),
        "first": asked["allowed"],
        "events": asked if times else {},
        "times": times,
        "to": str(to),
    }
    here = Path(__file__).parent
    program = ["node", str(here / "runtime.mjs")] if artifact.node else [sys.executable, "-S", str(here / "runtime.py")]
    with (work / "log").open("wb") as log:
        spawned = time.monotonic()
        done = subprocess.run([*program, json.dumps(task)], env=variables, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise SystemExit(f"{artifact.name} ended with {done.returncode}:\n{(work / 'log').read_text()[-2000:]}")
    measured = json.loads(to.read_text())
    if artifact.name != "empty handler":
        check(artifact, "allowed", [measured["first"]], asked["allowed"])
        for name, found in measured["warm"].items():
            check(artifact, name, found["answers"], asked[name])
    measured["cold_ms"] = (measured["answered"] - spawned) * 1000
    measured["first_ms"] = (measured["answered"] - measured["initialised"]) * 1000
    return measured


def contenders(work: Path, environment: dict[str, str]) -> list[Artifact]:
    pyjwt = next(line for line in (PROJECT / "requirements.txt").read_text().split() if line.startswith("pyjwt=="))
    found = [
        artifacts.ours(work, environment, "API guard", PEERS),
        artifacts.python_peer("plain", "plain", work, pyjwt),
        artifacts.naive_chalice(work, environment),
        artifacts.python_peer("Powertools", "powertools", work, pyjwt, artifacts.POWERTOOLS),
        artifacts.python_peer("empty handler", "empty", work),
    ]
    if shutil.which("node") and shutil.which("npm"):
        say("Install the tutorial's packages from npm")
        return found + artifacts.node_peers(work)
    say("Node is not installed: the tutorial's code is left out")
    return found


def summary(artifact: Artifact, cold: list[Any], warm: list[Any]) -> dict[str, Any]:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    outcomes = warm[0]["warm"] if warm else ()
    return {
        "name": artifact.name,
        "cold_ms": middle([one["cold_ms"] for one in cold]),
        "first_ms": middle([one["first_ms"] for one in cold]),
        "cpu_ms": middle([one["cpu"] for one in cold]) * 1000,
        "peak_mib": middle([one["peak_kib"] for one in cold]) / 1024,
        "zip_kib": artifact.zip_bytes / 1024,
        "modules": len(cold[0]["modules"]),
        # A process may run at two thirds of another's speed for its whole life; that only adds, so the least counts.
        "warm_us": {name: min(one["warm"][name]["us"] for one in warm) for name in outcomes},
        "handler_us": {name: min(one["warm"][name]["handler_us"] for one in warm) for name in outcomes},
        "answer_bytes": len(cold[0]["first"]),
    }


def main(*, docs: bool) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="api-guard-bench-") as folder, embedded_aws.running() as aws:
        work = Path(folder)
        say("Package every contender as its author would (half a minute)")
        embedded_aws.lambda_runtime(work / "runtime")
        py_compile.compile(str(work / "runtime" / "sdk" / "six.py"))  # a link's bytecode is looked for beside the link
        text = json.dumps({"my_secret_key": SECRET})
        aws.client("secretsmanager").create_secret(Name=SECRET_ID, SecretString=text)
        field = contenders(work, aws.environment())
        tables = [artifacts.ours(work, aws.environment(), f"{rules} rules", regular(rules)) for rules in TABLES]
        asked = events()
        clerk = jwt.encode({"sub": "alice", "roles": ["clerk"], "exp": int(time.time()) + 3600}, SECRET, "HS256")
        table_asked = {"allowed": event(clerk, "/area-00/resource-000")}
        cold: dict[str, list[Any]] = {artifact.name: [] for artifact in field + tables}
        warm: dict[str, list[Any]] = {artifact.name: [] for artifact in field + tables}
        for number in range(COLD_ROUNDS):
            if number % 5 == 0:
                say(f"Cold starts, round {number + 1} of {COLD_ROUNDS}, {len(field + tables)} contenders in each")
            for artifact in field:
                cold[artifact.name].append(measure(artifact, aws, work, asked, 0))
            for artifact in tables:
                cold[artifact.name].append(measure(artifact, aws, work, table_asked, 0))
        for number in range(WARM_ROUNDS):
            if number % 3 == 0:
                say(f"Decisions, round {number + 1} of {WARM_ROUNDS}, {TIMES} of each outcome")
            for artifact in field:
                if artifact.name != "empty handler":
                    # The tutorial as written fetches the secret each time.
                    times = TIMES // 20 if artifact.node and not artifact.variables else TIMES
                    warm[artifact.name].append(measure(artifact, aws, work, asked, times))
            for artifact in tables:
                warm[artifact.name].append(measure(artifact, aws, work, table_asked, TIMES))
        results = {
            "contenders": [summary(one, cold[one.name], warm[one.name]) for one in field],
            "tables": [summary(one, cold[one.name], warm[one.name]) for one in tables],
            "modules": sorted(cold[field[0].name][0]["modules"]),
            "rounds": {"cold": COLD_ROUNDS, "warm": WARM_ROUNDS, "times": TIMES},
            "python": sys.version.split()[0],
        }
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    say("Every timed decision was right.\n\n" + report.as_markdown(results))
    report.write(results, OUT)
    say(f"Written: results.json, performance.md and performance.svg in {OUT.relative_to(PROJECT)}")
    if docs:
        report.write_docs(results, PROJECT / "docs")
        say("Written: the figures of docs/performance.md, and docs/performance.svg")


STARTED = time.monotonic()
if __name__ == "__main__":
    main(docs="--docs" in sys.argv[1:])
