"""The small client of Secrets Manager: botocore judges what it sends, a server on loopback what it takes."""

from __future__ import annotations

import datetime
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import NotConnected
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.retries.standard import ThrottledRetryableChecker
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.guard.keys.http import (
    THROTTLED,
    Signer,
    Unsupported,
    connected,
    endpoint,
    exchange,
    get_secret_values,
    signed_headers,
    signer_of,
    trust,
)
from tests.support.loopback import (
    Certificate,
    Close,
    Loopback,
    Pause,
    Reply,
    certificate,
    dripping,
    reply,
    taking_no_connection,
)

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN//+="
LAMBDA = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
    "AWS_REGION": "eu-central-1",
}
CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
SECRET_TEXT = "the-value-of-the-secret"
GOOD = {"VersionId": "v2", "SecretString": SECRET_TEXT}
OLDER = {"VersionId": "v1", "SecretString": SECRET_TEXT}
#: What each `seconds` may be exceeded by on a busy machine.
SLACK = 3.0

Serve = Callable[..., Loopback]
Trusting = Callable[[Certificate], None]


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[Loopback] = []

    def start(*replies: Reply, context: Any = None) -> Loopback:
        made.append(Loopback(list(replies), context))
        return made[-1]

    yield start
    for server in made:
        server.close()


def ask(url: str, *labels: str, seconds: float = 5.0, **changes: str) -> dict[str, dict[str, Any] | str]:
    environment = {**LAMBDA, "AWS_ENDPOINT_URL": url, **changes}
    return get_secret_values("the-name", labels or (CURRENT,), environment, seconds)


def failed(url: str, *, seconds: float = 5.0, **changes: str) -> str:
    """Return the code of a call that failed, after a look at all that it could give away."""
    threads, sockets = threading.active_count(), psutil.Process().net_connections()
    answer = ask(url, seconds=seconds, **changes)[CURRENT]
    assert isinstance(answer, str)
    shown = f"{answer!r} {answer}"
    for kept in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, SECRET_TEXT, "AWS4-HMAC-SHA256"):
        assert kept not in shown
    ours = {one.laddr for one in psutil.Process().net_connections() if one.raddr and one.raddr.port == _port(url)}
    assert not ours - {one.laddr for one in sockets}
    assert threading.active_count() <= threads + 2  # the server has one for each connection
    return answer


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


# The signature.


