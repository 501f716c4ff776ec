"""Keys out of an identity provider's JSON Web Key Set (RFC 7517)."""

import http.client
import json
import ssl
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import has_crypto

from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.keys.http_exchange import connected, exchange
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key

#: In all, while a caller waits. Lambda's timeout would end the environment, and with it the keys at hand.
SECONDS = 4.0
#: Key sets have a few keys of some 500 bytes.
MAX_BYTES = 1024 * 1024
#: The second is RFC 9864's name of the first, for the one curve that providers use. PyJWT knows the first.
ED25519 = ("EdDSA", "Ed25519")


def fetch(settings: Settings) -> list[Key]:
    """Return the provider's keys for the allowed algorithms; KeysUnavailable if there are none."""
    if not has_crypto:
        raise KeysUnavailable("JWT_JWKS_URL needs cryptography: add -r requirements/jwks.txt to requirements.txt.")
    try:
        document = json.loads(_body(settings.jwks_url or ""))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        # Without the URL, which may hold credentials.
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched ({type(error).__name__}): check it.") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    algorithms = settings.requirements.algorithms
    keys = [key for jwk in listed for key in _keys(jwk, algorithms)] if isinstance(listed, list) else []
    if not keys:
        raise KeysUnavailable(
            f"JWT_JWKS_URL holds no key that fits JWT_ALGORITHMS ({', '.join(algorithms)}): check both."
        )
    return keys


def _body(url: str) -> bytes:
    parts = urlsplit(url)
    trusted = ssl.create_default_context() if parts.scheme == "https" else None  # http is for loopback alone
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with connected(parts, trusted, SECONDS) as connection:
        status, body = exchange(connection, "GET", target, {"Accept": "application/json"}, MAX_BYTES)
    if status != 200:
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched (HTTP {status}): check it.")
    return body


def _keys(jwk: object, algorithms: Sequence[str]) -> Iterator[Key]:
    """Yield a key for each algorithm that this one is for; nothing for a key that no verifier should use."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return
    operations = jwk.get("key_ops", ["verify"])
    if not (isinstance(operations, list) and "verify" in operations):
        return
    if "d" in jwk:
        return  # a private key that everybody can read proves nothing; a symmetric one fits no allowed algorithm
    kid = jwk.get("kid")
    if not (kid is None or isinstance(kid, str)):
        return
    for algorithm in dict.fromkeys(algorithms):
        names = ED25519 if algorithm in ED25519 else (algorithm,)
        if jwk.get("alg", algorithm) not in names or (names is ED25519 and jwk.get("crv") != "Ed25519"):
            continue
        try:
            made = jwt.PyJWK(jwk, names[0])
            made.algorithm_name = algorithm
            key = Key(kid, made)
        except jwt.PyJWTError:
            continue
        yield key
