"""A secret's text: the JSON that Secrets Manager keeps, and the HMAC keys that are made of its field."""

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import jwt

from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.settings import HOW_TO_MAKE_ONE, SECRET_BYTES, Settings
from chalicelib.guard.tokens import Key

#: Random bytes in a new secret: as many as HS512 can use.
RANDOM_BYTES = 64


def hmac_keys(secret: str, key_id: str | None, algorithms: Sequence[str], where: str) -> list[Key]:
    """Return a key for each algorithm; KeysUnavailable, naming `where`, for a secret that is too weak."""
    # They are tried for any `kid`: with a secret it is a hint, for who signs need not know our versions' ids.
    keys = []
    for algorithm in dict.fromkeys(algorithms):
        try:
            jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(secret.encode(), as_dict=True)
            keys.append(Key(key_id, jwt.PyJWK({**jwk, "alg": algorithm}), any_kid=True))
        except (UnicodeEncodeError, jwt.InvalidKeyError):  # not UTF-8; too short, or what everybody may know
            wanted = f"{SECRET_BYTES[algorithm]} bytes or more for {algorithm} (UTF-8, and not a public key or a JWK)"
            raise KeysUnavailable(f"{where} holds no secret of {wanted}: {HOW_TO_MAKE_ONE}") from None
    return keys


def field_of(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the secret out of an answer to GetSecretValue; KeysUnavailable where it has another form."""
    value, form = _members(answer).get(settings.secret_field), f'{{"{settings.secret_field}": "..."}}'
    if not isinstance(value, str):
        raise KeysUnavailable(f"Secret {settings.secret_id!r} is not of the form {form}: put a value of that form.")
    return value


def renewed(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the next version's text: a strong random value in the field, all else as it was; or KeysUnavailable."""
    if answer:  # an empty one makes a first version; a secret of another form is somebody else's
        field_of(answer, settings)
    return json.dumps({**_members(answer), settings.secret_field: secrets.token_urlsafe(RANDOM_BYTES)})


def _members(answer: Mapping[str, Any]) -> dict[str, Any]:
    with suppress(TypeError, ValueError, RecursionError):
        members = json.loads(answer.get("SecretString", ""))
        return members if isinstance(members, dict) else {}
    return {}