class Now:
    """A clock for botocore, which asks it for the time of a signature."""

    def __init__(self, seconds: int) -> None:
        self._now = datetime.datetime.fromtimestamp(seconds, datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self._now


def botocores(headers: dict[str, str], url: str, body: bytes, signer: Signer, service: str, now: int) -> dict[str, str]:
    keys = Credentials(signer.access_key, signer.secret_key, signer.session_token or None)
    request = AWSRequest("POST", url, headers, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", Now(now))
        SigV4Auth(keys, service, signer.region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
SEGMENT = st.text("abcXYZ019_~-", min_size=1, max_size=8)


@settings(deadline=None, max_examples=300)
@given(
    signer=st.builds(Signer, VISIBLE, VISIBLE, st.just("") | VISIBLE, st.from_regex("[a-z0-9-]{1,20}", fullmatch=True)),
    now=st.integers(0, 4_102_444_800),
    host=st.sampled_from(["secretsmanager.eu-west-1.amazonaws.com", "localhost:4566", "[::1]:8080", "127.0.0.1"]),
    path=st.lists(SEGMENT, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts) + "/"),
    body=st.binary(max_size=300),
)
def test_our_headers_are_those_of_botocore(signer: Signer, now: int, host: str, path: str, body: bytes) -> None:
    headers = {"host": host, "content-type": "application/x-amz-json-1.1", "x-amz-target": "a.B"}
    ours = signed_headers(headers, path, body, signer, "secretsmanager", now)
    assert ours == botocores(headers, f"https://{host}{path}", body, signer, "secretsmanager", now)


# From AWS's Signature Version 4 test suite, where the name is the folder's.
SUITE_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAki"
    "Y9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
FORM = {"content-type": "application/x-www-form-urlencoded"}
SUITE: dict[str, tuple[dict[str, str], bytes, str, str]] = {
    "post-vanilla": ({}, b"", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-header-key-sort": (
        {"my-header1": "value1"}, b"", "", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"
    ),
    "post-header-value-case": (
        {"my-header1": "VALUE1"}, b"", "", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"
    ),
    "post-x-www-form-urlencoded": (
        FORM, b"Param1=value1", "", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    ),
    "post-sts-header-before": (
        {}, b"", SUITE_TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    ),
}  # fmt: skip
SUITE_TIME = 1440938160  # 20150830T123600Z


@pytest.mark.parametrize("name", SUITE)
def test_our_signature_is_that_of_an_example_that_aws_published(name: str) -> None:
    more, body, token, signature = SUITE[name]
    headers = {"host": "example.amazonaws.com", **more}
    signer = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token, "us-east-1")
    ours = signed_headers(headers, "/", body, signer, "service", SUITE_TIME)
    assert ours["x-amz-date"] == "20150830T123600Z"
    names = ";".join(sorted({*headers, "x-amz-date", *(["x-amz-security-token"] if token else [])}))
    assert ours["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        f" SignedHeaders={names}, Signature={signature}"
    )
    assert ours == botocores(headers, "https://example.amazonaws.com/", body, signer, "service", SUITE_TIME)


# The endpoint.

SESSION = botocore.session.Session()
REGIONS = [
    (partition, region)
    for partition in SESSION.get_available_partitions()
    for region in SESSION.get_available_regions("secretsmanager", partition, allow_non_regional=True)
]
KNOWN = {"aws", "aws-cn", "aws-us-gov", "aws-eusc"}


def sent_by_botocore(region: str, **config: Any) -> AWSPreparedRequest:
    """Return the request of botocore's own client, which gets no further than its event before sending."""
    kept: list[AWSPreparedRequest] = []

    class Raw:
        def stream(self) -> Iterator[bytes]:
            yield b'{"VersionId": "v1"}'

    def keep(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        kept.append(request)
        return AWSResponse(request.url, 200, {}, Raw())

    url = config.pop("endpoint_url", None)
    client = SESSION.create_client(
        "secretsmanager", region, endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(**config),
    )  # fmt: skip
    client.meta.events.register("before-send", keep)
    client.get_secret_value(SecretId="the-name", VersionStage=CURRENT)
    client.close()
    return kept[0]


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_a_regions_endpoint_is_that_of_botocore_or_is_left_to_it(partition: str, region: str) -> None:
    if partition not in KNOWN or region.endswith("-fips"):
        with pytest.raises(Unsupported, match=r"^AWS_REGION is in no partition"):
            endpoint({}, region)
    else:
        assert endpoint({}, region).geturl() == sent_by_botocore(region).url


@pytest.mark.parametrize(
    "url", ["http://localhost:4566", "http://[::1]:80/", "https://a.b/c", "https://my-vpce.x/a/b/"]
)
def test_an_endpoint_of_the_environment_is_used_as_botocore_uses_it(url: str) -> None:
    theirs = sent_by_botocore("eu-west-1", endpoint_url=url).url
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        assert endpoint({name: url}, "eu-west-1").geturl() == theirs


def test_the_endpoint_of_the_service_comes_before_that_of_all_services() -> None:
    environment = {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://b"}
    assert endpoint(environment, "eu-west-1").netloc == "b"


# What is left to boto3.


@pytest.mark.parametrize(
    "url",
    [
        "http://user:password@localhost", "http://localhost?a=b", "http://localhost/#a", "ftp://localhost", "localhost",
        "http://", "http://localhost:", "http://localhost/../a", "http://localhost//a",
        "http://local host", "http://localhost/a b", "http://localhost\r\nX-Header: 1", "http://localhost\n",
        "http://localhost/%41", "http://localhöst", "http://localhost:\uff18\uff10", "\ud800",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_is_left_to_boto3_without_being_shown(url: str) -> None:
    with pytest.raises(Unsupported, match=r"^AWS_ENDPOINT_URL is not a plain URL") as left:
        ask(url)
    assert "password" not in str(left.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "other"), ("AWS_DEFAULT_PROFILE", "other"), ("AWS_CONFIG_FILE", "/a/file"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/a/file"), ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"), ("HTTP_PROXY", "http://user:password@proxy"),
        ("http_proxy", "http://user:password@proxy"),
        ("AWS_USE_FIPS_ENDPOINT", "false"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ("AWS_SECURITY_TOKEN", "password"),
        ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_REGION", ""),
    ],
)  # fmt: skip
def test_what_this_module_does_not_know_is_left_to_boto3_unsent(serve: Serve, name: str, value: str) -> None:
    server = serve(reply(200, GOOD))
    with pytest.raises(Unsupported, match=name) as left:
        ask(server.url, **{name: value})
    assert server.connections == 0
    assert "password" not in str(left.value)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"])
@pytest.mark.parametrize("odd", ["\r\nX-Header: 1", "\n", " ", "\x00", "é", "\ud800", "\x7f"])
def test_odd_text_gets_into_no_header_and_into_no_message(serve: Serve, name: str, odd: str) -> None:
    server = serve(reply(200, GOOD))
    with pytest.raises(Unsupported, match=f"^{name} ") as left:
        ask(server.url, **{name: f"kept-to-itself{odd}"})
    assert "kept-to-itself" not in f"{left.value!r} {left.value.__cause__!r} {left.value.__context__!r}"
    assert server.connections == 0


@pytest.mark.parametrize("region", ["mars-1", "us-iso-east-1", "eu-central-1.evil.example/", "eu-central-1@evil"])
def test_a_region_of_no_known_partition_is_left_to_boto3(region: str) -> None:
    with pytest.raises(Unsupported, match=r"^AWS_REGION is in no partition"):
        get_secret_values("the-name", [CURRENT], {**LAMBDA, "AWS_REGION": region})


def test_empty_variables_and_the_null_device_are_as_good_as_none(serve: Serve) -> None:
    nothing = {"AWS_PROFILE": "", "HTTP_PROXY": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_CA_BUNDLE": ""}
    assert ask(serve(reply(200, GOOD)).url, **nothing) == {CURRENT: GOOD}


def test_the_regions_variable_comes_before_the_default_one() -> None:
    assert signer_of({**LAMBDA, "AWS_DEFAULT_REGION": "us-east-1"}).region == "eu-central-1"
    default = {name: value for name, value in LAMBDA.items() if name != "AWS_REGION"} | {
        "AWS_DEFAULT_REGION": "us-east-1"
    }
    assert signer_of(default).region == "us-east-1"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
def test_an_environment_without_credentials_or_region_is_left_to_boto3(name: str) -> None:
    with pytest.raises(Unsupported, match=f"^{name} is not set"):
        signer_of({variable: value for variable, value in LAMBDA.items() if variable != name})


def test_credentials_may_have_no_session_token() -> None:
    without = {name: value for name, value in LAMBDA.items() if name != "AWS_SESSION_TOKEN"}
    assert signer_of(without).session_token == ""


def test_a_signer_shows_nothing_of_itself() -> None:
    signer = signer_of(LAMBDA)
    assert not [kept for kept in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN) if kept in f"{signer!r} {signer}"]


# What is sent.


def test_both_labels_are_asked_for_over_one_connection(serve: Serve) -> None:
    server = serve(reply(200, GOOD), reply(200, OLDER))
    assert ask(server.url, CURRENT, PREVIOUS) == {CURRENT: GOOD, PREVIOUS: OLDER}
    assert server.connections == 1
    assert [json.loads(request.body) for request in server.requests] == [
        {"SecretId": "the-name", "VersionStage": label} for label in (CURRENT, PREVIOUS)
    ]


def test_a_body_does_not_wait_for_the_server_to_acknowledge_the_head(serve: Serve) -> None:
    with connected(urlsplit(serve(reply(200, GOOD)).url), None, 5) as connection:
        assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("path", ["/", "/behind/a-path"])
def test_the_request_is_botocores_and_its_signature_holds(serve: Serve, path: str) -> None:
    server = serve(reply(200, GOOD))
    ask(server.url + path)
    line, headers, body = server.requests[0]
    theirs = sent_by_botocore("eu-central-1", endpoint_url=server.url + path)
    their_headers = {name.lower(): value for name, value in theirs.headers.items()}
    assert line == f"POST {path} HTTP/1.1"
    assert json.loads(body) == json.loads(theirs.body)
    for name in ("x-amz-target", "content-type"):
        assert headers[name].encode() == their_headers[name]
    assert headers["x-amz-security-token"] == SESSION_TOKEN
    sent_at = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    assert abs(sent_at.timestamp() - time.time()) < 60
    signed = {name: headers[name] for name in ("host", "content-type", "x-amz-target")}
    again = botocores(signed, server.url + path, body, signer_of(LAMBDA), "secretsmanager", int(sent_at.timestamp()))
    assert headers["authorization"] == again["authorization"]


def test_without_a_session_token_none_is_sent(serve: Serve) -> None:
    server = serve(reply(200, GOOD))
    ask(server.url, AWS_SESSION_TOKEN="")
    assert "x-amz-security-token" not in server.requests[0].headers


def test_an_odd_name_of_a_secret_is_only_ever_text_in_the_body(serve: Serve) -> None:
    server = serve(reply(200, GOOD))
    name = 'a"\r\n\r\nPOST / HTTP/1.1\ud800é'
    get_secret_values(name, [CURRENT], {**LAMBDA, "AWS_ENDPOINT_URL": server.url})
    assert json.loads(server.requests[0].body)["SecretId"] == name


def test_expired_credentials_fail_and_those_of_the_next_call_are_used(serve: Serve) -> None:
    server = serve(reply(400, {"__type": "ExpiredTokenException"}), reply(200, GOOD))
    environment = {**LAMBDA, "AWS_ENDPOINT_URL": server.url}
    assert get_secret_values("the-name", [CURRENT], environment) == {CURRENT: "ExpiredTokenException"}
    environment |= {"AWS_ACCESS_KEY_ID": "ANOTHER", "AWS_SESSION_TOKEN": "another"}
    assert get_secret_values("the-name", [CURRENT], environment) == {CURRENT: GOOD}
    assert "Credential=ANOTHER/" in server.requests[1].headers["authorization"]
    assert server.requests[1].headers["x-amz-security-token"] == "another"


# Errors that AWS names.

GIVEN_UP_AT_ONCE = ["ResourceNotFoundException", "InvalidParameterException", "InvalidRequestException"]
GIVEN_UP_AT_ONCE += ["DecryptionFailure", "AccessDeniedException", "UnrecognizedClientException"]
GIVEN_UP_AT_ONCE += ["InvalidSignatureException", "ExpiredTokenException", "IncompleteSignature"]


@pytest.mark.parametrize("form", ["{}", "com.amazonaws.secretsmanager#{}", "{}:http://internal.amazon.com/coral/"])
@pytest.mark.parametrize("code", GIVEN_UP_AT_ONCE)
def test_an_error_keeps_the_code_that_aws_gave_and_is_asked_for_once(serve: Serve, code: str, form: str) -> None:
    server = serve(reply(400, {"__type": form.format(code), "Message": "words"}))
    assert failed(server.url) == code
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", THROTTLED)
def test_a_throttled_call_gets_a_second_attempt(serve: Serve, code: str) -> None:
    server = serve(reply(400, {"__type": code}), reply(200, GOOD))
    assert ask(server.url) == {CURRENT: GOOD}
    assert len(server.requests) == 2
    assert code in {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES}


def test_a_call_that_is_throttled_twice_fails_with_the_code(serve: Serve) -> None:
    server = serve(reply(400, {"__type": "ThrottlingException"}))
    assert failed(server.url) == "ThrottlingException"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("body", "code"), [({"__type": "InternalServiceError"}, "InternalServiceError"), (b"", "HTTP 500")]
)
def test_a_server_that_fails_twice_is_not_asked_a_third_time(serve: Serve, body: Any, code: str) -> None:
    server = serve(reply(500, body))
    assert failed(server.url) == code
    assert len(server.requests) == 2


def test_a_server_that_fails_once_is_asked_again(serve: Serve) -> None:
    assert ask(serve(reply(503, b"<html>"), reply(200, GOOD)).url) == {CURRENT: GOOD}


@pytest.mark.parametrize("byte", [0, 255])
def test_the_second_attempt_waits_for_up_to_a_quarter_of_a_second(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, byte: int
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("os.urandom", lambda size: bytes([byte] * size))
    monkeypatch.setattr("time.sleep", waits.append)
    assert ask(serve(reply(500, b""), reply(200, GOOD)).url) == {CURRENT: GOOD}
    assert waits == [0, byte / 1000]


@pytest.mark.parametrize("name", [None, 7, [], "", "two words", f"A{SECRET_KEY}", "a" * 65, "Code\nline", "AKID1234"])
def test_an_error_without_a_plain_code_goes_by_its_status(serve: Serve, name: Any) -> None:
    assert failed(serve(reply(400, {"__type": name})).url) == "HTTP 400"


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "ThrottlingException"])
def test_a_previous_version_that_fails_takes_the_current_one_not_along(serve: Serve, code: str) -> None:
    answers = ask(serve(reply(200, GOOD), reply(400, {"__type": code})).url, CURRENT, PREVIOUS)
    assert answers[CURRENT] == GOOD
    assert answers[PREVIOUS] == code


def test_a_previous_version_that_hangs_takes_the_current_one_not_along(serve: Serve) -> None:
    server = serve(reply(200, GOOD), [Pause(30)])
    answers = ask(server.url, CURRENT, PREVIOUS, seconds=0.5)
    assert answers[CURRENT] == GOOD
    assert answers[PREVIOUS] == "TimeoutError"


# Answers that are none.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve: Serve, status: int) -> None:
    other = serve(reply(200, GOOD))
    assert failed(serve(reply(status, GOOD, f"Location: {other.url}")).url) == f"HTTP {status}"
    assert other.connections == 0


@pytest.mark.parametrize("status", [201, 204, 206, 304, 404])
def test_an_answer_with_another_status_than_200_is_none(serve: Serve, status: int) -> None:
    assert failed(serve(reply(status, GOOD)).url) == f"HTTP {status}"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"[]", b'"text"', b"{}", b'{"VersionId": 7}', b"\xff\xfe\x00", b"[" * 100_000, b'{"Vers'],
)
def test_a_body_that_is_no_answer_is_refused(serve: Serve, body: bytes) -> None:
    server = serve(reply(200, body))
    assert failed(server.url) == "MalformedAnswer"
    assert len(server.requests) == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "BadStatusLine"),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n", "BadStatusLine"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "HTTPException"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", "LineTooLong"),
        (CHUNKED + b"zz\r\n", "IncompleteRead"),
        (CHUNKED + b"-5\r\n" + b"x" * 100, "IncompleteRead"),
        (CHUNKED + b"5\r\n{", "IncompleteRead"),
        (b"", "RemoteDisconnected"),
        (b"HTTP/1.1 200", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(GOOD).encode(), "IncompleteRead"),  # whether that is all nobody knows
        (reply(200, GOOD)[0][:-5], "IncompleteRead"),
    ],
)  # fmt: skip
def test_garbage_and_what_is_cut_off_fail_after_two_attempts(serve: Serve, answer: bytes, code: str) -> None:
    server = serve([answer, Close()])
    assert failed(server.url) == code
    assert len(server.requests) == 2
    assert server.connections == 2


