"""HTTP with bounds: on the time for all, and on the size of an answer. No proxy, no redirect."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult

#: Seconds: to connect, to shake hands, and for each read.
CONNECT_TIMEOUT, READ_TIMEOUT = 1.0, 2.0


class AnswerTooLarge(http.client.HTTPException):
    """The answer has more bytes than it may have."""


@contextmanager
def connected(url: SplitResult, trusted: ssl.SSLContext | None, seconds: float) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection that ends after so many seconds, however slowly bytes come. `trusted` None: without TLS."""
    made = http.client.HTTPConnection(url.hostname or "", url.port or (80 if trusted is None else 443))
    made.auto_open = 0

    def shut() -> None:
        with suppress(OSError, TypeError):  # not SSLSocket's own, after which it would read without TLS
            socket.socket.shutdown(made.sock, socket.SHUT_RDWR)

    # A socket's own timeout starts again with each byte, so a slow server could hold the caller for long.
    watch = threading.Timer(seconds, shut)
    try:
        made.sock = socket.create_connection((made.host, made.port), min(CONNECT_TIMEOUT, seconds))
        watch.start()
        if trusted is not None:
            # The handshake comes after, so that `shut` reaches it.
            made.sock = trusted.wrap_socket(made.sock, server_hostname=made.host, do_handshake_on_connect=False)
            made.sock.do_handshake()
        made.sock.settimeout(READ_TIMEOUT)
        yield made
    finally:
        watch.cancel()
        made.close()


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    most_bytes: int,
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """Send a request; return status and body. OSError, HTTPException or ValueError if there is no whole answer."""
    connection.request(method, target, body, dict(headers))
    response = connection.getresponse()
    content = response.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise AnswerTooLarge
    if response.length != 0 and not response.chunked:  # http.client does not mind what is cut off
        raise http.client.IncompleteRead(b"")
    return response.status, content
