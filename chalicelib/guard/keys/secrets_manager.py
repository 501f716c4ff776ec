"""Keys out of AWS Secrets Manager: a field of a JSON secret. A key's name is the id of the secret's version."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from chalicelib.guard import decision_log
from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.keys.secret import field_of, hmac_keys
from chalicelib.guard.settings import Settings, function_name
from chalicelib.guard.tokens import Key


def fetch(settings: Settings, note: Callable[[str], None] = decision_log.note) -> list[Key]:
    """Return the keys of AWSCURRENT and, unless the settings refuse it, of AWSPREVIOUS; or raise KeysUnavailable."""
    keys = _version(settings, "AWSCURRENT")
    if not settings.accept_previous_key:
        return keys
    try:
        return keys + _version(settings, "AWSPREVIOUS")
    except _NoSuchVersion:
        return keys  # it was never rotated
    except _Unusable as unusable:
        # A rotation may be the very mend for a weak secret; the old one is no reason to refuse the new one.
        note(f"The previous version is left out: {unusable}")
        return keys


class _NoSuchVersion(KeysUnavailable):
    pass


class _Unusable(KeysUnavailable):
    pass


def _version(settings: Settings, label: str) -> list[Key]:
    # Imported here: with a local secret, and in the API function, nobody needs an AWS client.
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"Secret {settings.secret_id!r}"
    try:
        answer = client().get_secret_value(SecretId=settings.secret_id, VersionStage=label)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown error")
        kind = _NoSuchVersion if code == "ResourceNotFoundException" else KeysUnavailable
        raise kind(
            f"{where} cannot be read ({code}): check that it exists in this account and Region, and that the"
            " authorizer's role may read it."
        ) from None
    except BotoCoreError as error:
        raise KeysUnavailable(
            f"{where} cannot be read ({type(error).__name__}): for local use set AUTHORIZER_SECRET; for Secrets"
            " Manager give AWS credentials and a Region."
        ) from None
    try:
        return hmac_keys(field_of(answer, settings), answer["VersionId"], settings.requirements.algorithms, where)
    except KeysUnavailable as unusable:
        raise _Unusable(str(unusable)) from None


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