def test_a_good_answer_in_chunks_is_read(serve: Serve) -> None:
    body = json.dumps(GOOD).encode()
    assert ask(serve([CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)]).url) == {CURRENT: GOOD}


def test_a_connection_that_was_cut_off_is_made_again(serve: Serve) -> None:
    server = serve([b"HTTP/1.1 200 OK\r\n", Close()], reply(200, GOOD))
    assert ask(server.url) == {CURRENT: GOOD}
    assert server.connections == 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_closed_connection_is_made_again_for_the_next_label(serve: Serve, announced: bool) -> None:
    first = reply(200, GOOD, *(["Connection: close"] if announced else []))
    server = serve([*first, Close()], reply(200, OLDER))
    assert ask(server.url, CURRENT, PREVIOUS) == {CURRENT: GOOD, PREVIOUS: OLDER}
    assert server.connections == 2


TEN_MEGABYTES = b'{"VersionId": "v1", "SecretString": "' + b"x" * 10_000_000 + b'"}'


@pytest.mark.parametrize(
    "steps",
    [
        reply(200, TEN_MEGABYTES),
        [b"HTTP/1.1 200 OK\r\n\r\n", TEN_MEGABYTES, Close()],
        [CHUNKED, b"%x\r\n" % len(TEN_MEGABYTES), TEN_MEGABYTES, b"\r\n0\r\n\r\n"],
        [CHUNKED, b"-1\r\n", TEN_MEGABYTES, Close()],
        [CHUNKED, b"f" * 20 + b"\r\n", TEN_MEGABYTES, Close()],
        reply(500, TEN_MEGABYTES),
    ],
    ids=["length", "to the end", "one chunk", "negative chunk", "endless chunk", "error"],
)
def test_an_answer_of_ten_megabytes_is_refused(serve: Serve, steps: Reply) -> None:
    assert failed(serve(steps).url) == "AnswerTooLarge"


