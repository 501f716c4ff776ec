"""A secret's text: the JSON that Secrets Manager keeps, and the HMAC keys that are made of its field."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.settings import HOW_TO_MAKE_ONE, SECRET_BYTES, Settings
from chalicelib.guard.tokens import Key

#: Random bytes in a new secret: as many as HS512 can use.
RANDOM_BYTES = 64


def hmac_keys(secret: str, key_id: str | None, algorithms: Sequence[str], where: str) -> list[Key]:
    """Return a key for each algorithm; KeysUnavailable, naming `where`, for a secret that is too weak.

    They are tried for any `kid`: with a secret it is a hint, for who signs need not know our versions' ids.
    """
    try:
        octets = secret.encode()
    except UnicodeEncodeError:
        raise KeysUnavailable(f"{where} is not text in UTF-8: {HOW_TO_MAKE_ONE}") from None
    keys = []
    for algorithm in dict.fromkeys(algorithms):
        least = SECRET_BYTES[algorithm]
        if len(octets) < least:
            raise KeysUnavailable(
                f"{where} holds fewer than the {least} bytes that {algorithm} needs: {HOW_TO_MAKE_ONE}"
            )
        hmac = jwt.get_algorithm_by_name(algorithm)
        try:
            keys.append(Key(key_id, jwt.PyJWK({**hmac.to_jwk(octets, as_dict=True), "alg": algorithm}), any_kid=True))
        except jwt.InvalidKeyError:  # HMAC takes neither a public key nor a JWK, which everybody may know
            raise KeysUnavailable(f"{where} holds a public key or a JWK, not a secret: {HOW_TO_MAKE_ONE}") from None
    return keys


def field_of(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the secret out of an answer to GetSecretValue; KeysUnavailable where it has another form."""
    value = _members(answer).get(settings.secret_field)
    if not isinstance(value, str):
        form = f'{{"{settings.secret_field}": "..."}}'
        raise KeysUnavailable(f"Secret {settings.secret_id!r} is not of the form {form}: put a value of that form.")
    return value


def renewed(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the text of the next version: a strong random value in the field, all other fields as they were.

    An empty `answer` makes a first version; KeysUnavailable for a secret of another form, which is somebody else's.
    """
    if answer:
        field_of(answer, settings)
    return json.dumps({**_members(answer), settings.secret_field: secrets.token_urlsafe(RANDOM_BYTES)})


def _members(answer: Mapping[str, Any]) -> dict[str, Any]:
    try:
        members = json.loads(answer.get("SecretString", ""))
    except (TypeError, ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
