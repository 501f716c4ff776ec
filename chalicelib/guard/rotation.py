"""Secrets Manager's four steps of a rotation, for the secret that the authorizer reads."""

# Secrets Manager calls each step by itself and repeats what failed or was cut off, so each one looks first at
# what is done already. AWSCURRENT becomes AWSPREVIOUS, which the authorizer goes on accepting.

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from chalicelib.guard import decision_log
from chalicelib.guard.keys import source
from chalicelib.guard.settings import Settings, from_environment


class RotationError(Exception):
    """The step cannot be done; Secrets Manager keeps the current version and reports the rotation as failed."""


def rotate_secret(event: Mapping[str, Any], _context: object) -> None:
    """Do the one step that the event of Secrets Manager names."""
    settings, client = from_environment(), source.client()
    named, version, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    # Whoever may invoke the function can write an event; what Secrets Manager itself says of the secret is checked.
    described = client.describe_secret(SecretId=settings.secret_id)
    arn, stages = described["ARN"], described["VersionIdsToStages"]
    if named not in {arn, described["Name"]}:
        raise RotationError(f"{named!r} is not the secret that JWT_SECRET_ID names.")
    if not described.get("RotationEnabled"):
        raise RotationError(f"Rotation is not enabled for the secret {settings.secret_id!r}.")
    if "AWSCURRENT" in stages.get(version, []):
        return  # done already
    if "AWSPENDING" not in stages.get(version, []):
        raise RotationError(f"{step!r}: version {version!r} is not AWSPENDING, so no rotation is to make it current.")
    if step not in {"createSecret", "setSecret", "testSecret", "finishSecret"}:
        raise RotationError(f"{step!r} is no step of a rotation.")
    if step == "createSecret":
        _create(client, arn, version, settings)
    if step in {"testSecret", "finishSecret"}:  # in both, for nobody knows whether testSecret was called
        made = client.get_secret_value(SecretId=arn, VersionId=version)
        source.keys_of(made, settings)  # it raises whatever the authorizer would
    if step == "finishSecret":
        current = next(found for found, its in stages.items() if "AWSCURRENT" in its)
        moved = {"VersionStage": "AWSCURRENT", "RemoveFromVersionId": current, "MoveToVersionId": version}
        client.update_secret_version_stage(SecretId=arn, **moved)
    decision_log.write_keys(f"Rotation, {step}, version {version}: done")


def _create(client: Any, arn: str, version: str, settings: Settings) -> None:
    with suppress(client.exceptions.ResourceNotFoundException):  # it has its label, but no value yet
        made = client.get_secret_value(SecretId=arn, VersionId=version)
        if made.keys() & {"SecretString", "SecretBinary"}:
            return  # made already
    text = source.renewed(client.get_secret_value(SecretId=arn), settings)  # of AWSCURRENT
    client.put_secret_value(SecretId=arn, SecretString=text, ClientRequestToken=version, VersionStages=["AWSPENDING"])
