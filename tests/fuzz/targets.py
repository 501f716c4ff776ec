"""What is fuzzed: each parser of a stranger's bytes, with what must hold for any of them.

A target takes bytes and returns nothing. Any exception out of it is a finding, AssertionError among them.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable

from chalice.app import ChaliceViewError, Request

from chalicelib import body
from chalicelib.guard import caller, policy
from chalicelib.guard.keys import jwks
from chalicelib.guard.settings import PUBLIC_KEY_ALGORITHMS
from chalicelib.guard.tokens import Caller, Key, Requirements
from tests.conftest import SECRET, forge
from tests.support.rfc import judge

NOW = 2_000_000_000.0
STRICT = Requirements(("HS256", "HS512"), "https://issuer.example", "us", "realm.roles", leeway=30, max_lifetime=3600)
IN_TEXT = Requirements(roles_claim="scope", roles_in_text=True)


def header(data: bytes) -> None:
    """The whole Authorization header, as a client sends it."""
    for text in (data.decode("latin-1"), data.decode(errors="surrogateescape")):
        judge(text, [SECRET], Requirements(), NOW)


def signed(data: bytes) -> None:
    """A header and a payload, one to a line, that were signed as they are: past the signature."""
    head, _, payload = data.partition(b"\n")
    forged = forge(head, payload)
    for wanted in (Requirements(), STRICT, IN_TEXT):
        judge(forged, [SECRET], wanted, NOW)


def method_arn(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    with contextlib.suppress(ValueError):
        stage, method, path = policy.parse_method_arn(text)
        assert text.removeprefix(f"{stage}/{method}/").lstrip("/") == path.removeprefix("/")
        # It becomes a policy's Resource, so none of IAM's wildcards may be in it.
        assert not set("*?") & set(stage + method)


def context(data: bytes) -> None:
    """What API Gateway hands over from the authorizer, in JSON."""
    with contextlib.suppress(ValueError, RecursionError):
        who = caller.from_context(json.loads(data))
        assert type(who) is Caller
        assert who.subject
        assert type(who.expires_at) is int
        assert not any(" " in role for role in who.roles)


def json_body(data: bytes) -> None:
    """A request's body, as text and, as API Gateway sends what is no text, in base64."""
    for text, in_base64 in ((data.decode(errors="replace"), False), (base64.b64encode(data).decode(), True)):
        _json_body(text, in_base64=in_base64)


def _json_body(text: str, *, in_base64: bool) -> None:
    event = {
        "requestContext": {"httpMethod": "POST", "resourcePath": "/protected-resource"},
        "headers": {"Content-Type": "application/json"},
        "pathParameters": {},
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "isBase64Encoded": in_base64,
        "body": text,
    }
    with contextlib.suppress(ChaliceViewError):
        json.dumps(body.json_body(Request(event)), allow_nan=False).encode()


def key_set(data: bytes) -> None:
    """A key of an identity provider's document, in JSON."""
    try:
        published = json.loads(data)
    except (ValueError, RecursionError):
        return
    for key in jwks._keys(published, PUBLIC_KEY_ALGORITHMS):
        assert type(key) is Key
        assert "d" not in published


TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": header,
    "signed": signed,
    "method_arn": method_arn,
    "context": context,
    "json_body": json_body,
    "key_set": key_set,
}
