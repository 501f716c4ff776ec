"""The smoke test's rows, against a server of our own: every wrong answer and every missing one is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from operations import smoke
from tests.guard.test_local_http import free_port

TOKENS = {"user": "u.s.er", "admin": "a.d.min", "spoiled": "s.poil.ed"}
RIGHT = {
    ("GET", "u.s.er"): 200,
    ("POST", "u.s.er"): 403,
    ("GET", "a.d.min"): 200,
    ("POST", "a.d.min"): 200,
    ("GET", None): 401,
    ("GET", "s.poil.ed"): 401,
}
Serve = Callable[[dict[Any, int]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(answers: dict[Any, int]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = answers[self.command, self.headers.get("Authorization")]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = answer  # noqa: N815  # names that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/x"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_right_api_makes_every_row_hold(serve: Serve) -> None:
    rows = list(smoke.rows(serve(RIGHT), TOKENS))
    assert len(rows) == 6
    assert all(row.right and smoke.line(row).endswith("  ok") for row in rows)


@pytest.mark.parametrize("wrong", [200, 302, 404, 500])
@pytest.mark.parametrize("spoiled", [("POST", "u.s.er"), ("GET", None), ("GET", "s.poil.ed")], ids=str)
def test_one_wrong_answer_is_one_wrong_row_and_a_redirect_is_not_followed(
    serve: Serve, spoiled: Any, wrong: int
) -> None:
    (row,) = (row for row in smoke.rows(serve({**RIGHT, spoiled: wrong}), TOKENS) if not row.right)
    assert row.got == wrong
    assert smoke.line(row).endswith("WRONG")


def test_no_answer_is_a_wrong_row_that_says_why_and_the_last() -> None:
    (row,) = smoke.rows(f"http://127.0.0.1:{free_port()}/x", TOKENS)
    assert not row.right
    assert "WRONG: [Errno" in smoke.line(row)


def test_a_token_that_no_header_takes_is_told_without_it(serve: Serve) -> None:
    (row,) = smoke.rows(serve(RIGHT), {**TOKENS, "user": "u.s\ner"})
    assert "cannot be sent" in smoke.line(row)
    assert "u.s" not in smoke.line(row)
