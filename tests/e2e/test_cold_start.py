"""A cold start of the package, in a process that has what Lambda has: what it loads, when it fetches the secret."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest

from bench import artifacts
from bench.artifacts import Artifact
from tests.support import embedded_aws
from tests.support.embedded_aws import EmbeddedAws

SECRET = "the-secret-of-a-cold-start-" + "x" * 40
#: What the authorizer loads beside what Lambda's runtime has loaded. Two thirds of it are Python's own.
MAX_MODULES = 120
#: What only others need: the AWS SDK, a JWKS, Chalice's own commands, the rotation.
UNWANTED = tuple(
    "boto3 botocore s3transfer urllib3 cryptography chalice.cli chalice.deploy chalice.local"
    " chalicelib.guard.rotation".split()
)
MAX_PACKAGE_BYTES = 175 * 1024


@pytest.fixture(scope="module")
def package(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifacts.ours(tmp_path_factory.mktemp("package"), aws.environment())


@pytest.fixture
def secret_id(aws: EmbeddedAws) -> str:
    name = f"cold-start-{uuid.uuid4()}"
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"my_secret_key": SECRET}))
    return name


class Environment:
    """An execution environment: runs the lines that it is given one by one, and answers each with what it prints."""

    def __init__(self, aws: EmbeddedAws, package: Artifact, sdk: Path, **variables: str) -> None:
        sdk.parent.mkdir(exist_ok=True)
        embedded_aws.lambda_runtime(sdk.parent)
        path = [str(package.folder), str(sdk)]
        program = f"import sys; sys.path[:0] = {path[:1]}; sys.path.append({path[1]!r})\n" + (
            "import json, logging, decimal, traceback, warnings\n"
            "for line in sys.stdin:\n"
            "    try: exec(line, globals())\n"
            "    except Exception as error: print('raised', error)\n"
            "    print('.', flush=True)\n"
        )
        given = {"AWS_LAMBDA_FUNCTION_NAME": "authorizer", "PYTHONDONTWRITEBYTECODE": "1", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", program],
            env=aws.environment(**given),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, line: str) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return [text.rstrip("\n") for text in iter(self.process.stdout.readline, ".\n")]

    def decide(self) -> list[dict[str, Any]]:
        """Ask for a decision; return the lines that it logs, and what it answers, if it does."""
        token = jwt.encode({"sub": "alice", "roles": ["user"], "exp": time.time() + 60}, SECRET, "HS256")
        arn = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev/GET/items"
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn}
        lines = self.run(f"print(json.dumps(app.jwt_authorizer({event!r}, None)))")
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def start(aws: EmbeddedAws, package: Artifact, tmp_path: Path) -> Any:
    started = []

    def make(**variables: str) -> Environment:
        started.append(Environment(aws, package, tmp_path / f"runtime-{len(started)}" / "sdk", **variables))
        return started[-1]

    yield make
    for environment in started:
        environment.process.communicate()


def fetches(lines: list[str]) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines) if "refresh_failures" in line]


def test_the_authorizer_fetches_the_secret_while_it_starts(start: Any, secret_id: str) -> None:
    authorizer = start(_HANDLER="app.jwt_authorizer", JWT_SECRET_ID=secret_id)
    (fetched,) = fetches(authorizer.run("import app"))
    assert fetched["refresh_failures"] == 0
    *logged, answer = authorizer.decide()
    assert not any("refresh_failures" in line for line in logged)
    assert answer["principalId"] == "alice"


@pytest.mark.parametrize("handler", ["app.app", "app.rotate_secret", ""])
def test_no_other_function_fetches_it_or_loads_an_aws_client(start: Any, secret_id: str, handler: str) -> None:
    other = start(_HANDLER=handler, JWT_SECRET_ID=secret_id, JWT_ROTATION_DAYS="30")
    assert other.run("import app") == []
    assert other.run("print([name for name in sys.modules if name.startswith('boto')])") == ["[]"]


def test_after_a_start_without_keys_the_first_request_asks_again(start: Any, aws: EmbeddedAws) -> None:
    name = f"not-there-yet-{uuid.uuid4()}"
    authorizer = start(_HANDLER="app.jwt_authorizer", JWT_SECRET_ID=name)
    (failed,) = fetches(authorizer.run("import app"))
    assert failed["refresh_failures"] == 1
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"my_secret_key": SECRET}))
    assert authorizer.decide()[-1]["principalId"] == "alice"


def test_a_wrong_setting_ends_no_start_and_is_logged_by_the_decision(start: Any) -> None:
    authorizer = start(_HANDLER="app.jwt_authorizer", JWT_LEEWAY_SECONDS="soon")
    assert authorizer.run("import app") == []
    (line,) = authorizer.decide()
    assert line["reason"] == "bad_setting"
    assert "JWT_LEEWAY_SECONDS" in line["detail"]


def test_a_cold_start_loads_no_more_than_it_needs(start: Any, secret_id: str) -> None:
    authorizer = start(_HANDLER="app.jwt_authorizer", JWT_SECRET_ID=secret_id)
    authorizer.run("before = set(sys.modules)")
    authorizer.run("import app")
    assert authorizer.decide()[-1]["principalId"] == "alice"
    (listed,) = authorizer.run("print(json.dumps(sorted(set(sys.modules) - before)))")
    loaded = json.loads(listed)
    assert [name for name in loaded if name.startswith(UNWANTED)] == []
    assert len(loaded) <= MAX_MODULES, len(loaded)


def test_the_largest_sources_are_not_compiled_at_a_start(start: Any, package: Artifact) -> None:
    environment = start(_HANDLER="app.app")
    environment.run("compiled = []")
    environment.run("sys.addaudithook(lambda name, given: name == 'compile' and compiled.append(given[1]))")
    environment.run("import app")
    (listed,) = environment.run("print(json.dumps([str(name) for name in compiled]))")
    compiled = [name.removeprefix(f"{package.folder}/") for name in json.loads(listed)]
    assert "app.py" in compiled  # the hook sees it
    assert not {"chalice/app.py", "jwt/algorithms.py", "jwt/api_jws.py", "jwt/api_jwt.py"} & set(compiled)


def test_bytecode_that_is_out_of_date_is_not_run(start: Any, package: Artifact) -> None:
    source = package.folder / "jwt" / "api_jws.py"
    before = source.read_text()
    try:
        source.write_text(before + "\nCHANGED = True\n")
        environment = start(_HANDLER="app.app")
        environment.run("import app, jwt.api_jws")
        assert environment.run("print(jwt.api_jws.CHANGED)") == ["True"]
    finally:
        source.write_text(before)


def test_the_package_stays_small(package: Artifact) -> None:
    assert package.zip_bytes <= MAX_PACKAGE_BYTES, package.zip_bytes
