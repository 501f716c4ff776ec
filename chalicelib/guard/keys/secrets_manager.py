"""Keys out of AWS Secrets Manager: a field of a JSON secret. A key's name is the id of the secret's version."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib.guard import revocations as ended
from chalicelib.guard.keys import secrets_http
from chalicelib.guard.keys.cache import KeysUnavailable, described
from chalicelib.guard.keys.secret import field_of, hmac_keys
from chalicelib.guard.keys.secrets_http import CallFailed
from chalicelib.guard.settings import Settings, environment, function_name
from chalicelib.guard.tokens import Key


def fetch(settings: Settings, notes: list[str]) -> list[Key]:
    """Return the keys of AWSCURRENT and, unless the settings refuse it, of AWSPREVIOUS; or raise KeysUnavailable."""
    labels = ("AWSCURRENT", "AWSPREVIOUS") if settings.accept_previous_key else ("AWSCURRENT",)
    answers = _answers(settings.secret_id, labels, notes)
    keys, previous = keys_of(answers["AWSCURRENT"], settings), answers.get("AWSPREVIOUS")
    if previous is None or (isinstance(previous, CallFailed) and previous.code == "ResourceNotFoundException"):
        return keys  # it was never rotated
    try:
        return keys + keys_of(previous, settings)
    except Exception as error:  # noqa: BLE001  # the old key is a courtesy: whatever it is, the new one verifies
        notes.append(f"The previous version is left out: {described(error)}")
        return keys


def keys_of(answer: Mapping[str, Any] | CallFailed, settings: Settings) -> list[Key]:
    """Return the keys that one answer to GetSecretValue makes; KeysUnavailable if it makes none."""
    got = _got(answer, settings.secret_id)
    algorithms = settings.requirements.algorithms
    return hmac_keys(field_of(got, settings), got["VersionId"], algorithms, f"Secret {settings.secret_id!r}")


def revocations(secret_id: str, notes: list[str]) -> ended.Revocations:
    """Return the list in this secret; KeysUnavailable if it cannot be read: without it nobody knows whom to refuse."""
    answer = _got(_answers(secret_id, ("AWSCURRENT",), notes)["AWSCURRENT"], secret_id)
    try:
        return ended.parse(answer.get("SecretString", ""))
    except (KeyError, ValueError, RecursionError):
        raise KeysUnavailable(f"Secret {secret_id!r} is no list of revocations: manage.py revoke makes one.") from None


def _got(answer: Mapping[str, Any] | CallFailed, secret_id: str) -> Mapping[str, Any]:
    if isinstance(answer, CallFailed):
        raise KeysUnavailable(
            f"Secret {secret_id!r} cannot be read ({answer.code}): check that it exists in this account and Region,"
            " that the role may read it, and that there are AWS credentials; for local use set AUTHORIZER_SECRET."
        )
    return answer


def _answers(secret_id: str, labels: Sequence[str], notes: list[str]) -> dict[str, dict[str, Any] | CallFailed]:
    if function_name() is not None:
        try:
            return secrets_http.get_secret_values(secret_id, labels, environment())
        except secrets_http.Unsupported as error:
            notes.append(f"Secrets Manager is asked by way of the AWS SDK, which starts slower: {error}")
    # Imported here: most of what uses the engine needs no AWS client.
    from botocore.exceptions import BotoCoreError, ClientError

    answers: dict[str, dict[str, Any] | CallFailed] = {}
    for label in labels:
        try:
            answers[label] = client().get_secret_value(SecretId=secret_id, VersionStage=label)
        except ClientError as error:
            answers[label] = CallFailed(error.response.get("Error", {}).get("Code", "unknown error"))
        except BotoCoreError as error:
            answers[label] = CallFailed(type(error).__name__)
        if label == "AWSCURRENT" and isinstance(answers[label], CallFailed):
            break  # without it the others are of no use
    return answers


@cache
def client() -> Any:
    """Return botocore's client of Secrets Manager; boto3 adds nothing to it but its own imports."""
    from botocore.config import Config
    from botocore.session import Session

    # A caller waits while this runs, and API Gateway waits for 29 s at most: fail early, and try twice.
    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
    return Session().create_client("secretsmanager", config=config)
