"""What must hold before `chalice deploy`, and the deployment itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3

from chalicelib.guard import decision
from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys import source
from chalicelib.guard.policy import MAX_ANSWER_BYTES
from operations import answer_size, bytecode, gateway_responses, permissions, requirements, secret
from operations.fault import Fault
from operations.project import for_stage
from operations.stage import Stage, aws_errors

#: Lambda's runtimes that this code runs on (it uses StrEnum and datetime.UTC, so not on 3.10).
RUNTIMES = ("python3.11", "python3.12", "python3.13", "python3.14")
#: What the claims for views add to an answer at most: JSON in a text of JSON, each character of it escaped.
CLAIMS_BYTES = 2 * decision.MAX_CLAIMS_BYTES + len(', "caller_claims": ""')


def preflight(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield each check that holds, with what was found; raise Fault, naming the fix, at the first that does not."""
    yield from check(stage)
    with aws_errors():
        identity = stage.client("sts").get_caller_identity()
    yield "credentials", f"account {identity['Account']}, {identity['Arn']}"
    try:
        found = source.fetch(stage.settings)
    except KeysUnavailable as failure:
        create = f" If it was never made: manage.py secret create --stage {stage.name}."
        raise Fault(f"{failure}{create if str(failure).startswith('Secret ') else ''}") from None
    ids = ", ".join(str(key.id) for key in found.keys)
    yield "keys", f"{stage.settings.jwks_url or stage.settings.secret_id}, {ids}"
    if stage.settings.revocations_secret_id is not None:
        subjects = f"{len(found.revocations.subjects)} subjects"
        yield "ended sessions", f"{stage.settings.revocations_secret_id}, {subjects}"


def check(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield what holds of the project itself, without asking AWS; raise Fault at the first that does not."""
    runtime = stage.config.lambda_python_version
    if runtime not in RUNTIMES:
        raise Fault(
            f"Lambda would run {runtime}, after this Python; use one of {', '.join(RUNTIMES)}: make PYTHON=python3.13."
        )
    yield "runtime", runtime
    with aws_errors():
        region = boto3.Session().region_name
    if not region:
        raise Fault("There is no AWS Region: set AWS_DEFAULT_REGION, for example to eu-central-1.")
    yield "Region", region
    project, named = stage.project, stage.config.app_name
    if project.app.app_name != named:
        raise Fault(
            f"The app is {project.app.app_name!r} in app.py and {named!r} in .chalice/config.json, which functions and"
            " their logs are named after: write one name in both, and in the policies beside the latter."
        )
    yield "name", named
    wrong = project.faults()
    if wrong:
        raise Fault("Table and routes disagree: " + " ".join(wrong))
    yield "table", f"{len(project.table.rules)} rules agree with app.py"
    claims = CLAIMS_BYTES if stage.settings.caller_claims else 0
    size = answer_size.largest_answer(project.table.rules, str(stage.config.api_gateway_stage), claims)
    yield "policy size", f"{size.most} of {MAX_ANSWER_BYTES} bytes at most, whatever roles a caller has"
    yield "permissions", f"{', '.join(permissions.check(stage))}. {permissions.views_own(stage)}"
    listed = project.folder / "requirements.txt"
    yield "requirements", f"{requirements.check_hashes(listed)} in requirements.txt, with hashes or all without"
    if stage.settings.jwks_url is not None and "cryptography" not in requirements.names(listed):
        raise Fault("JWT_JWKS_URL needs cryptography: add -r requirements/jwks.txt to requirements.txt.")


def deploy(stage: Stage) -> Iterator[tuple[str, str]]:
    """Run `chalice deploy` and what it leaves to do; yield what was done, and raise Fault where it fails."""
    cancelled = secret.unschedule(stage)
    if cancelled:
        yield "rotation", cancelled
    _chalice(stage, "deploy", "--stage", stage.name)
    origin = stage.settings.allowed_origin
    with aws_errors():
        gateway_responses.put(stage.client("apigateway"), stage.api_id(), stage.config.api_gateway_stage, origin)
    yield (
        "gateway responses",
        f"put; pages may read answers: {origin or 'of no origin; CORS_ALLOWED_ORIGIN names one'}",
    )
    scheduled = secret.schedule(stage)
    if scheduled:
        yield "rotation", scheduled


def package(stage: Stage, folder: Path) -> None:
    """Run `chalice package` with gateway responses and rotation merged into its template; Fault where it fails."""
    with tempfile.TemporaryDirectory() as place:
        extras = Path(place) / "extras.json"
        merged = gateway_responses.as_template(stage.settings.allowed_origin) | secret.as_template(stage)
        extras.write_text(json.dumps({"Resources": merged}))
        _chalice(stage, "package", "--stage", stage.name, "--merge-template", str(extras), str(folder.resolve()))


def _chalice(stage: Stage, *words: str) -> None:
    folder = stage.project.folder
    bytecode.write(folder)
    chalice = str(Path(sys.executable).with_name("chalice"))
    # It imports app.py, and would deploy the bytecode that Python leaves in chalicelib/ then.
    variables = {**for_stage(os.environ, {}), "PYTHONDONTWRITEBYTECODE": "1"}
    # What it prints is the operator's to read.
    done = subprocess.run([chalice, *words], cwd=folder, env=variables, check=False)  # noqa: S603  # no shell
    if done.returncode:
        raise Fault(f"chalice {words[0]} ended with {done.returncode}; what it printed above says why.")
