"""Keys out of AWS Secrets Manager: a field of a JSON secret. A key's name is the id of the secret's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib.guard import decision_log
from chalicelib.guard.keys.cache import KeysUnavailable, described
from chalicelib.guard.keys.secret import field_of, hmac_keys
from chalicelib.guard.settings import Settings, function_name
from chalicelib.guard.tokens import Key


class CallFailed(Exception):
    """No answer. `code` is AWS's, or the name of what failed; nothing else is in it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fetch(settings: Settings) -> list[Key]:
    """Return the keys of AWSCURRENT and, unless the settings refuse it, of AWSPREVIOUS; or raise KeysUnavailable."""
    labels = ("AWSCURRENT", "AWSPREVIOUS") if settings.accept_previous_key else ("AWSCURRENT",)
    answers = _answers(settings.secret_id, labels)
    keys, previous = keys_of(answers["AWSCURRENT"], settings), answers.get("AWSPREVIOUS")
    if previous is None or (isinstance(previous, CallFailed) and previous.code == "ResourceNotFoundException"):
        return keys  # it was never rotated
    try:
        return keys + keys_of(previous, settings)
    except Exception as error:  # noqa: BLE001  # the old key is a courtesy: whatever it is, the new one verifies
        decision_log.note(f"The previous version is left out: {described(error)}")
        return keys


def keys_of(answer: Mapping[str, Any] | CallFailed, settings: Settings) -> list[Key]:
    """Return the keys that one answer to GetSecretValue makes; KeysUnavailable where it makes none."""
    where = f"Secret {settings.secret_id!r}"
    if isinstance(answer, CallFailed):
        raise KeysUnavailable(
            f"{where} cannot be read ({answer.code}): check that it exists in this account and Region, that the"
            " authorizer's role may read it, and that there are AWS credentials; for local use set AUTHORIZER_SECRET."
        )
    return hmac_keys(field_of(answer, settings), answer["VersionId"], settings.requirements.algorithms, where)


def _answers(secret_id: str, labels: Sequence[str]) -> dict[str, dict[str, Any] | CallFailed]:
    """Return for each label GetSecretValue's answer, or why there is none."""
    # Imported here: with a local secret, and in the API function, nobody needs an AWS client.
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
            break  # nothing to wait for: without it the others are of no use
    return answers


@cache
def client() -> Any:
    # Of a cold start most is this. botocore alone, for boto3 adds nothing to it but its own imports.
    from botocore.config import Config
    from botocore.session import Session

    # A caller waits while this runs, and API Gateway waits for 29 s at most: fail early, and try twice.
    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
    session = Session()
    if function_name() is not None:
        # botocore lists its four hundred services, twice, to see that this one is there: half of the time it takes.
        # Elsewhere credentials may come from another service, such as STS.
        session.get_component("data_loader").list_available_services = lambda _type: ["secretsmanager"]
    return session.create_client("secretsmanager", config=config)
