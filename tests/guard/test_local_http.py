"""`chalice local --stage local` over real HTTP: whatever a client sends, it gets an answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_AWS, PATH, SECRET, claims, sign, token
from tests.support.project import PROJECT

CHALICE = str(Path(sys.executable).with_name("chalice"))
JSON = {"Content-Type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(log: Path, **environment: str) -> Iterator[int]:
    """Run `chalice local` as a developer would by hand; yield its port."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [CHALICE, "local", "--stage", "local", "--port", str(port), "--no-autoreload"],
            cwd=PROJECT,
            env={**kept, **NO_AWS, **environment, "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(150):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(10)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory.mktemp("local") / "log", AUTHORIZER_SECRET=SECRET) as port:
        yield port


def ask(
    port: int, method: str, path: str = PATH, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    """Send these bytes and return all that comes back before the server closes or is quiet for a second."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        connection.settimeout(1)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(65536):
                answer += part
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


POST: dict[str, Any] = {"body": b'{"key":"value"}', **JSON}


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bEARER "])
def test_the_tutorials_requests_get_the_tutorials_answers(port: int, scheme: str) -> None:
    user, admin = ({"Authorization": scheme + token(role)} for role in ("user", "admin"))
    assert ask(port, "GET", **user)[0] == 200
    assert ask(port, "POST", **POST, **user)[0] == 403
    assert ask(port, "GET", **admin)[0] == 200
    code, headers, body = ask(port, "POST", **POST, **admin)
    assert (code, headers["content-type"], json.loads(body)) == (200, "application/json", {"key": "value"})
    assert ask(port, "GET")[0] == 401
    assert ask(port, "GET", Authorization=scheme + token("user")[:-4] + "AAAA")[0] == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        " ",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "x" * 60_000,
        "Bearer " + "x" * 60_000,
        "\u00e9\u00ff",
        "%00",
        '"',
        "{}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_stands_in_the_header_is_a_401(port: int, authorization: str, method: str) -> None:
    code, _, body = ask(port, method, Authorization=authorization)
    assert (code, json.loads(body)) == (401, {"message": "Unauthorized"})


def test_bytes_outside_ascii_in_the_header_are_a_401(port: int) -> None:
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ".encode()
    for junk in (b"\xff\xfe", b"\x80" * 100, "\u738b".encode(), b"a\tb", b"\x01"):
        assert status(raw(port, request + junk + b"\r\n\r\n")) == 401


@pytest.mark.parametrize("both", [("good", "bad"), ("bad", "good"), ("bad", "bad")])
def test_two_authorization_headers_are_answered_and_never_add_up(port: int, both: tuple[str, str]) -> None:
    texts = {"good": token("user"), "bad": sign(claims(roles=["admin"]), SECRET[::-1])}
    lines = "".join(f"Authorization: {texts[which]}\r\n" for which in both)
    post = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{lines}\r\n".encode()
    assert status(raw(port, post)) in {401, 403}


def test_a_trailing_slash_and_an_unknown_path_are_answered(port: int) -> None:
    user = {"Authorization": token("user")}
    assert ask(port, "GET", PATH + "/", **user)[0] == 403
    for path in ("/", "/unknown", PATH + "/more", PATH.upper(), "//", "/%2e%2e/", PATH + "%2F", "/*"):
        assert ask(port, "GET", path, **user)[0] == 403
        assert ask(port, "GET", path)[0] == 403


def test_a_query_changes_nothing(port: int) -> None:
    assert ask(port, "GET", PATH + "?a=1&a=2&b", Authorization=token("user"))[0] == 200
    assert ask(port, "GET", PATH + "?GET")[0] == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_a_method_that_no_route_has_is_a_405(port: int, method: str) -> None:
    assert ask(port, method, Authorization=token("admin"))[0] == 405


def test_a_method_that_nobody_has_is_answered(port: int) -> None:
    assert ask(port, "BREW", Authorization=token("admin"))[0] == 501
    assert ask(port, "OPTIONS")[0] == 200


@pytest.mark.parametrize(
    ("body", "media_type", "code"),
    [
        (b"not json", "application/json", 400),
        (b"", "application/json", 400),
        (None, "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/jsonx", 415),
        (b"{}", "\u00e9", 415),
        (b"x" * 12_000_000, "application/json", 413),
        (b'{"key":"value"}', "application/json; charset=utf-8", 200),
        (b'{"key":"value"}', "APPLICATION/JSON", 200),
    ],
)
def test_a_body_gets_a_clear_answer(port: int, body: bytes | None, media_type: str, code: int) -> None:
    admin = {"Authorization": token("admin"), "Content-Type": media_type}
    got, _, answer = ask(port, "POST", body=body, **admin)
    assert got == code
    assert b"Traceback" not in answer
    assert isinstance(json.loads(answer), dict)


def test_a_large_body_with_a_bad_token_is_a_401(port: int) -> None:
    assert ask(port, "POST", body=b"x" * 12_000_000, Authorization="nonsense", **JSON)[0] == 401


def test_many_requests_on_one_connection_are_all_answered(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for authorization, code in [(token("user"), 200), ("bad", 401), (token("stranger"), 403)] * 20:
        connection.request("GET", PATH, headers={"Authorization": authorization})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == code
    connection.close()


def test_pages_of_the_allowed_origin_can_read_what_the_locks_and_the_views_answer(tmp_path: Path) -> None:
    origin = "http://127.0.0.1:9000"
    with serving(tmp_path / "log", AUTHORIZER_SECRET=SECRET, CORS_ALLOWED_ORIGIN=origin) as port:
        for method, authorization, code in (
            ("GET", token("user"), 200),
            ("GET", "bad", 401),
            ("POST", token("admin"), 400),
        ):
            got, headers, _ = ask(port, method, Authorization=authorization, **JSON)
            assert (got, headers["access-control-allow-origin"]) == (code, origin)
        got, headers, _ = ask(port, "OPTIONS", Origin=origin)
        assert (got, headers["access-control-allow-origin"]) == (200, origin)
        assert "Authorization" in headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["", "https://app.example.com/", "'"])
def test_without_an_origin_or_with_a_wrong_one_no_page_can_read_anything(tmp_path: Path, origin: str) -> None:
    with serving(tmp_path / "log", AUTHORIZER_SECRET=SECRET, CORS_ALLOWED_ORIGIN=origin) as port:
        for method, authorization in (("GET", token("user")), ("GET", "bad"), ("OPTIONS", "")):
            got, headers, _ = ask(port, method, Authorization=authorization)
            assert "access-control-allow-origin" not in headers
            assert got == (500 if origin and method == "GET" else 401 if authorization == "bad" else 200)


def test_a_refusal_names_the_scheme_and_the_error_code(port: int) -> None:
    assert ask(port, "GET", Authorization="bad")[1]["www-authenticate"] == 'Bearer error="invalid_token"'


def test_without_a_key_source_the_first_request_is_a_500_and_one_line_says_what_to_set(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with serving(log) as port:
        assert ask(port, "GET", Authorization=token("user"))[::2] == (500, b'{"message":"Internal Server Error"}')
        assert ask(port, "GET")[0] == 401
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    fetch, line = lines
    assert fetch["refresh_failures"] == 1
    assert line["reason"] == "keys_unavailable"
    assert "AUTHORIZER_SECRET" in line["detail"]
    assert "Traceback" not in log.read_text()
