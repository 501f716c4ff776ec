"""HTTP with bounds: on the time for all, and on the size of an answer. No proxy, no redirect."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import SplitResult

#: Seconds, each: to connect, to shake hands (in all, as Python counts it), for each read.
TIMEOUT = 2.0


class AnswerTooLarge(HTTPException):
    """The answer has more bytes than it may have."""


@contextmanager
def connected(url: SplitResult, trusted: ssl.SSLContext | None, seconds: float) -> Iterator[HTTPConnection]:
    """Yield a connection that ends after so many seconds: TimeoutError, however slowly bytes come."""
    end, host, each = time.monotonic() + seconds, url.hostname or "", min(TIMEOUT, seconds)
    connection = HTTPConnection(host, url.port, each)
    if trusted is not None:
        connection = HTTPSConnection(host, url.port, timeout=each, context=trusted)
    connection.connect()
    opened, connection.auto_open = connection.sock, 0

    def shut() -> None:
        with suppress(OSError):  # not SSLSocket's own, after which it would read without TLS
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    # A socket's own timeout starts again with each byte, so a slow server could hold the caller for long.
    watch = threading.Timer(end - time.monotonic(), shut)
    watch.start()
    try:
        yield connection
    except (OSError, HTTPException) as error:
        raise error if time.monotonic() < end else TimeoutError() from None
    finally:
        watch.cancel()
        connection.close()


def exchange(
    connection: HTTPConnection, method: str, url: str, headers: Mapping[str, str], most: int, body: bytes | None = None
) -> tuple[int, bytes]:
    """Send a request; return status and body. OSError, HTTPException or ValueError if there is no whole answer."""
    connection.request(method, url, body, headers)
    with connection.getresponse() as response:  # else it would keep the socket open until it is collected
        content = b""
        # Not `read`, which takes a chunk of length -1 for all that ever comes.
        while len(content) <= most and (part := response.read1(65536)):
            content += part
        if len(content) > most:
            raise AnswerTooLarge
        if response.length != 0 and not response.chunked:  # http.client does not mind what is cut off
            raise IncompleteRead(b"")
        return response.status, content


def json_object(text: Any) -> dict[str, Any]:
    """Return the members of a JSON object; of all else none."""
    with suppress(TypeError, ValueError, RecursionError):
        members = json.loads(text)
        return members if isinstance(members, dict) else {}
    return {}
