"""The stage's secret in AWS Secrets Manager. Its value is never printed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.guard.keys.source import field_of, hmac_keys, renewed
from chalicelib.guard.settings import from_environment
from operations import revocation
from operations.fault import Fault
from operations.minting import refuse_to_sign_for_a_provider
from operations.project import ROTATION
from operations.stage import Stage, aws_errors

#: For how long tokens live, where the stage does not bound it with JWT_MAX_LIFETIME_SECONDS.
TOKEN_LIFETIME = 24 * 3600


def create(stage: Stage) -> list[str]:
    """Make those of the stage's secrets that do not exist, and return their ARNs; Fault where there is none to make.

    The key gets a strong random value. The list of ended sessions, where the stage has one, is empty.
    """
    listed = stage.settings.revocations_secret_id
    wanted = [("JWT_SECRET_ID", stage.settings.secret_id, renewed({}, stage.settings), "JWT key")]
    if listed is not None:
        own_key = stage.settings.jwks_url is None
        wanted = [*(wanted if own_key else []), (revocation.SETTING, listed, revocation.EMPTY, "Ended sessions")]
    made, faults = [], []
    with aws_errors():
        client = stage.client("secretsmanager")
        for setting, name, value, what in wanted:
            if name.startswith("arn:"):
                faults.append(
                    f"{setting} of stage {stage.name} is an ARN: name the secret by its name to create it here."
                )
                continue
            try:
                answer = client.create_secret(Name=name, SecretString=value, Description=f"{what}, stage {stage.name}")
            except client.exceptions.ResourceExistsException:
                faults.append(
                    f"The secret {name} exists already and was left as it is: see manage.py secret status"
                    f" --stage {stage.name}."
                )
            else:
                made.append(str(answer["ARN"]))
    if not made:
        raise Fault(faults[0])
    return made


def status(stage: Stage) -> list[list[str]]:
    """Return a header, then a row a version, newest first: id, labels, when it was made, how long ago."""
    now = datetime.now(UTC)
    rows = [["Version", "Labels", "Made", "Age"]]
    for version in _versions(stage):
        made = version["CreatedDate"].astimezone(UTC)
        labels = " ".join(sorted(version.get("VersionStages", []))) or "-"
        rows.append([version["VersionId"], labels, made.isoformat(timespec="seconds"), str(now - made).split(".")[0]])
    return rows


def signing_key(stage: Stage) -> tuple[str, str]:
    """Return the current secret and its version id, which is the `kid` of tokens that it signs."""
    refuse_to_sign_for_a_provider(stage.settings)
    answer = _current(stage)
    text, where = field_of(answer, stage.settings), f"Secret {stage.settings.secret_id!r}"
    hmac_keys(text, None, stage.settings.algorithms, where)  # is it strong enough?
    return text, answer["VersionId"]


def rotate(stage: Stage, token_lifetime: int | None, *, force: bool) -> tuple[str, datetime]:
    """Make a new strong value AWSCURRENT; return its version id and when the next rotation ends no valid token.

    The key that is current becomes AWSPREVIOUS, and the one before it stops to verify: Fault while tokens that
    it signed may still be good, unless `force`. `token_lifetime` is in seconds.
    """
    lifetime = token_lifetime or stage.settings.max_lifetime or TOKEN_LIFETIME
    labelled = {label: version for version in _versions(stage) for label in version.get("VersionStages", [])}
    # The key before the current one signed until the current one came.
    safe = labelled["AWSCURRENT"]["CreatedDate"].astimezone(UTC) + timedelta(seconds=lifetime)
    if "AWSPREVIOUS" in labelled and datetime.now(UTC) < safe and not force:
        raise Fault(
            f"Tokens signed with the previous key may be good until {safe.isoformat(timespec='seconds')}, and another"
            " rotation would end them: wait, give the true --token-lifetime, or use --force."
        )
    with aws_errors():
        made = stage.client("secretsmanager").put_secret_value(
            SecretId=stage.settings.secret_id, SecretString=renewed(_current(stage), stage.settings)
        )
    return made["VersionId"], datetime.now(UTC) + timedelta(seconds=lifetime)


def schedule(stage: Stage) -> str | None:
    """Let Secrets Manager rotate the secret with the deployed function, as JWT_ROTATION_DAYS says; say what was done.

    Nothing is done where it does so already: each time would begin the days again. The next rotation is one that
    was due, never one at once.
    """
    days = stage.settings.rotation_days
    if days is None:
        return None
    with aws_errors():
        client, functions = stage.client("secretsmanager"), stage.client("lambda")
        function = functions.get_function_configuration(FunctionName=stage.function_name(ROTATION))["FunctionArn"]
        now = client.describe_secret(SecretId=stage.settings.secret_id)
        if _rotates_with(now, function) and now.get("RotationRules", {}).get("AutomaticallyAfterDays") == days:
            return f"every {days} days, as before"
        with suppress(functions.exceptions.ResourceConflictException):  # it was given before
            functions.add_permission(
                FunctionName=function,
                StatementId="secrets-manager-rotates",
                Action="lambda:InvokeFunction",
                Principal="secretsmanager.amazonaws.com",
                SourceAccount=function.split(":")[4],
            )
        client.rotate_secret(
            SecretId=stage.settings.secret_id,
            RotationLambdaARN=function,
            RotationRules={"AutomaticallyAfterDays": days},
            RotateImmediately=False,
        )
    return f"every {days} days from now on, with {function}"


def unschedule(stage: Stage) -> str | None:
    """Cancel the rotation that this stage was deployed with, unless its secret is still to be rotated.

    Before the deployment, which takes the function away: from then on Secrets Manager would call what is not there.
    Which secret it is says the deployed function, for the settings may name another one by now, or a provider.
    """
    with aws_errors():
        client, functions = stage.client("secretsmanager"), stage.client("lambda")
        try:
            deployed = functions.get_function_configuration(FunctionName=stage.function_name(ROTATION))
        except functions.exceptions.ResourceNotFoundException:
            return None
        had = deployed.get("Environment", {}).get("Variables", {})
        secret_id = had.get("JWT_SECRET_ID") or from_environment({}).secret_id
        if stage.settings.rotation_days is not None and secret_id == stage.settings.secret_id:
            return None
        try:
            now = client.describe_secret(SecretId=secret_id)
        except client.exceptions.ResourceNotFoundException:
            return None
        if "DeletedDate" in now or not _rotates_with(now, deployed["FunctionArn"]):
            return None
        client.cancel_rotate_secret(SecretId=secret_id)
    return f"cancelled for {secret_id}"


def _rotates_with(described: Mapping[str, Any], function: str) -> bool:
    return bool(described.get("RotationEnabled")) and described.get("RotationLambdaARN") == function


def as_template(stage: Stage) -> dict[str, Any]:
    """Return the schedule as `chalice package --merge-template` takes it; nothing without JWT_ROTATION_DAYS."""
    if stage.settings.rotation_days is None:
        return {}
    function = {"Fn::GetAtt": ["RotateSecret", "Arn"]}  # by Chalice's name for rotate_secret
    permission = {
        "FunctionName": function,
        "Action": "lambda:InvokeFunction",
        "Principal": "secretsmanager.amazonaws.com",
        "SourceAccount": {"Ref": "AWS::AccountId"},
    }
    rotation = {
        "SecretId": stage.settings.secret_id,
        "RotationLambdaARN": function,
        "RotationRules": {"AutomaticallyAfterDays": stage.settings.rotation_days},
        "RotateImmediatelyOnUpdate": False,
    }
    return {
        "RotationPermission": {"Type": "AWS::Lambda::Permission", "Properties": permission},
        "Rotation": {
            "Type": "AWS::SecretsManager::RotationSchedule",
            "DependsOn": "RotationPermission",
            "Properties": rotation,
        },
    }


def _current(stage: Stage) -> dict[str, Any]:
    with aws_errors():
        answer: dict[str, Any] = stage.client("secretsmanager").get_secret_value(SecretId=stage.settings.secret_id)
    return answer


def _versions(stage: Stage) -> list[dict[str, Any]]:
    """Return the secret's versions, newest first."""
    with aws_errors():
        # One page holds 100 versions, and Secrets Manager drops the oldest unlabelled ones at about as many.
        answer = stage.client("secretsmanager").list_secret_version_ids(
            SecretId=stage.settings.secret_id, IncludeDeprecated=True, MaxResults=100
        )
    return sorted(answer["Versions"], key=lambda version: version["CreatedDate"], reverse=True)
