"""The stage's secret in AWS Secrets Manager. Its value is never printed."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime

from chalicelib import keys
from operations.fault import Fault
from operations.stage import Stage, aws_errors

#: Random bytes in a new secret: the most that a key of HS512 can use.
RANDOM_BYTES = 64


def create(stage: Stage) -> str:
    """Make the secret with a strong random value and return its ARN; Fault where there is one already."""
    name = stage.settings.secret_id
    if name.startswith("arn:"):
        raise Fault(f"JWT_SECRET_ID of stage {stage.name} is an ARN: name the secret by its name to create it here.")
    value = json.dumps({stage.settings.secret_field: secrets.token_urlsafe(RANDOM_BYTES)})
    with aws_errors():
        client = stage.client("secretsmanager")
        try:
            made = client.create_secret(Name=name, SecretString=value, Description=f"JWT key, stage {stage.name}")
        except client.exceptions.ResourceExistsException:
            raise Fault(
                f"The secret {name} exists already and was left as it is: see manage.py secret status"
                f" --stage {stage.name}."
            ) from None
    return str(made["ARN"])


def status(stage: Stage) -> list[list[str]]:
    """Return a header, then a row a version, newest first: id, labels, when it was made, how long ago."""
    with aws_errors():
        # One page holds 100 versions, and Secrets Manager drops the oldest unlabelled ones at about as many.
        answer = stage.client("secretsmanager").list_secret_version_ids(
            SecretId=stage.settings.secret_id, IncludeDeprecated=True, MaxResults=100
        )
    now = datetime.now(UTC)
    rows = [["Version", "Labels", "Made", "Age"]]
    for version in sorted(answer["Versions"], key=lambda found: found["CreatedDate"], reverse=True):
        made = version["CreatedDate"].astimezone(UTC)
        labels = " ".join(sorted(version.get("VersionStages", []))) or "-"
        rows.append([version["VersionId"], labels, made.isoformat(timespec="seconds"), str(now - made).split(".")[0]])
    return rows


def signing_key(stage: Stage) -> tuple[str, str]:
    """Return the current secret and its version id, which is the `kid` of tokens that it signs."""
    with aws_errors():
        answer = stage.client("secretsmanager").get_secret_value(SecretId=stage.settings.secret_id)
    return keys.secret_text(answer, stage.settings), answer["VersionId"]
