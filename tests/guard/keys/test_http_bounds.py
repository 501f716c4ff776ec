"""An answer is read within a bound of bytes and of time, whatever the other end sends, and nothing is left open."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from chalicelib.guard.keys.http import AnswerTooLarge, connected, exchange
from tests.support.endpoint import Speaker

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MOST = 100_000

Speaking = Callable[..., Speaker]


@pytest.fixture
def speaking() -> Iterator[Speaking]:
    """Have a server that sends these parts, whatever it is asked."""
    with contextlib.ExitStack() as until:

        def make(parts: Iterable[bytes], pause: float = 0.0) -> Speaker:
            made = Speaker(parts, pause)
            until.callback(made.close)
            return made

        yield make


def ask(server: Speaker, seconds: float = 5.0, most: int = MOST) -> tuple[int, bytes]:
    """Ask once; afterwards neither a thread nor a connection is left."""
    threads = {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}
    try:
        with connected(urlsplit(f"http://127.0.0.1:{server.port}/"), None, seconds) as connection:
            return exchange(connection, "/", {"Accept": "text/plain"}, most)
    finally:
        for timer in {one for one in threading.enumerate() if isinstance(one, threading.Timer)} - threads:
            timer.join(1)
            assert not timer.is_alive()
        assert [one for one in psutil.Process().net_connections() if one.raddr and one.raddr.port == server.port] == []


def whole(body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


# Time.

DRIPS = [
    OK + b"Content-Length: 1000000\r\n\r\n",
    OK + b"\r\n",
    CHUNKED + b"100000\r\n",
    CHUNKED + b"-1\r\n",
    CHUNKED,
    OK + b"X-Header: ",
    b"",
]


@pytest.mark.parametrize("start", DRIPS)
def test_a_server_that_sends_byte_by_byte_is_left_at_the_deadline(speaking: Speaking, start: bytes) -> None:
    server = speaking(itertools.chain([start], itertools.repeat(b" ")), 0.05)
    with pytest.raises(TimeoutError):
        ask(server, seconds=0.3)
    assert server.gone.wait(20)
    assert server.sent < len(start) + 100


def test_a_server_that_sends_nothing_is_left_at_the_deadline(speaking: Speaking) -> None:
    server = speaking([])
    with pytest.raises(TimeoutError):
        ask(server, seconds=0.2)
    assert server.gone.wait(20)


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 Continue\r\n\r\n", b"X-Header: 1\r\n"])
def test_headers_without_an_end_are_read_no_further_than_their_bound(speaking: Speaking, line: bytes) -> None:
    start = b"" if line.startswith(b"HTTP") else OK
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        ask(speaking(itertools.chain([start], itertools.repeat(line * 5000))), seconds=0.3)


# Bytes.


@pytest.mark.parametrize(
    "start",
    [
        OK + b"\r\n",
        OK + b"Content-Length: 100000000000000\r\n\r\n",
        CHUNKED + b"fffffffffff\r\n",
        CHUNKED + b"-1\r\n",  # for which http.client's `read` reads all that there is
        CHUNKED + b"-5\r\n",
    ],
)
def test_a_body_without_an_end_is_read_no_further_than_its_bound(speaking: Speaking, start: bytes) -> None:
    server = speaking(itertools.chain([start], itertools.repeat(b" " * 65536)))
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLarge):
            ask(server)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [0, 1, MOST - 1, MOST])
def test_a_body_up_to_its_bound_is_read_whole(speaking: Speaking, length: int) -> None:
    body = b"x" * length
    assert ask(speaking([whole(body)])) == (200, body)
    assert ask(speaking([CHUNKED + (b"%x\r\n%s\r\n" % (length, body) if length else b"") + b"0\r\n\r\n"])) == (
        200,
        body,
    )


@pytest.mark.parametrize("length", [MOST + 1, MOST * 2])
def test_a_body_over_its_bound_is_refused(speaking: Speaking, length: int) -> None:
    body = b"x" * length
    for answer in (whole(body), CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (length, body)):
        with pytest.raises(AnswerTooLarge):
            ask(speaking([answer]))


def test_many_small_chunks_are_one_body(speaking: Speaking) -> None:
    assert ask(speaking([CHUNKED, *[b"1\r\nx\r\n"] * 500, b"0\r\n\r\n"])) == (200, b"x" * 500)


# What is left behind.


def test_two_answers_come_over_one_connection(speaking: Speaking) -> None:
    server = speaking([whole(b"one"), whole(b"two")], 0.1)
    with connected(urlsplit(f"http://127.0.0.1:{server.port}/"), None, 5) as connection:
        assert [exchange(connection, "/", {}, MOST) for _ in range(2)] == [(200, b"one"), (200, b"two")]
    assert server.gone.wait(20)


def test_a_connection_is_closed_although_the_server_keeps_its_end_open(speaking: Speaking) -> None:
    server = speaking([whole(b"all")])
    assert ask(server) == (200, b"all")
    assert server.gone.wait(20)


def test_an_error_of_ours_while_connected_closes_the_connection(speaking: Speaking) -> None:
    server = speaking([whole(b"all")])
    with (
        pytest.raises(KeyError),
        connected(urlsplit(f"http://127.0.0.1:{server.port}/"), None, 5),
    ):
        raise KeyError
    assert server.gone.wait(20)
