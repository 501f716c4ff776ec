"""The stage's secret in AWS Secrets Manager. Its value is never printed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.guard.keys.secret import field_of, hmac_keys, renewed
from operations.fault import Fault
from operations.minting import refuse_to_sign_for_a_provider
from operations.stage import ROTATION, Stage, aws_errors

#: For how long tokens live, where the stage does not bound it with JWT_MAX_LIFETIME_SECONDS.
TOKEN_LIFETIME = 24 * 3600


def create(stage: Stage) -> str:
    """Make the secret with a strong random value and return its ARN; Fault where there is one already."""
    name = stage.settings.secret_id
    if name.startswith("arn:"):
        raise Fault(f"JWT_SECRET_ID of stage {stage.name} is an ARN: name the secret by its name to create it here.")
    with aws_errors():
        client = stage.client("secretsmanager")
        try:
            made = client.create_secret(
                Name=name, SecretString=renewed({}, stage.settings), Description=f"JWT key, stage {stage.name}"
            )
        except client.exceptions.ResourceExistsException:
            raise Fault(
                f"The secret {name} exists already and was left as it is: see manage.py secret status"
                f" --stage {stage.name}."
            ) from None
    return str(made["ARN"])


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
    hmac_keys(text, None, stage.settings.requirements.algorithms, where)  # is it strong enough?
    return text, answer["VersionId"]


def rotate(stage: Stage, token_lifetime: int | None, *, force: bool) -> tuple[str, datetime]:
    """Make a new strong value AWSCURRENT; return its version id and when the next rotation ends no valid token.

    The key that is current becomes AWSPREVIOUS, and the one before it stops to verify: Fault while tokens that
    it signed may still be good, unless `force`. `token_lifetime` is in seconds.
    """
    lifetime = token_lifetime or stage.settings.requirements.max_lifetime or TOKEN_LIFETIME
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


def schedule(stage: Stage, days: int) -> str:
    """Let Secrets Manager rotate the secret each so many days with the deployed function; return its ARN."""
    function = stage.function_arn(ROTATION)
    with aws_errors():
        functions, account = stage.client("lambda"), stage.client("sts").get_caller_identity()["Account"]
        with suppress(functions.exceptions.ResourceConflictException):  # it was given before
            functions.add_permission(
                FunctionName=function,
                StatementId="secrets-manager-rotates",
                Action="lambda:InvokeFunction",
                Principal="secretsmanager.amazonaws.com",
                SourceAccount=account,
            )
        stage.client("secretsmanager").rotate_secret(
            SecretId=stage.settings.secret_id,
            RotationLambdaARN=function,
            RotationRules={"AutomaticallyAfterDays": days},
            RotateImmediately=False,
        )
    return function


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
