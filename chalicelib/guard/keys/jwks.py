"""Keys out of an identity provider's JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import has_crypto

from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key

# Seconds, for each answer of the socket and in all; a caller waits meanwhile.
TIMEOUT = 2.0
TIMEOUT_IN_ALL = 4.0
#: For an answer with its headers. Key sets have a few keys of some 500 bytes.
MAX_BYTES = 1024 * 1024
#: The second is RFC 9864's name of the first, for the one curve that providers use. PyJWT knows the first.
ED25519 = ("EdDSA", "Ed25519")


def fetch(settings: Settings) -> list[Key]:
    """Return the provider's keys for the allowed algorithms; KeysUnavailable if there are none."""
    if not has_crypto:
        raise KeysUnavailable(
            "JWT_JWKS_URL needs the package cryptography, which is not installed: add the line that the README gives"
            " to requirements.txt and deploy again."
        )
    try:
        document = json.loads(_within(TIMEOUT_IN_ALL, lambda deadline: _body(settings.jwks_url or "", deadline)))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise _cannot(type(error).__name__) from None
    listed = document.get("keys") if isinstance(document, dict) else None
    algorithms = settings.requirements.algorithms
    keys = [key for jwk in listed for key in _keys(jwk, algorithms)] if isinstance(listed, list) else []
    if not keys:
        raise KeysUnavailable(
            f"JWT_JWKS_URL holds no key that fits JWT_ALGORITHMS ({', '.join(algorithms)}): check both."
        )
    return keys


def _cannot(why: str) -> KeysUnavailable:
    # Without the URL, which may hold credentials.
    return KeysUnavailable(f"JWT_JWKS_URL cannot be fetched ({why}): check it.")


def _within(seconds: float, fetch: Callable[[float], bytes]) -> bytes:
    """Return what `fetch` returns when it is given its deadline; TimeoutError where it has not returned by then.

    It keeps to the deadline itself, but for the resolver, which has a timeout of its own. Lambda's timeout would end
    the environment, and with it the older keys that should serve on.
    """
    from concurrent.futures import ThreadPoolExecutor  # here, for HS256 needs no threads at a cold start

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(fetch, time.monotonic() + seconds).result(seconds)
    finally:
        pool.shutdown(wait=False)


def _body(url: str, deadline: float) -> bytes:
    """Return what the URL's host itself answers: no proxy, no redirect. The connection is closed then."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "http":  # for loopback alone, as the settings allow
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=TIMEOUT)
    else:
        trusted = ssl.create_default_context()  # it verifies the certificate, and that it is this host's
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=TIMEOUT, context=trusted)
    with closing(connection):
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json", "User-Agent": "api-guard"})
        # Of a socket it uses makefile alone.
        response = http.client.HTTPResponse(_Bounded(connection.sock, deadline), method="GET")  # type: ignore[arg-type]
        response.begin()
        if response.status != 200:
            raise _cannot(f"HTTP {response.status}")
        return response.read(MAX_BYTES)


class _Bounded(io.RawIOBase):
    """What a socket receives: MAX_BYTES at most, until a deadline. A socket's timeout starts again with each byte."""

    def __init__(self, source: socket.socket, deadline: float) -> None:
        self._source, self._deadline, self._room = source, deadline, MAX_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._source.settimeout(min(TIMEOUT, left))
        count = self._source.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise _cannot(f"more than {MAX_BYTES} bytes")
        return count


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
