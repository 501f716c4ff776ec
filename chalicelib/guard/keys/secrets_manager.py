"""Keys out of AWS Secrets Manager: a field of a JSON secret. A key's name is the id of the secret's version."""

import json
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jwt

from chalicelib.guard.decision import KeysUnavailable, described
from chalicelib.guard.keys import secrets_http
from chalicelib.guard.keys.http_exchange import json_object
from chalicelib.guard.revocations import Revocations, parse
from chalicelib.guard.settings import ENVIRONMENT, HOW_TO_MAKE_ONE, SECRET_BYTES, Settings
from chalicelib.guard.tokens import Key

#: Random bytes in a new secret: as many as HS512 can use.
RANDOM_BYTES = 64


def fetch(settings: Settings, notes: list[str]) -> list[Key]:
    """Return the keys of AWSCURRENT and, unless the settings refuse it, of AWSPREVIOUS; or raise KeysUnavailable."""
    labels = ("AWSCURRENT", "AWSPREVIOUS") if settings.accept_previous_key else ("AWSCURRENT",)
    answers = _answers(settings.secret_id, labels, notes)
    keys, previous = keys_of(answers["AWSCURRENT"], settings), answers.get("AWSPREVIOUS")
    try:  # it is not found where the secret was never rotated
        keys += [] if previous in (None, "ResourceNotFoundException") else keys_of(previous, settings)
    except Exception as error:  # noqa: BLE001  # the old key is a courtesy: whatever it is, the new one verifies
        notes.append(f"The previous version is left out: {described(error)}")
    return keys


def keys_of(answer: Mapping[str, Any] | str, settings: Settings) -> list[Key]:
    """Return the keys that one answer to GetSecretValue makes; KeysUnavailable if it makes none."""
    got, where = _got(answer, settings.secret_id), f"Secret {settings.secret_id!r}"
    return hmac_keys(field_of(got, settings), got["VersionId"], settings.algorithms, where)


def revocations(settings: Settings, notes: list[str]) -> Revocations:
    """Return the list that the settings name; KeysUnavailable if it cannot be read."""
    if (secret_id := settings.revocations_secret_id) is None:
        return Revocations()
    answer = _got(_answers(secret_id, ("AWSCURRENT",), notes)["AWSCURRENT"], secret_id)
    try:
        return parse(answer.get("SecretString", ""))
    except (ValueError, RecursionError):  # without it nobody knows whom to refuse
        fix = "manage.py secret create makes one"
        raise KeysUnavailable(f"Secret {secret_id!r} is no list of revocations: {fix}.") from None


def _got(answer: Mapping[str, Any] | str, secret_id: str) -> Mapping[str, Any]:
    if isinstance(answer, str):
        fix = "check that it exists here, the role's permissions and the credentials; locally, set AUTHORIZER_SECRET"
        raise KeysUnavailable(f"Secret {secret_id!r} cannot be read ({answer}): {fix}.")
    return answer


def _answers(secret_id: str, labels: Sequence[str], notes: list[str]) -> Mapping[str, Mapping[str, Any] | str]:
    if "AWS_LAMBDA_FUNCTION_NAME" in ENVIRONMENT:
        try:
            return secrets_http.get_secret_values(secret_id, labels, ENVIRONMENT)
        except secrets_http.Unsupported as error:
            notes.append(f"Secrets Manager is asked by way of the AWS SDK, which starts slower: {error}")
    # Imported here: most of what uses the engine needs no AWS client.
    from botocore.exceptions import BotoCoreError, ClientError

    answers: dict[str, Mapping[str, Any] | str] = {}
    for label in labels:
        try:
            answers[label] = client().get_secret_value(SecretId=secret_id, VersionStage=label)
        except (ClientError, BotoCoreError) as error:
            answered = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
            answers[label] = str(answered.get("Code", type(error).__name__))
            if label == "AWSCURRENT":
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
    secret = json_object(answer.get("SecretString")).get(settings.secret_field)
    if not isinstance(secret, str):
        form = f'{{"{settings.secret_field}": "..."}}'
        raise KeysUnavailable(f"Secret {settings.secret_id!r} is not of the form {form}: put a value of that form.")
    return secret


def renewed(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the next version's text: a strong random value in the field, all else as it was; or KeysUnavailable."""
    if answer:  # an empty one makes a first version; a secret of another form is somebody else's
        field_of(answer, settings)
    made = {settings.secret_field: secrets.token_urlsafe(RANDOM_BYTES)}
    return json.dumps(json_object(answer.get("SecretString")) | made)
