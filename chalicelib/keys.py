"""Where verification keys come from, and how long they are good."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jwt

from chalicelib.settings import HOW_TO_MAKE_ONE, SECRET_BYTES, Settings
from chalicelib.tokens import Key

#: How long a fetched key is used before it is fetched again, in seconds.
TTL = 300.0
#: How long a failed fetch is not repeated, in seconds.
RETRY_AFTER = 3.0


class KeysUnavailable(Exception):
    """No key can be had. The text names the mend and never the secret's value."""


class KeySource(Protocol):
    def keys(self) -> Sequence[Key]:
        """Return the keys that verify now, newest first; raise KeysUnavailable."""


def source(settings: Settings) -> KeySource:
    """Return where these settings say that keys come from."""
    if settings.local_secret is not None:
        return LocalSecret(settings.local_secret, settings.requirements.algorithms)
    return SecretsManager(settings)


def hmac_keys(secret: str, key_id: str | None, algorithms: Sequence[str], where: str) -> list[Key]:
    """Return a key for each algorithm; KeysUnavailable, naming `where`, for a secret that is too weak."""
    octets = secret.encode()
    keys = []
    for algorithm in algorithms:
        least = SECRET_BYTES[algorithm]
        if len(octets) < least:
            raise KeysUnavailable(
                f"{where} holds fewer than the {least} bytes that {algorithm} needs: {HOW_TO_MAKE_ONE}"
            )
        hmac = jwt.get_algorithm_by_name(algorithm)
        try:
            hmac.prepare_key(octets)  # refuses a public key or a JWK, which everybody may know
        except jwt.InvalidKeyError:
            raise KeysUnavailable(f"{where} holds a public key or a JWK, not a secret: {HOW_TO_MAKE_ONE}") from None
        jwk = {**hmac.to_jwk(octets, as_dict=True), "alg": algorithm}
        keys.append(Key(key_id, jwt.PyJWK(jwk)))
    return keys


class LocalSecret:
    """`AUTHORIZER_SECRET`: for `chalice local` and tests. Its key has no name."""

    def __init__(self, secret: str, algorithms: Sequence[str]) -> None:
        self._keys = hmac_keys(secret, None, algorithms, "AUTHORIZER_SECRET")

    def keys(self) -> Sequence[Key]:
        return self._keys


class SecretsManager:
    """A field of a JSON secret in AWS Secrets Manager; a key's name is the id of the secret's version."""

    def __init__(
        self,
        settings: Settings,
        client: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Sequence[Key] = ()
        self._trouble: KeysUnavailable | None = None
        self._next_fetch = -float("inf")

    def keys(self) -> Sequence[Key]:
        with self._lock:
            if self._clock() >= self._next_fetch:
                self._refresh()
            if self._trouble is not None:
                raise self._trouble.with_traceback(None)
            return self._keys

    def _refresh(self) -> None:
        try:
            self._keys, self._trouble = self._fetch(), None
            self._next_fetch = self._clock() + TTL
        except KeysUnavailable as trouble:
            self._keys, self._trouble = (), trouble
            self._next_fetch = self._clock() + RETRY_AFTER

    def _fetch(self) -> Sequence[Key]:
        # Imported here: with a local secret, and in the API function, nobody needs an AWS client.
        from botocore.exceptions import BotoCoreError, ClientError

        name, where = self._settings.secret_id, f"Secret {self._settings.secret_id!r}"
        try:
            self._client = self._client or _client()
            answer = self._client.get_secret_value(SecretId=name)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            raise KeysUnavailable(
                f"{where} cannot be read ({code}): check that it exists in this account and Region, and that"
                " the authorizer's role may read it."
            ) from None
        except BotoCoreError as error:
            raise KeysUnavailable(
                f"{where} cannot be read ({type(error).__name__}): for local use set AUTHORIZER_SECRET;"
                " for Secrets Manager give AWS credentials and a Region."
            ) from None
        value = secret_text(answer, self._settings)
        return hmac_keys(value, answer["VersionId"], self._settings.requirements.algorithms, where)


def secret_text(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the secret out of an answer to GetSecretValue; KeysUnavailable where it has another form."""
    try:
        value = json.loads(answer.get("SecretString", ""))[settings.secret_field]
    except (ValueError, LookupError, TypeError, RecursionError):
        value = None
    if not isinstance(value, str):
        form = f'{{"{settings.secret_field}": "..."}}'
        raise KeysUnavailable(f"Secret {settings.secret_id!r} is not of the form {form}: put a value of that form.")
    return value


def _client() -> Any:
    import boto3
    from botocore.config import Config

    # A caller waits while this runs, and API Gateway waits for 29 s at most: fail early, and try twice.
    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
    return boto3.client("secretsmanager", config=config)
