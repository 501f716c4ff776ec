"""Keys out of an identity provider's JSON Web Key Set (RFC 7517)."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import has_crypto

from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys.http_exchange import connected, exchange, json_object
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
    url, algorithms = urlsplit(settings.jwks_url or ""), settings.algorithms
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        trusted = ssl.create_default_context() if url.scheme == "https" else None  # http is for loopback alone
        with connected(url, trusted, SECONDS) as connection:
            status, body = exchange(connection, "GET", target, {"Accept": "application/json"}, MAX_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        # Without the URL, which may hold credentials.
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched ({type(error).__name__}): check it.") from None
    if status != 200:
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched (HTTP {status}): check it.")
    listed = json_object(body).get("keys")
    keys = [key for jwk in listed for key in _keys(jwk, algorithms)] if isinstance(listed, list) else []
    if not keys:
        raise KeysUnavailable(f"JWT_JWKS_URL has no key for JWT_ALGORITHMS ({', '.join(algorithms)}): check both.")
    return keys


def _keys(jwk: object, algorithms: Sequence[str]) -> Iterator[Key]:
    """Yield a key for each algorithm that this one is for; nothing for a key that no verifier should use."""
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
