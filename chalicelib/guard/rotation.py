"""Secrets Manager's four steps of a rotation, for the secret that the authorizer reads.

Secrets Manager calls each step by itself and repeats what failed or was cut off, so each one looks first at
what is done already. AWSCURRENT becomes AWSPREVIOUS, which the authorizer goes on accepting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt

from chalicelib.guard import decision_log, tokens
from chalicelib.guard.keys import secret
from chalicelib.guard.settings import Settings


class RotationError(Exception):
    """The step cannot be done; Secrets Manager keeps the current version and reports the rotation as failed."""


def rotate(event: Mapping[str, Any], settings: Settings, client: Any) -> None:
    """Do the one step that the event names. `client` is one of Secrets Manager."""
    secret_id, version, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    stages: dict[str, list[str]] = client.describe_secret(SecretId=secret_id)["VersionIdsToStages"]
    labels = stages.get(version, [])
    if "AWSCURRENT" in labels:
        outcome = "done already"
    elif step == "createSecret":
        outcome = _create(client, secret_id, version, settings)
    elif "AWSPENDING" not in labels:
        raise RotationError(f"{step}: version {version} is not AWSPENDING, so there is nothing to go on with.")
    elif step == "setSecret":
        outcome = "nothing to set: no other system holds this secret"
    elif step == "testSecret":
        outcome = _test(client, secret_id, version, settings)
    elif step == "finishSecret":
        current = next(found for found, its in stages.items() if "AWSCURRENT" in its)
        client.update_secret_version_stage(
            SecretId=secret_id, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=current
        )
        outcome = "AWSCURRENT"
    else:
        raise RotationError(f"{step} is no step of a rotation.")
    decision_log.note(f"Rotation, {step}, version {version}: {outcome}")


def _create(client: Any, secret_id: str, version: str, settings: Settings) -> str:
    try:
        client.get_secret_value(SecretId=secret_id, VersionId=version, VersionStage="AWSPENDING")
    except client.exceptions.ResourceNotFoundException:
        current = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
        client.put_secret_value(
            SecretId=secret_id,
            ClientRequestToken=version,
            SecretString=secret.renewed(current, settings),
            VersionStages=["AWSPENDING"],
        )
        return "AWSPENDING"
    return "made already"


def _test(client: Any, secret_id: str, version: str, settings: Settings) -> str:
    """Sign a token with the new version and verify it as the authorizer will."""
    answer = client.get_secret_value(SecretId=secret_id, VersionId=version, VersionStage="AWSPENDING")
    text, algorithm, now = secret.field_of(answer, settings), settings.requirements.algorithms[0], time.time()
    keys = secret.hmac_keys(text, version, [algorithm], f"Version {version}")  # is it strong enough?
    token = jwt.encode({"sub": "rotation", "exp": now + 60}, text, algorithm, headers={"kid": version})
    tokens.verify(token, keys, tokens.Requirements((algorithm,)), now)
    return "a token signed with it stands"