def test_ten_megabytes_before_an_answer_are_no_answer(serve: Serve) -> None:
    server = serve([b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000])
    assert failed(server.url, seconds=1.0) in {"RemoteDisconnected", "TimeoutError", "ConnectionResetError"}


def test_a_secret_of_the_largest_size_is_read_however_it_is_escaped(serve: Serve) -> None:
    largest = {"VersionId": "v1", "SecretString": "\x01" * 65_536}
    assert ask(serve(reply(200, largest)).url) == {CURRENT: largest}


# Time.


def taken(url: str, seconds: float, code: str = "TimeoutError") -> float:
    start = time.monotonic()
    assert failed(url, seconds=seconds) == code
    return time.monotonic() - start


def test_a_server_that_takes_no_connection_is_given_up() -> None:
    with taking_no_connection() as url:
        assert taken(url, 0.5) < 0.5 + SLACK


def test_a_server_that_never_answers_is_given_up_by_the_deadline_of_all(serve: Serve) -> None:
    assert taken(serve([Pause(30)]).url, 0.2) < 1.8  # less than the two seconds that one answer may take


def test_a_server_that_never_answers_is_asked_twice(serve: Serve) -> None:
    server = serve([Pause(30)])
    start = time.monotonic()
    answer = get_secret_values("the-name", [CURRENT, PREVIOUS], {**LAMBDA, "AWS_ENDPOINT_URL": server.url})
    assert answer == dict.fromkeys((CURRENT, PREVIOUS), "TimeoutError")
    assert len(server.requests) >= 2
    assert time.monotonic() - start < 5.0 + SLACK


