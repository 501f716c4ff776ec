"""Where keys and ended sessions come from, as the settings say, and how long they are kept."""

import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from time import monotonic, perf_counter, time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import has_crypto

from chalicelib.guard import decision_log
from chalicelib.guard.decision import KeysUnavailable, described
from chalicelib.guard.keys import http
from chalicelib.guard.settings import ENVIRONMENT, HOW_TO_MAKE_ONE, SECRET_BYTES, Settings
from chalicelib.guard.tokens import Key

#: How long a failed fetch is not repeated, in seconds: without usable keys, and while older ones are used.
RETRY_AFTER, RETRY_STALE_AFTER = 3.0, 30.0
#: An early refresh comes at most once in so many seconds, so that a flood of forged tokens is no flood of calls.
EARLY_REFRESH_EVERY = 30.0
#: Random bytes in a new secret: as many as HS512 can use.
RANDOM_BYTES = 64
#: In all, while a caller waits. Lambda's timeout would end the environment, and with it the keys at hand.
SECONDS = 4.0
#: Key sets have a few keys of some 500 bytes.
MAX_BYTES = 1024 * 1024
#: The second is RFC 9864's name of the first, for the one curve that providers use. PyJWT knows the first.
ED25519 = ("EdDSA", "Ed25519")

Clocks = Callable[[], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Revocations:
    """Unix seconds: tokens issued up to then are refused, of everyone and by subject."""

    everyone: float = -1
    subjects: Mapping[str, float] = field(default_factory=dict, repr=False)

    def refuse(self, subject: str, issued_at: float | None) -> bool:
        """Whether this token is refused. One without `iat` may have been issued at any time."""
        until = max(self.everyone, self.subjects.get(subject, -1))
        return until >= 0 and (issued_at is None or issued_at <= until)


class KeySet(NamedTuple):
    """Keys that verify, newest first, and whose sessions were ended: fetched `age` seconds ago."""

    keys: Sequence[Key]
    revocations: Revocations = Revocations()
    notes: tuple[str, ...] = ()  # what an operator should know, in our own words
    age: float = 0.0
    failure: str | None = None  # why it could not be refreshed


def fetch(settings: Settings) -> KeySet:
    """Return what verifies now; KeysUnavailable, or an unexpected error, if there is nothing."""
    notes: list[str] = []
    if settings.jwks_url is not None:
        keys = _provider_keys(settings.jwks_url, settings.algorithms)
    elif settings.local_secret is not None:
        keys = hmac_keys(settings.local_secret, None, settings.algorithms, "AUTHORIZER_SECRET")
    else:
        keys = _versions(settings, notes)
    return KeySet(keys, _revocations(settings, notes), tuple(dict.fromkeys(notes)))


class CachedKeys:
    """What `fetch` returns, kept for `ttl` seconds, and for `max_stale` more while `fetch` raises."""

    # `clocks` are the monotonic and the wall-clock time, in seconds.
    def __init__(
        self, fetch: Callable[[], KeySet], ttl: float, max_stale: float, clocks: Clocks = lambda: (monotonic(), time())
    ) -> None:
        self._fetch, self._ttl, self._clocks = fetch, ttl, clocks
        self._usable_for = ttl + max_stale
        self._lock, self._elapsed, self._read = threading.Lock(), 0.0, clocks()
        self._kept, self._failure = KeySet(()), ""  # never served: the first request fetches
        self._fetched = self._next_fetch = self._next_early = -float("inf")

    def current(self) -> KeySet:
        """Return the keys; raise KeysUnavailable if there are none, or none that is fresh enough."""
        with self._lock:
            return self._keys(fetch=self._now() >= self._next_fetch)

    def refreshed(self) -> KeySet | None:
        """Return the keys, fetched again for a token that none of them fits; None if that was done just now."""
        with self._lock:
            if self._now() < self._next_early:
                return None
            self._next_early = self._elapsed + EARLY_REFRESH_EVERY
            return self._keys(fetch=True)

    def _now(self) -> float:
        # Seconds since the start, by whichever clock went further at each reading. The monotonic clock may stop while
        # Lambda freezes the environment, and the wall clock may be set back.
        before, self._read = self._read, self._clocks()
        self._elapsed += max(self._read[0] - before[0], self._read[1] - before[1])
        return self._elapsed

    def _keys(self, *, fetch: bool) -> KeySet:
        if fetch:
            began = self._now()  # keys are as old as the question, for an answer may wait in a frozen environment
            since = perf_counter()
            try:
                self._kept, self._failure, self._fetched = self._fetch(), "", began
                self._next_fetch = began + self._ttl
            except Exception as error:  # noqa: BLE001  # whatever it is, usable keys at hand are used
                self._failure, now = described(error), self._now()
                left = self._fetched + self._usable_for - now
                self._next_fetch = now + max(RETRY_AFTER, min(RETRY_STALE_AFTER, left))
            detail = self._failure or " ".join(self._kept.notes)
            took = round((perf_counter() - since) * 1000, 3)
            decision_log.write_keys(detail, refresh_failures=int(self._failure != ""), refresh_ms=took)
        age = (self._now() if fetch else self._elapsed) - self._fetched
        if self._failure and age > self._usable_for:
            raise KeysUnavailable(self._failure)
        return KeySet(*self._kept[:3], age, self._failure or None)


# AWS Secrets Manager: a field of a JSON secret. A key's name is the id of the secret's version.


def _versions(settings: Settings, notes: list[str]) -> list[Key]:
    # Return the keys of AWSCURRENT and, unless the settings refuse it, of AWSPREVIOUS; or raise KeysUnavailable.
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


def _revocations(settings: Settings, notes: list[str]) -> Revocations:
    # Without the list nobody knows whom to refuse.
    if (secret_id := settings.revocations_secret_id) is None:
        return Revocations()
    answer = _got(_answers(secret_id, ("AWSCURRENT",), notes)["AWSCURRENT"], secret_id)
    try:
        return parse(answer.get("SecretString"))
    except ValueError:
        raise KeysUnavailable(f"Secret {secret_id!r} is no revocation list: run manage.py secret create.") from None


def _got(answer: Mapping[str, Any] | str, secret_id: str) -> Mapping[str, Any]:
    if isinstance(answer, str):
        fix = "check that it exists here, the role's permissions and the credentials; locally, set AUTHORIZER_SECRET"
        raise KeysUnavailable(f"Secret {secret_id!r} cannot be read ({answer}): {fix}.")
    return answer


def _answers(secret_id: str, labels: Sequence[str], notes: list[str]) -> Mapping[str, Mapping[str, Any] | str]:
    if "AWS_LAMBDA_FUNCTION_NAME" in ENVIRONMENT:
        try:
            return http.get_secret_values(secret_id, labels, ENVIRONMENT)
        except http.Unsupported as error:
            notes.append(f"Secrets Manager is asked by way of the AWS SDK, which starts slower: {error}")
    # Imported here: most of what uses the engine needs no AWS client.
    from botocore.exceptions import BotoCoreError, ClientError

    answers: dict[str, Mapping[str, Any] | str] = {}
    for label in labels:
        try:
            answers[label] = client().get_secret_value(SecretId=secret_id, VersionStage=label)
        except (ClientError, BotoCoreError) as error:
            answered = error.response["Error"] if isinstance(error, ClientError) else {}
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
    secret = http.json_object(answer.get("SecretString")).get(settings.secret_field)
    if not isinstance(secret, str):
        form = f'{{"{settings.secret_field}": "..."}}'
        raise KeysUnavailable(f"Secret {settings.secret_id!r} is not of the form {form}: put a value of that form.")
    return secret


def renewed(answer: Mapping[str, Any], settings: Settings) -> str:
    """Return the next version's text: a strong random value in the field, all else as it was; or KeysUnavailable."""
    if answer:  # an empty one makes a first version; a secret of another form is somebody else's
        field_of(answer, settings)
    made = {settings.secret_field: secrets.token_urlsafe(RANDOM_BYTES)}
    return json.dumps(http.json_object(answer.get("SecretString")) | made)


def parse(text: object) -> Revocations:
    """Return the list that `manage.py revoke` writes; ValueError for another form."""
    members = http.json_object(text)
    subjects = members.get("subjects")
    times = [members.get("everyone"), *subjects.values()] if isinstance(subjects, dict) else []
    if len(members) != 2 or {type(until) for until in times} != {int}:
        raise ValueError("not a list of revocations")
    return Revocations(**members)


# An identity provider's JSON Web Key Set (RFC 7517).


def _provider_keys(jwks_url: str, algorithms: Sequence[str]) -> list[Key]:
    # Return the provider's keys for the allowed algorithms; KeysUnavailable if there are none.
    if not has_crypto:
        raise KeysUnavailable("JWT_JWKS_URL needs cryptography: add -r requirements/jwks.txt to requirements.txt.")
    url = urlsplit(jwks_url)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        trusted = ssl.create_default_context() if url.scheme == "https" else None  # http is for loopback alone
        with http.connected(url, trusted, SECONDS) as connection:
            status, body = http.exchange(connection, target, {}, MAX_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        # Without the URL, which may hold credentials.
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched ({type(error).__name__}): check it.") from None
    if status != 200:
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched (HTTP {status}): check it.")
    listed = http.json_object(body).get("keys")
    keys = [key for jwk in listed for key in _keys_of_jwk(jwk, algorithms)] if isinstance(listed, list) else []
    if not keys:
        raise KeysUnavailable(f"JWT_JWKS_URL has no key for JWT_ALGORITHMS ({', '.join(algorithms)}): check both.")
    return keys


def _keys_of_jwk(jwk: object, algorithms: Sequence[str]) -> Iterator[Key]:
    # Yield a key for each algorithm that this one is for; nothing for a key that no verifier should use.
    # A private key that everybody can read proves nothing; a symmetric one fits no allowed algorithm.
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if not (isinstance(kid, str | None) and isinstance(operations, list) and "verify" in operations):
        return
    for algorithm in dict.fromkeys(algorithms):
        names = ED25519 if algorithm in ED25519 else (algorithm,)
        if jwk.get("alg", algorithm) in names and (names is not ED25519 or jwk.get("crv") == "Ed25519"):
            with suppress(jwt.PyJWTError):
                made = jwt.PyJWK(jwk, names[0])
                made.algorithm_name = algorithm
                yield Key(kid, made)
