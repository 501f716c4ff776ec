"""Loopback endpoints: one for HTTP that answers, counts, and breaks on command; one that speaks any bytes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

LOOPBACK = "127.0.0.1"


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}


Answer = Callable[[Request], Reply]


def passing_to(port: int) -> Answer:
    """Answer as another endpoint on loopback does. The Host header stays: the request is signed with it."""

    def answer(request: Request) -> Reply:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body)
            got = connection.getresponse()
            return Reply(got.status, got.read(), {"Content-Type": got.getheader("Content-Type", "")})
        finally:
            connection.close()

    return answer


class Endpoint:
    """Serves `answer` unless it is broken; `requests` counts what came in, and `came` is set by each."""

    def __init__(self, answer: Answer) -> None:
        self._good = self._answer = answer
        self._count = threading.Lock()
        self._held = threading.Event()
        self._pause = 0.0
        self._idle: list[socket.socket] = []
        self.requests = 0
        self.came = threading.Event()
        self._serve(0)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def answers(self, answer: Answer) -> None:
        self._answer = answer

    def holds(self) -> None:
        """From now on take requests and answer none of them until `recover`."""
        held = self._held = threading.Event()

        def answer(_: Request) -> Reply:
            held.wait(30)
            return Reply(503, b"")

        self._answer = answer

    def drips(self) -> None:
        """From now on send a byte each half second, until `recover`."""
        self._held, self._pause = threading.Event(), 0.5

    def refuses_connections(self) -> None:
        self._stop()
        self._idle = [self._bound()]  # bound but not listening: nobody else gets the port, and a connection is refused

    def takes_no_connection(self) -> None:
        """From now on let whoever connects wait: the queue of connections is full, and nobody takes one out."""
        self._stop()
        listening = self._bound()
        listening.listen(0)
        self._idle = [listening]
        for _ in range(2):
            waiting = socket.socket()
            waiting.settimeout(0)
            waiting.connect_ex((LOOPBACK, self.port))
            self._idle.append(waiting)

    def recover(self) -> None:
        self._answer, self._pause = self._good, 0.0
        self._held.set()
        if self._idle:
            self._let_go()
            self._serve(self.port)

    def close(self) -> None:
        self._held.set()
        self._let_go()
        self._stop()

    def _serve(self, port: int) -> None:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with endpoint._count:
                    endpoint.requests += 1
                endpoint.came.set()
                reply = endpoint._answer(Request(self.command, self.path, dict(self.headers.items()), body))
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")  # so that the next request meets what is served by then
                self.end_headers()
                for part in [reply.body] if not endpoint._pause else map(int.to_bytes, reply.body):
                    self.wfile.write(part)
                    endpoint._held.wait(endpoint._pause)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing: the tests read `requests`."""

        self._server = _Server((LOOPBACK, port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _bound(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, self.port))
        return made

    def _let_go(self) -> None:
        for opened in self._idle:
            opened.close()
        self._idle = []


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that ran out of patience has gone away, as it should."""


class Speaker:
    """Sends the parts to whoever connects, a pause before each; `gone` is set when the other end has closed."""

    def __init__(self, parts: Iterable[bytes], pause: float = 0.0) -> None:
        self._parts, self._pause = parts, pause
        self.sent = 0
        self.gone = threading.Event()
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                threading.Thread(target=self._speak, args=(taken,), daemon=True).start()

    def _speak(self, taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            for part in self._parts:
                time.sleep(self._pause)
                taken.sendall(part)
                self.sent += len(part)
            while taken.recv(65536):
                pass
        self.gone.set()