@pytest.mark.parametrize("steps", [dripping(reply(200, GOOD)), dripping([b"HTTP/1.1 100 Continue\r\n\r\n"] * 9)])
def test_a_server_whose_headers_drip_is_given_up_at_the_deadline(serve: Serve, steps: Reply) -> None:
    assert taken(serve(steps).url, 0.7) < 0.7 + SLACK


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_server_whose_body_drips_is_given_up_at_the_deadline(serve: Serve, form: str) -> None:
    body = b'{"VersionId": "v1"' + b" " * 300 + b"}"
    head = CHUNKED + b"%x\r\n" % len(body) if form == "chunks" else reply(200, body)[0][: -len(body)]
    assert taken(serve([head, *dripping([body])]).url, 0.7) < 0.7 + SLACK


def test_a_slow_answer_within_the_deadline_is_taken(serve: Serve) -> None:
    assert ask(serve(dripping(reply(200, GOOD), every=0.005)).url) == {CURRENT: GOOD}


def test_a_server_that_never_answers_the_handshake_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert taken(f"https://127.0.0.1:{silent.getsockname()[1]}", 0.7) < 0.7 + SLACK


def test_a_connection_that_has_ended_is_not_opened_again_unwatched(serve: Serve) -> None:
    url = urlsplit(serve(reply(200, GOOD)).url)
    with connected(url, None, 0.2) as connection:
        connection.close()
        with pytest.raises(NotConnected):
            exchange(connection, "/", {}, 1000)
        time.sleep(0.3)  # and when its time is over, nothing is left to end


