"""Secrets Manager's four steps of a rotation, for the secret that the authorizer reads.

Secrets Manager calls each step by itself and repeats what failed or was cut off, so each one looks first at
what is done already. AWSCURRENT becomes AWSPREVIOUS, which the authorizer goes on accepting.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import jwt

from chalicelib.guard import decision_log, tokens
from chalicelib.guard.keys import secret, secrets_manager
from chalicelib.guard.settings import Settings, current_settings


def rotate_secret(event: dict[str, Any], _context: object) -> None:
    """Do the one step that the event of Secrets Manager names."""
    rotate(event, current_settings(), secrets_manager.client())


class RotationError(Exception):
    """The step cannot be done; Secrets Manager keeps the current version and reports the rotation as failed."""


def rotate(event: Mapping[str, Any], settings: Settings, client: Any) -> None:
    """Do the one step that the event names. `client` is one of Secrets Manager."""
    version, step = event["ClientRequestToken"], event["Step"]
    # Whoever may invoke the function can write an event; what Secrets Manager itself says of the secret is checked.
    described = client.describe_secret(SecretId=settings.secret_id)
    secret_id, stages = described["ARN"], described["VersionIdsToStages"]
    labels = stages.get(version, [])
    if event["SecretId"] not in {secret_id, described["Name"]}:
        raise RotationError(f"{event['SecretId']!r} is not the secret that JWT_SECRET_ID names.")
    if not described.get("RotationEnabled"):
        raise RotationError(f"Rotation is not enabled for the secret {settings.secret_id!r}.")
    if "AWSCURRENT" in labels:
        outcome = "done already"
    elif "AWSPENDING" not in labels:
        raise RotationError(f"{step!r}: version {version!r} is not AWSPENDING, so no rotation is to make it current.")
    elif step == "createSecret":
        outcome = _create(client, secret_id, version, settings)
    elif step == "setSecret":
        outcome = "nothing to set: no other system holds this secret"
    elif step == "testSecret":
        outcome = _test(client, secret_id, version, settings)
    elif step == "finishSecret":
        _test(client, secret_id, version, settings)  # nobody knows whether testSecret was called
        current = next(found for found, its in stages.items() if "AWSCURRENT" in its)
        client.update_secret_version_stage(
            SecretId=secret_id, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=current
        )
        outcome = "AWSCURRENT"
    else:
        raise RotationError(f"{step!r} is no step of a rotation.")
    decision_log.note(f"Rotation, {step}, version {version}: {outcome}")


def _create(client: Any, secret_id: str, version: str, settings: Settings) -> str:
    with suppress(client.exceptions.ResourceNotFoundException):  # it has its label, but no value yet
        made = client.get_secret_value(SecretId=secret_id, VersionId=version, VersionStage="AWSPENDING")
        if made.keys() & {"SecretString", "SecretBinary"}:
            return "made already"
    current = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
    text = secret.renewed(current, settings)
    client.put_secret_value(
        SecretId=secret_id, ClientRequestToken=version, SecretString=text, VersionStages=["AWSPENDING"]
    )
    return "AWSPENDING"


def _test(client: Any, secret_id: str, version: str, settings: Settings) -> str:
    """Sign tokens with the new version and verify them as the authorizer will; raise whatever it would."""
    answer = client.get_secret_value(SecretId=secret_id, VersionId=version, VersionStage="AWSPENDING")
    text, keys, now = secret.field_of(answer, settings), secrets_manager.keys_of(answer, settings), time.time()
    for algorithm in settings.requirements.algorithms:
        token = jwt.encode({"sub": "rotation", "exp": now + 60}, text, algorithm, headers={"kid": version})
        tokens.verify(token, keys, tokens.Requirements((algorithm,)), now)
    return "tokens signed with it are valid"
