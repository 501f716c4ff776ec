"""HTTP with bounds: on the time for all, and on the size of an answer. No proxy, no redirect."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult

#: Seconds: to connect and to shake hands; for each read.
CONNECT_TIMEOUT, READ_TIMEOUT = 1.0, 2.0


class AnswerTooLarge(http.client.HTTPException):
    """The answer has more bytes than it may have."""


class Connection:
    """A connection that is made when it is needed, and again after it failed. `trusted` None: without TLS."""

    def __init__(self, url: SplitResult, trusted: ssl.SSLContext | None, seconds: float, most_bytes: int) -> None:
        self._url, self._trusted, self._most_bytes = url, trusted, most_bytes
        self._end = time.monotonic() + seconds
        self._http: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def left(self) -> float:
        """Return the seconds until the end; raise TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def exchange(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request; return status and body. OSError, HTTPException or ValueError if there is no whole answer."""
        # A socket's own timeout starts again with each byte, so a slow server could hold the caller for long.
        watch = threading.Timer(self.left(), self._shut)
        watch.start()
        try:
            self._http = self._http or self._connected()
            target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            self._http.request(method, target, body, dict(headers))
            response = self._http.getresponse()
            content = response.read(self._most_bytes + 1)
            if len(content) > self._most_bytes:
                raise AnswerTooLarge
            if response.length != 0 and not response.chunked:  # http.client does not mind what is cut off
                raise http.client.IncompleteRead(b"")
            if response.will_close:
                self.close()
            return response.status, content
        except BaseException:
            self.close()
            raise
        finally:
            watch.cancel()
            watch.join()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or (80 if self._trusted is None else 443)
        made = self._socket = socket.create_connection((host, port), min(CONNECT_TIMEOUT, self.left()))
        if self._trusted is not None:
            secured = self._trusted.wrap_socket(made, server_hostname=host, do_handshake_on_connect=False)
            made = self._socket = secured  # before the handshake, so that `_shut` reaches it
            secured.do_handshake()
        made.settimeout(READ_TIMEOUT)
        connection = http.client.HTTPConnection(host, port)
        connection.sock, connection.auto_open = made, 0
        return connection

    def _shut(self) -> None:
        with suppress(OSError):
            if self._socket is not None:
                # Not SSLSocket's own, after which it would read without TLS.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        for opened in (self._http, self._socket):
            if opened is not None:
                opened.close()
        self._http = self._socket = None
