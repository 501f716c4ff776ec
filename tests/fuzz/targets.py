"""What is fuzzed: each parser of a stranger's bytes, with what must hold for any of them.

A target takes bytes and returns nothing. Any exception out of it is a finding, AssertionError among them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from chalicelib.guard import OWNER, decision, middleware, policy
from chalicelib.guard.access import Table
from chalicelib.guard.decision import Caller, Outcome
from chalicelib.guard.keys import source
from chalicelib.guard.settings import PUBLIC_KEY_ALGORITHMS, Settings
from chalicelib.guard.tokens import Key
from tests.support.rfc import judge
from tests.support.tokens import SECRET, forge

NOW = 2_000_000_000.0
STRICT = Settings(
    algorithms=("HS256", "HS512"),
    issuer="https://issuer.example",
    audiences=("us", "we"),
    roles_claim="realm.roles",
    leeway=30,
    max_lifetime=3600,
)
IN_TEXT = Settings(roles_claim="scope", roles_in_text=True)
#: As Amazon Cognito's access tokens are asked for; and by RFC 9068.
COGNITO = Settings(audiences=("us",), audience_claim="client_id", claims={"token_use": "access"})
TYPED = Settings(token_type="at+jwt", caller_claims=("tenant", "email"))
OWN = ("GET", "/users/{sub}")
TABLE = Table({OWN: OWNER})


def header(data: bytes) -> None:
    """The whole Authorization header, as a client sends it."""
    for text in (data.decode("latin-1"), data.decode(errors="surrogateescape")):
        judge(text, [SECRET], Settings(), NOW)


def signed(data: bytes) -> None:
    """A header and a payload, one to a line, that were signed as they are: past the signature."""
    head, _, payload = data.partition(b"\n")
    forged = forge(head, payload)
    for wanted in (Settings(), STRICT, IN_TEXT, COGNITO, TYPED):
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
        who = decision.from_context(json.loads(data))
        assert type(who) is Caller
        assert who.subject
        assert type(who.expires_at) is int
        assert not any(" " in role for role in who.roles)
        assert all(type(text) is str for text in who.claims.values())


def path_parameter(data: bytes) -> None:
    """A subject, and the segment of a path for {sub}, as API Gateway hands it over: one to a line."""
    subject, _, segment = (part.decode(errors="replace") for part in data.partition(b"\n"))
    authorizer = {"principalId": subject, "roles": "", "exp": 2_000_000_000}
    decision = middleware.decide(OWN, authorizer, {"sub": segment}, TABLE, NOW - 1)
    octets = subject.encode()
    owns = unquote_to_bytes(segment) == octets and octets not in {b"", b".", b".."} and b"/" not in octets
    assert (decision.outcome is Outcome.ALLOW) == owns


def key_set(data: bytes) -> None:
    """A key of an identity provider's document, in JSON."""
    try:
        published = json.loads(data)
    except (ValueError, RecursionError):
        return
    for key in source._keys_of_jwk(published, PUBLIC_KEY_ALGORITHMS):
        assert type(key) is Key
        assert "d" not in published


TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": header,
    "signed": signed,
    "method_arn": method_arn,
    "context": context,
    "path_parameter": path_parameter,
    "key_set": key_set,
}