def test_a_port_where_nobody_listens_fails_by_name(serve: Serve) -> None:
    server = serve(reply(200, GOOD))
    server.close()
    assert failed(server.url) == "ConnectionRefusedError"


@pytest.mark.parametrize(("host", "code"), [("a..b", "UnicodeError"), ("nowhere.invalid", "gaierror")])
def test_a_host_that_cannot_be_found_fails_by_name(host: str, code: str) -> None:
    assert failed(f"http://{host}:80") == code


# TLS.


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("shown"), "127.0.0.1")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Certificate], None]:
    """Have a default trust store with this certificate alone."""

    def trust_it(certificate: Certificate) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.trusted))  # where OpenSSL looks

    return trust_it


def test_both_labels_come_over_one_tls_connection(serve: Serve, shown: Certificate, trusting: Trusting) -> None:
    trusting(shown)
    server = serve(reply(200, GOOD), reply(200, OLDER), context=shown.context)
    assert ask(server.url, CURRENT, PREVIOUS) == {CURRENT: GOOD, PREVIOUS: OLDER}
    assert server.connections == 1


def test_a_connection_trusts_what_it_is_told_to_and_nothing_else(serve: Serve, shown: Certificate) -> None:
    url = urlsplit(serve(reply(200, GOOD), context=shown.context).url)
    with connected(url, ssl.create_default_context(cafile=shown.trusted), 5) as connection:
        assert exchange(connection, "/", {}, 1000, b"{}")[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError), connected(url, ssl.create_default_context(), 5):
        pass


