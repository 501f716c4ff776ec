"""Keys out of an identity provider's JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jwt
from jwt.algorithms import has_crypto

from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key

# Seconds, for each answer of the socket and in all; a caller waits meanwhile.
TIMEOUT = 2.0
TIMEOUT_IN_ALL = 4.0


def fetch(settings: Settings) -> list[Key]:
    """Return the provider's keys for the allowed algorithms; KeysUnavailable where none can be had."""
    if not has_crypto:
        raise KeysUnavailable(
            "JWT_JWKS_URL needs the package cryptography, which is not installed: add the line that the README gives"
            " to requirements.txt and deploy again."
        )
    try:
        # Follows no redirect and no scheme but http and https. The cache is ours, so that it outlives an outage.
        client = jwt.PyJWKClient(settings.jwks_url or "", cache_jwk_set=False, timeout=TIMEOUT)
        document = _within(TIMEOUT_IN_ALL, client.fetch_data)
    except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
        # Without the URL, which may hold credentials.
        raise KeysUnavailable(f"JWT_JWKS_URL cannot be fetched ({type(error).__name__}): check it.") from None
    listed = document.get("keys")
    algorithms = settings.requirements.algorithms
    keys = [key for jwk in listed for key in _keys(jwk, algorithms)] if isinstance(listed, list) else []
    if not keys:
        raise KeysUnavailable(
            f"JWT_JWKS_URL holds no key that fits JWT_ALGORITHMS ({', '.join(algorithms)}): check both."
        )
    return keys


def _within(seconds: float, fetch: Callable[[], Any]) -> Any:
    """Return what `fetch` returns, or raise what it raises; TimeoutError after so many seconds.

    A socket's timeout begins anew with each byte. Without this one a provider that sends byte by byte would meet
    Lambda's own timeout, which ends the environment, and with it the older keys that should serve on.
    """
    from concurrent.futures import ThreadPoolExecutor  # here, for HS256 needs no threads at a cold start

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(fetch).result(seconds)
    finally:
        pool.shutdown(wait=False)


def _keys(jwk: object, algorithms: Sequence[str]) -> Iterator[Key]:
    """Yield a key for each algorithm that this one is for; nothing for a key that no verifier should use."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return
    if "d" in jwk:
        return  # a private key that everybody can read proves nothing; a symmetric one fits no allowed algorithm
    kid = jwk.get("kid")
    if not (kid is None or isinstance(kid, str)):
        return
    for algorithm in algorithms:
        if jwk.get("alg", algorithm) != algorithm:
            continue
        try:
            key = Key(kid, jwt.PyJWK(jwk, algorithm))
        except jwt.PyJWTError:
            continue
        yield key
