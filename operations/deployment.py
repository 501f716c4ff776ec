"""What must hold before `chalice deploy`, and the deployment itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chalicelib import rules
from chalicelib.guard.keys import cache as keys
from chalicelib.guard.keys import sources
from chalicelib.guard.policy import MAX_ANSWER_BYTES
from operations import answer_size, bytecode, gateway_responses, matrix
from operations.fault import Fault
from operations.stage import AUTHORIZER, PROJECT, Stage, aws_errors

#: Lambda's runtimes that this code runs on (it uses StrEnum and datetime.UTC, so not on 3.10).
RUNTIMES = ("python3.11", "python3.12", "python3.13", "python3.14")


def preflight(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield each check that holds, with what was found; raise Fault, naming the mend, at the first that does not."""
    with aws_errors():
        client = stage.client("sts")
        identity = client.get_caller_identity()
    yield "credentials", f"account {identity['Account']}, {identity['Arn']}"
    yield "Region", client.meta.region_name
    yield from check(stage)
    try:
        found = sources.fetch(stage.settings)
    except keys.KeysUnavailable as trouble:
        create = f" If it was never made: manage.py secret create --stage {stage.name}."
        raise Fault(f"{trouble}{create if stage.settings.jwks_url is None else ''}") from None
    yield "keys", f"{stage.settings.jwks_url or stage.settings.secret_id}, {', '.join(str(key.id) for key in found)}"


def check(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield what holds of the project itself, without asking AWS; raise Fault at the first that does not."""
    runtime = stage.config.lambda_python_version
    if runtime not in RUNTIMES:
        raise Fault(
            f"Lambda would run {runtime}, after this Python; use one of {', '.join(RUNTIMES)}: make PYTHON=python3.13."
        )
    yield "runtime", runtime
    wrong = matrix.faults()
    if wrong:
        raise Fault("Table and routes disagree: " + " ".join(wrong))
    yield "table", f"{len(rules.RULES)} rules agree with app.py"
    size = answer_size.largest_answer(rules.RULES, str(stage.config.api_gateway_stage))
    yield "policy size", f"{size.most} of {MAX_ANSWER_BYTES} bytes at most, whatever roles a caller has"
    if stage.settings.jwks_url is None:
        yield "permission", secret_policy(stage)
    elif "requirements/jwks.txt" not in (PROJECT / "requirements.txt").read_text():
        raise Fault("JWT_JWKS_URL needs cryptography: add the line that the README gives to requirements.txt.")


def secret_policy(stage: Stage) -> str:
    """Return the file that lets the authorizer read its secret; Fault where it names another one."""
    file = PROJECT / ".chalice" / str(stage.config.scope(stage.name, AUTHORIZER).iam_policy_file)
    secret = stage.settings.secret_id
    wanted = [secret, f"arn:*:secretsmanager:*:*:secret:{secret}-??????"]
    try:
        statements = json.loads(file.read_text())["Statement"]
    except (OSError, ValueError, KeyError) as error:
        raise Fault(f"The authorizer's policy {file.name} cannot be read ({type(error).__name__}): mend it.") from None
    granted = [
        resource
        for statement in statements
        if "secretsmanager:GetSecretValue" in statement["Action"]
        for resource in statement["Resource"]
    ]
    if not set(granted) & set(wanted):
        raise Fault(f"{file.name} does not let the authorizer read the secret {secret}: put {wanted[-1]} in it.")
    return file.name


def deploy(stage: Stage) -> None:
    """Run `chalice deploy`, then put the gateway responses; Fault where one fails."""
    _chalice("deploy", "--stage", stage.name)
    with aws_errors():
        gateway_responses.put(
            stage.client("apigateway"), stage.api_id(), stage.config.api_gateway_stage, stage.settings.allowed_origin
        )


def package(stage: Stage, folder: Path) -> None:
    """Run `chalice package` with the gateway responses merged into its template; Fault where it fails."""
    with tempfile.TemporaryDirectory() as place:
        extras = Path(place) / "gateway-responses.json"
        extras.write_text(json.dumps(gateway_responses.as_template(stage.settings.allowed_origin)))
        _chalice("package", "--stage", stage.name, "--merge-template", str(extras), str(folder.resolve()))


def _chalice(*words: str) -> None:
    bytecode.write(PROJECT)
    chalice = str(Path(sys.executable).with_name("chalice"))
    # It imports app.py, and would deploy the bytecode that Python leaves in chalicelib/ then.
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    # What it prints is the operator's to read.
    done = subprocess.run([chalice, *words], cwd=PROJECT, env=variables, check=False)  # noqa: S603  # no shell
    if done.returncode:
        raise Fault(f"chalice {words[0]} ended with {done.returncode}; what it printed above says why.")