def test_a_certificate_is_held_against_the_hosts_name(serve: Serve, tmp_path: Path, trusting: Trusting) -> None:
    named = certificate(tmp_path, "localhost")
    trusting(named)
    server = serve(reply(200, GOOD), context=named.context)
    assert ask(server.url.replace("127.0.0.1", "localhost")) == {CURRENT: GOOD}
    assert failed(server.url) == "SSLCertVerificationError"


def test_a_self_signed_certificate_is_refused_and_gets_no_request(serve: Serve, shown: Certificate) -> None:
    server = serve(reply(200, GOOD), context=shown.context)
    assert failed(server.url) == "SSLCertVerificationError"
    assert server.requests == []


@pytest.mark.parametrize("name", ["127.0.0.2", "another.example"])
def test_a_trusted_certificate_for_another_host_is_refused(
    serve: Serve, tmp_path: Path, trusting: Trusting, name: str
) -> None:
    other = certificate(tmp_path, name)
    trusting(other)
    server = serve(reply(200, GOOD), context=other.context)
    assert failed(server.url) == "SSLCertVerificationError"
    assert server.requests == []


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"])
def test_what_would_change_tls_is_left_to_boto3(
    serve: Serve, shown: Certificate, trusting: Trusting, name: str
) -> None:
    trusting(shown)
    server = serve(reply(200, GOOD), context=shown.context)
    with pytest.raises(Unsupported, match=f"^{name} is set"):
        ask(server.url, **{name: str(shown.trusted)})
    assert server.connections == 0
    assert ask(serve(reply(200, GOOD)).url, **{name: "other"}) == {CURRENT: GOOD}


def test_https_never_becomes_http(serve: Serve) -> None:
    server = serve(reply(200, GOOD))
    assert failed(server.url.replace("http:", "https:")) in {"SSLError", "SSLEOFError", "TimeoutError"}
    assert server.requests == []


def test_an_empty_trust_store_is_filled_with_botocores_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trust({}).cert_store_stats()["x509_ca"] > 50


def test_a_default_trust_store_with_certificates_is_enough(shown: Certificate, trusting: Trusting) -> None:
    trusting(shown)
    assert trust({}).cert_store_stats()["x509"] == 1


def test_botocore_is_not_imported_for_its_certificates(tmp_path: Path) -> None:
    program = (
        "import sys; from chalicelib.guard.keys import http as module; module.trust({});"
        "print([name for name in ('boto3', 'botocore', 'urllib3') if name in sys.modules])"
    )
    environment = {"SSL_CERT_FILE": str(tmp_path / "missing"), "SSL_CERT_DIR": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stdout == "[]\n"


def test_nothing_is_logged_or_printed(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(serve(reply(200, GOOD), reply(400, {"__type": "DecryptionFailure"})).url, CURRENT, PREVIOUS)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
