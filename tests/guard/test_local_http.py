"""`chalice local --stage local` over real HTTP: whatever a client sends, it gets an answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_server import ask, raw, serving
from tests.support.owners import OWNERS
from tests.support.project import change, copy_project
from tests.support.tokens import SECRET, claims, sign, token

PATH = "/items"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    project = copy_project(tmp_path_factory.mktemp("local") / "project")
    with serving(project, AUTHORIZER_SECRET=SECRET) as port:
        yield port


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


POST: dict[str, Any] = {"body": b'{"key":"value"}', **JSON}


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bEARER "])
def test_the_tutorials_requests_get_the_tutorials_answers(port: int, scheme: str) -> None:
    user, admin = ({"Authorization": scheme + token(role)} for role in ("user", "admin"))
    assert ask(port, "GET", PATH, **user)[0] == 200
    assert ask(port, "POST", PATH, **POST, **user)[0] == 403
    assert ask(port, "GET", PATH, **admin)[0] == 200
    code, headers, body = ask(port, "POST", PATH, **POST, **admin)
    assert (code, headers["content-type"], json.loads(body)) == (200, "application/json", {"key": "value"})
    assert ask(port, "GET", PATH)[0] == 401
    assert ask(port, "GET", PATH, Authorization=scheme + token("user")[:-4] + "AAAA")[0] == 401


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
def test_whatever_is_in_the_header_is_a_401(port: int, authorization: str, method: str) -> None:
    code, _, body = ask(port, method, PATH, Authorization=authorization)
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
    assert ask(port, method, PATH, Authorization=token("admin"))[0] == 405


def test_a_method_that_nobody_has_is_answered(port: int) -> None:
    assert ask(port, "BREW", PATH, Authorization=token("admin"))[0] == 501
    assert ask(port, "OPTIONS", PATH)[0] == 200


@pytest.mark.parametrize(
    ("body", "media_type", "code"),
    [
        (b"not json", "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "\u00e9", 415),
        (b'{"key":"value"}', "application/json; charset=utf-8", 200),
    ],
)
def test_a_body_gets_a_clear_answer(port: int, body: bytes, media_type: str, code: int) -> None:
    admin = {"Authorization": token("admin"), "Content-Type": media_type}
    got, _, answer = ask(port, "POST", PATH, body, **admin)
    assert got == code
    assert isinstance(json.loads(answer), dict)


def test_a_large_body_with_a_bad_token_is_a_401(port: int) -> None:
    assert ask(port, "POST", PATH, body=b"x" * 12_000_000, Authorization="nonsense", **JSON)[0] == 401


def test_many_requests_on_one_connection_are_all_answered(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for authorization, code in [(token("user"), 200), ("bad", 401), (token("stranger"), 403)] * 20:
        connection.request("GET", PATH, headers={"Authorization": authorization})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == code
    connection.close()


def test_pages_of_the_allowed_origin_can_read_every_answer(project_copy: Path) -> None:
    origin = "http://127.0.0.1:9000"
    with serving(project_copy, AUTHORIZER_SECRET=SECRET, CORS_ALLOWED_ORIGIN=origin) as port:
        for method, authorization, code in (
            ("GET", token("user"), 200),
            ("GET", "bad", 401),
            ("POST", token("admin"), 400),
        ):
            got, headers, _ = ask(port, method, PATH, Authorization=authorization, **JSON)
            assert (got, headers["access-control-allow-origin"]) == (code, origin)
        got, headers, _ = ask(port, "OPTIONS", PATH, Origin=origin)
        assert (got, headers["access-control-allow-origin"]) == (200, origin)
        assert "Authorization" in headers["access-control-allow-headers"]


def test_without_an_allowed_origin_no_page_can_read_anything(port: int) -> None:
    for method, authorization, code in (("GET", token("user"), 200), ("GET", "bad", 401), ("OPTIONS", "", 200)):
        got, headers, _ = ask(port, method, PATH, Authorization=authorization)
        assert "access-control-allow-origin" not in headers
        assert got == code


@pytest.mark.parametrize("origin", ["https://app.example.com/", "null", "'"])
def test_with_a_wrong_origin_every_guarded_request_is_a_500(project_copy: Path, origin: str) -> None:
    with serving(project_copy, AUTHORIZER_SECRET=SECRET, CORS_ALLOWED_ORIGIN=origin) as port:
        for authorization in (token("user"), "bad"):
            assert ask(port, "GET", PATH, Authorization=authorization)[0] == 500


def test_a_refusal_names_the_scheme_and_the_error_code(port: int) -> None:
    assert ask(port, "GET", PATH, Authorization="bad")[1]["www-authenticate"] == 'Bearer error="invalid_token"'


def test_without_a_key_source_a_line_says_what_to_set(project_copy: Path) -> None:
    with serving(project_copy) as port:
        refused = ask(port, "GET", PATH, Authorization=token("user"))
        assert refused[::2] == (500, b'{"message":"Internal Server Error"}')
        assert ask(port, "GET", PATH)[0] == 401
    printed = (project_copy / "printed").read_text()
    fetch, line = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert fetch["refresh_failures"] == 1
    assert line["reason"] == "keys_unavailable"
    assert "AUTHORIZER_SECRET" in line["detail"]
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('"/items*"): READERS', r"GET /items\* can never match"),
        ('"/items"): OWNER', r"GET /items names OWNER: its path must have exactly one parameter, \{sub\}"),
    ],
)
def test_with_an_unsound_table_nothing_starts(project_copy: Path, row: str, sentence: str) -> None:
    change(project_copy / "chalicelib" / "rules.py", '"/items"): READERS', row)
    with pytest.raises(AssertionError, match=f"TableError: {sentence}"), serving(project_copy):
        pytest.fail("it serves")


# Only one's own.


@pytest.mark.parametrize(("subject", "segment", "owns"), OWNERS)
def test_whose_a_path_is_over_real_http(port: int, subject: str, segment: str, *, owns: bool) -> None:
    code, _, body = ask(port, "GET", f"/users/{segment}/orders", Authorization=token(sub=subject))
    assert code == (200 if owns else 403)
    assert not owns or json.loads(body) == {"of": segment, "subject": subject}


def test_support_reads_anybodys_and_without_a_valid_token_none(port: int) -> None:
    for subject in ("alice", "bob"):
        code, _, body = ask(port, "GET", f"/users/{subject}/orders", Authorization=token("support", sub="carol"))
        assert (code, json.loads(body)) == (200, {"of": subject, "subject": "carol"})
    forged, expired = sign(claims(roles=["support"]), SECRET[::-1]), token("support", exp=1)
    for headers in ({}, {"Authorization": forged}, {"Authorization": expired}):
        assert ask(port, "GET", "/users/alice/orders", **headers)[0] == 401


def test_octets_that_are_no_ascii_in_a_path_are_nobodys(port: int) -> None:
    for segment, subject in ((b"Zo\xc3\xab", "Zo\u00eb"), (b"\xff", "\u00ff"), (b"\xff", "\ufffd")):
        head = b"GET /users/" + segment + b"/orders HTTP/1.1\r\nHost: x\r\nAuthorization: "
        assert status(raw(port, head + token(sub=subject).encode() + b"\r\n\r\n")) in {200, 400, 403}


def test_a_path_with_a_slash_or_a_segment_more_is_nobodys(port: int) -> None:
    alice = {"Authorization": token(sub="alice")}
    for path in ("/users/alice/orders/", "/users/alice//orders", "/users/alice/./orders"):
        assert ask(port, "GET", path, **alice)[0] == 403
