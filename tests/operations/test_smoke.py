"""The smoke test's rows, against a server of our own: every wrong answer and every missing one is named."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chalicelib.guard.access import Table
from operations import smoke
from operations.minting import tampered
from operations.requests import NO_ROLE, Example, plan
from tests.support.local_server import free_port

TABLE = Table({("GET", "/x"): frozenset({"user", "admin"}), ("POST", "/x"): frozenset({"admin"})})
REQUESTS, _ = plan(TABLE, {("POST", "/x"): Example(body={"key": "value"})})
TOKENS = {"user": "u.s.erer", "admin": "a.d.minn", NO_ROLE: "n.o.body"}
RIGHT = {
    ("GET", TOKENS["user"]): 200,
    ("GET", TOKENS["admin"]): 204,
    ("GET", TOKENS[NO_ROLE]): 403,
    ("GET", None): 401,
    ("GET", tampered(TOKENS["admin"])): 401,
    ("POST", TOKENS["user"]): 403,
    ("POST", TOKENS["admin"]): 201,
    ("POST", None): 401,
    ("POST", tampered(TOKENS["admin"])): 401,
}
Serve = Callable[[dict[Any, int]], str]


@pytest.fixture
def received() -> list[tuple[str, str | None, bytes]]:
    """What the server was asked: method, media type, body."""
    return []


@pytest.fixture
def serve(received: list[tuple[str, str | None, bytes]]) -> Iterator[Serve]:
    servers = []

    def start(answers: dict[Any, int]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received.append((self.command, self.headers.get("Content-Type"), body))
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
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rows(url: str, tokens: dict[str, str] = TOKENS) -> list[smoke.Row]:
    return list(smoke.rows(url, REQUESTS, tokens, {}))


def test_a_right_api_makes_every_row_hold(serve: Serve) -> None:
    found = rows(serve(RIGHT))
    assert len(found) == len(REQUESTS) == len(RIGHT)
    assert all(row.right and row.cells()[-1] == "ok" for row in found)


def test_a_body_goes_with_the_request_that_is_allowed_alone(
    serve: Serve, received: list[tuple[str, str | None, bytes]]
) -> None:
    rows(serve(RIGHT))
    posts = [(media_type, body) for method, media_type, body in received if method == "POST"]
    assert sorted(posts) == [*[("application/json", b"")] * 3, ("application/json", b'{"key": "value"}')]


@pytest.mark.parametrize("wrong", [200, 302, 404, 500])
@pytest.mark.parametrize("which", [("POST", "u.s.erer"), ("GET", None), ("GET", "a.d.AAAA")], ids=str)
def test_one_wrong_answer_is_one_wrong_row_and_no_redirect_is_followed(serve: Serve, which: Any, wrong: int) -> None:
    (row,) = (row for row in rows(serve({**RIGHT, which: wrong})) if not row.right)
    assert row.got == wrong
    assert row.cells()[-1] == "WRONG"


def test_a_refusal_where_a_success_is_due_is_a_wrong_row(serve: Serve) -> None:
    (row,) = (row for row in rows(serve({**RIGHT, ("POST", "a.d.minn"): 403})) if not row.right)
    assert (row.request.who, row.got) == ("admin", 403)


def test_no_answer_is_a_wrong_row_that_says_why_and_the_last() -> None:
    (row,) = rows(f"http://127.0.0.1:{free_port()}")
    assert not row.right
    assert "WRONG: [Errno" in row.cells()[-1]


def test_a_token_that_no_header_takes_is_named_without_it(serve: Serve) -> None:
    (row,) = rows(serve(RIGHT), {**TOKENS, "admin": "a.d\nmin"})
    assert "cannot be sent" in row.cells()[-1]
    assert "a.d" not in " ".join(row.cells())


def test_lines_are_in_columns_and_hold_no_token(serve: Serve) -> None:
    header, *lines = smoke.lines(rows(serve(RIGHT)), REQUESTS)
    assert header.split() == ["Request", "Caller", "Due", "Got", "ms"]
    at = header.index("Due")
    assert [line[at : at + 3] for line in lines] == [request.due.value for request in REQUESTS]
    assert not any(token in line for line in lines for token in TOKENS.values())
