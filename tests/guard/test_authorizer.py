"""The authorizer: one answer for the whole API, a 401 for any fault of a token, a 500 for any failure of ours."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import Chalice
from chalice.test import Client

from chalicelib.guard import OWNER, Guard
from chalicelib.guard.access import Table
from chalicelib.guard.authorizer import AnswerTooLarge, AuthorizerError, answer, decide
from chalicelib.guard.decision import Caller, Outcome, Reason
from chalicelib.guard.keys.source import KeySet, Revocations, hmac_keys
from chalicelib.guard.policy import MAX_ANSWER_BYTES
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import MAX_NUMERIC_DATE
from tests.support.events import ARN, STAGE_ARN, token_event
from tests.support.service import Service
from tests.support.tokens import SECRET, claims, sign, token

Log = Callable[[], list[dict[str, Any]]]
NOW = 1_999_999_999.0
TABLE = Table(
    {
        ("GET", "/items"): frozenset({"user", "admin"}),
        ("POST", "/items"): frozenset({"admin"}),
        ("GET", "/users/{sub}"): OWNER,
    }
)


def authorize(service: Service, authorization: str, arn: str = ARN) -> Any:
    return service.jwt_authorizer(token_event(authorization, arn), None)


# The decision.


def decided(
    authorization: str,
    route: tuple[str, str] | None = ("GET", "/items"),
    revocations: Revocations = Revocations(),  # noqa: B008  # frozen
    **wanted: Any,
) -> Any:
    keys = hmac_keys(SECRET, "a-version", ("HS256",), "the test's secret")
    key_set = KeySet(keys, revocations, age=12.5, failure="why it is old")
    return decide(authorization, route, TABLE, key_set, Settings(**wanted), NOW)


def good(*roles: str, **changes: Any) -> str:
    return sign(claims(roles=list(roles), exp=2_000_000_000, iat=1, **changes))


def test_a_decision_that_allows_says_who_what_and_by_which_key() -> None:
    decision = decided(good("user"))
    assert (decision.outcome, decision.reason, decision.route) == (Outcome.ALLOW, None, ("GET", "/items"))
    assert decision.caller == Caller("alice", frozenset({"user"}), 2_000_000_000, {}, 1, "a-version")
    assert (decision.kid, decision.keys_age, decision.detail) == ("a-version", 12.5, "why it is old")


@pytest.mark.parametrize("route", [("POST", "/items"), ("GET", "/unlisted"), None])
def test_a_route_for_other_roles_is_a_denial_with_its_caller(route: tuple[str, str] | None) -> None:
    decision = decided(good("user"), route)
    assert (decision.outcome, decision.reason) == (Outcome.DENY, Reason.NO_PERMISSION)
    assert (decision.caller.subject, decision.route, decision.kid) == ("alice", route, "a-version")


@pytest.mark.parametrize("roles", [[], ["Admin"], ["administrator"], ["(owner)"], ["(public)"]])
def test_a_caller_without_a_known_role_may_but_see_its_own(roles: list[str]) -> None:
    assert decided(good(*roles), ("GET", "/users/{sub}")).outcome == Outcome.ALLOW
    assert decided(good(*roles), ("GET", "/items")).reason == Reason.NO_PERMISSION


def test_a_refused_token_makes_a_decision_without_a_caller() -> None:
    decision = decided(sign(claims(), SECRET[::-1], kid="a-version"))
    assert (decision.outcome, decision.reason, decision.caller) == (Outcome.UNAUTHORIZED, Reason.BAD_SIGNATURE, None)
    assert (decision.kid, decision.keys_age, decision.detail) == ("a-version", 12.5, "why it is old")


def test_a_decision_names_the_claim_that_the_reason_is_about() -> None:
    decision = decided(good("user"), claims={"tenant": "acme"})
    assert (decision.reason, decision.claim) == (Reason.MISSING_CLAIM, "tenant")


@pytest.mark.parametrize(
    ("revocations", "refused"),
    [
        (Revocations(), False),
        (Revocations(subjects={"alice": 999}), False),
        (Revocations(subjects={"alice": 1000}), True),
        (Revocations(subjects={"bob": 2000}), False),
        (Revocations(subjects={"Alice": 2000}), False),
        (Revocations(everyone=999), False),
        (Revocations(everyone=1000), True),
        (Revocations(everyone=1000, subjects={"alice": 5}), True),
        (Revocations(everyone=5, subjects={"alice": 1000}), True),
    ],
)
def test_a_token_issued_before_its_callers_sessions_ended_is_refused(
    revocations: Revocations, *, refused: bool
) -> None:
    decision = decided(sign(claims(iat=1000, exp=2_000_000_000)), revocations=revocations)
    assert decision.reason == (Reason.REVOKED if refused else None)
    assert decision.outcome == (Outcome.UNAUTHORIZED if refused else Outcome.ALLOW)


def test_a_token_without_iat_is_refused_once_its_subject_is_listed() -> None:
    undated = sign(claims(iat=..., exp=2_000_000_000))
    assert decided(undated).outcome == Outcome.ALLOW
    for revocations in (Revocations(everyone=0), Revocations(subjects={"alice": 0})):
        assert decided(undated, revocations=revocations).reason == Reason.REVOKED


def test_a_revoked_token_that_is_invalid_too_is_refused_for_that() -> None:
    forged = sign(claims(iat=1, exp=2_000_000_000), SECRET[::-1])
    assert decided(forged, revocations=Revocations(everyone=1000)).reason == Reason.BAD_SIGNATURE


# The answer.


def test_an_answer_is_for_the_whole_api_whatever_was_asked_for(fixture_service: Service) -> None:
    asked = [f"{STAGE_ARN}/{path}" for path in ("GET/items", "GET/x", "POST/y", "GET//", "DELETE/users/bob/orders")]
    answers = [authorize(fixture_service, token("user"), arn) for arn in asked]
    assert all(one == answers[0] for one in answers)


def test_an_answer_holds_an_allow_and_a_deny_and_no_subject(fixture_service: Service) -> None:
    answered = authorize(fixture_service, token("user", sub="*"))
    statements = answered["policyDocument"]["Statement"]
    assert {statement["Effect"] for statement in statements} == {"Allow", "Deny"}
    assert {statement["Action"] for statement in statements} == {"execute-api:Invoke"}
    assert authorize(fixture_service, token("user", sub="alice"))["policyDocument"] == answered["policyDocument"]


def test_an_answer_carries_who_calls_in_scalars(fixture_service: Service) -> None:
    expires = int(time.time()) + 60
    answered = authorize(fixture_service, token("user", "x" * 3000, "admin", "user", exp=expires))
    assert answered["principalId"] == "alice"
    assert answered["context"] == {"roles": "admin user", "exp": expires}


def test_a_claim_for_the_views_is_in_the_context_as_json(
    fixture_service: Service, environment: Callable[..., None]
) -> None:
    environment(JWT_CALLER_CLAIMS="tenant email")
    answered = authorize(fixture_service, token("user", tenant="acme", admin=True))
    assert json.loads(answered["context"]["caller_claims"]) == {"tenant": "acme"}


def test_keys_are_kept_for_the_time_that_is_set(
    fixture_service: Service, environment: Callable[..., None], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(JWT_KEY_TTL_SECONDS="60", JWT_KEY_MAX_STALE_SECONDS="0")
    fetches = []
    for now in (1000.0, 1059.0, 1060.0):
        monkeypatch.setattr("chalicelib.guard.keys.source.monotonic", lambda now=now: now)
        authorize(fixture_service, token("user"))
        fetches.append(len([line for line in log() if "event" in line]))
    assert fetches == [1, 0, 1]


def many_roles(count: int) -> Table:
    """Return a table with so many routes, each for a role of its own."""
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]
    return Table({("GET", f"/{name}"): frozenset({name[:20]}) for name in names})


def test_an_answer_that_api_gateway_would_not_take_is_not_sent() -> None:
    table = many_roles(300)
    caller = Caller("alice", frozenset(sorted(table.roles)[::2]), 1)
    with pytest.raises(AnswerTooLarge):
        answer(caller, table, STAGE_ARN)
    table = many_roles(20)
    small = answer(Caller("alice", frozenset(sorted(table.roles)[::2]), 1), table, STAGE_ARN)
    assert len(json.dumps(small)) <= MAX_ANSWER_BYTES


@pytest.mark.parametrize("claims", [{}, {"tenant": "acme"}])
@pytest.mark.parametrize("subject", ["a", "a" * 255, '"' * 255, "\u00e9" * 127, "\u20ac" * 85, "\U0001f511" * 63])
def test_an_answer_of_exactly_the_bytes_that_api_gateway_takes_is_sent(subject: str, claims: dict[str, str]) -> None:
    roles = many_roles(36)
    some = frozenset(sorted(roles.roles)[::2])
    caller = Caller(subject, some, MAX_NUMERIC_DATE, claims)

    def made(padding: int) -> dict[str, Any]:
        return answer(caller, Table({**roles.rules, ("GET", "/" + "x" * padding): some}), STAGE_ARN)

    rest = MAX_ANSWER_BYTES - len(json.dumps(made(1))) + 1
    assert len(json.dumps(made(rest))) == MAX_ANSWER_BYTES
    with pytest.raises(AnswerTooLarge):
        made(rest + 1)


def test_the_claims_for_the_views_count_in_the_size_of_an_answer() -> None:
    roles = frozenset(f"role-{number:0100}" for number in range(35))
    table = Table({("GET", "/items"): roles})
    claims_of_quotes = {"note": '"' * 1000}  # two bytes each in JSON, four in the JSON of that
    assert answer(Caller("alice", roles, 1), table, STAGE_ARN)
    with pytest.raises(AnswerTooLarge):
        answer(Caller("alice", roles, 1, claims_of_quotes), table, STAGE_ARN)


def test_an_answer_that_is_too_large_is_a_500_and_no_line_says_allow(log: Log) -> None:
    table = many_roles(300)
    other = Chalice("other", configure_logs=False)
    guard = Guard(other, table.rules)
    held = [sorted(table.roles)[number] for number in range(0, 300, 2)]
    request = other.authorizer()(guard.authorize)
    (first,) = (route for route in table.rules if table.rules[route] == {held[0]})
    with pytest.raises(AuthorizerError, match=r"^Internal Server Error$"):
        request(token_event(token(*held), f"{STAGE_ARN}/GET{first[1]}"), None)
    (line,) = [line for line in log() if "check" in line]
    assert (line["outcome"], line["reason"], line["route"]) == ("error", Reason.ANSWER_TOO_LARGE, first[1])
    assert "8 KB" in line["detail"]
    assert "subject" not in line


def test_after_a_refresh_the_line_still_has_its_route(fixture_service: Service, log: Log) -> None:
    with pytest.raises(AuthorizerError):
        authorize(fixture_service, sign(claims(), "another secret, of thirty-two bytes"))
    fetched, refreshed, line = log()
    assert (fetched["event"], refreshed["event"]) == ("keys", "keys")
    assert (line["reason"], line["route"]) == (Reason.BAD_SIGNATURE, "/items")


# What Lambda tells API Gateway, and `chalice local` a client.


def test_a_401_is_the_very_text_unauthorized(fixture_service: Service) -> None:
    with pytest.raises(AuthorizerError) as refused:
        authorize(fixture_service, "nonsense")
    assert str(refused.value) == "Unauthorized"
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_500_says_nothing_of_what_it_was(fixture_service: Service) -> None:
    with pytest.raises(AuthorizerError) as failed:
        authorize(fixture_service, token("admin"), "nonsense")
    assert str(failed.value) == "Internal Server Error"
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


@pytest.mark.parametrize(
    ("authorization", "secret", "status", "challenge"),
    [
        ("nonsense", SECRET, 401, 'Bearer error="invalid_token"'),
        (token("user"), "short", 500, None),
    ],
    ids=["unauthorized", "failure"],
)
@pytest.mark.parametrize("origin", [None, "https://app.example.com"])
def test_a_refusal_under_chalice_local_has_the_gateways_headers(
    client: Client,
    environment: Callable[..., None],
    authorization: str,
    secret: str,
    status: int,
    challenge: str | None,
    origin: str | None,
) -> None:
    environment(AUTHORIZER_SECRET=secret, CORS_ALLOWED_ORIGIN=origin)
    refused = client.http.get("/items", headers={"Authorization": authorization})
    assert refused.status_code == status
    assert refused.headers.get("WWW-Authenticate") == challenge
    assert refused.headers.get("Access-Control-Allow-Origin", "absent") == (origin or "absent")
    assert refused.body == b'{"message":"%s"}' % {401: b"Unauthorized", 500: b"Internal Server Error"}[status]


@pytest.mark.parametrize(
    "arn",
    [
        "nonsense",
        "",
        "arn:aws:execute-api:*:*:*/*/GET/x",
        f"{STAGE_ARN.replace('abc123', 'a*c')}/GET/items",
        f"{STAGE_ARN.replace('/dev', '/d?v')}/GET/items",
        f"{STAGE_ARN}/*/items",
    ],
)
def test_an_event_that_api_gateway_never_sends_is_a_500(fixture_service: Service, log: Log, arn: str) -> None:
    with pytest.raises(AuthorizerError, match=r"^Internal Server Error$"):
        authorize(fixture_service, token("admin"), arn)
    (line,) = log()
    assert (line["check"], line["outcome"], line["reason"]) == ("authorizer", "error", Reason.UNEXPECTED)
    assert re.fullmatch(r"ValueError in \w*parse_method_arn\w*, line \d+", line["detail"])


@pytest.mark.parametrize(
    "stage_arn",
    [
        STAGE_ARN,
        "arn:aws-cn:execute-api:cn-north-1:123456789012:abc123/prod",
        # Not AWS: serverless-offline, a gateway with authorizers from npm.
        "arn:aws:execute-api:us-east-1:random-account-id:random-api-id/dev",
    ],
)
def test_the_resources_of_an_answer_are_of_the_stage_that_asked(fixture_service: Service, stage_arn: str) -> None:
    answered = authorize(fixture_service, token("user"), f"{stage_arn}/GET/items")
    arns = [arn for statement in answered["policyDocument"]["Statement"] for arn in statement["Resource"]]
    assert all(arn.startswith(f"{stage_arn}/") for arn in arns)


# A failure of ours.


@pytest.mark.parametrize(
    ("variables", "reason", "named"),
    [
        ({"AUTHORIZER_SECRET": None}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET"),
        ({"AUTHORIZER_SECRET": "too-short"}, Reason.KEYS_UNAVAILABLE, "32 bytes"),
        ({"AUTHORIZER_SECRET": "x" * 31}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET"),
        ({"AUTHORIZER_SECRET": "\udcff" * 40}, Reason.KEYS_UNAVAILABLE, "for HS256 (UTF-8"),
        ({"AUTHORIZER_SECRET": "ssh-rsa " + "A" * 64}, Reason.KEYS_UNAVAILABLE, "not a public key"),
        ({"AUTHORIZER_SECRET": '{"kty": "oct", "k": "' + "A" * 64 + '"}'}, Reason.KEYS_UNAVAILABLE, "or a JWK"),
        ({"AUTHORIZER_SECRET": "x" * 40, "JWT_ALGORITHMS": "HS512"}, Reason.KEYS_UNAVAILABLE, "64 bytes"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, Reason.BAD_SETTING, "JWT_SECRET_ID"),
        ({"JWT_ALGORITHMS": "none"}, Reason.BAD_SETTING, "JWT_ALGORITHMS"),
        ({"JWT_MAX_LIFETIME": "60"}, Reason.BAD_SETTING, "JWT_MAX_LIFETIME_SECONDS"),
        ({"JWT_AUDIENCE_CLAIM": "client_id"}, Reason.BAD_SETTING, "token_use=access"),
    ],
)
def test_a_failure_of_ours_is_a_500_and_a_line_that_names_the_fix(
    client: Client,
    log: Log,
    environment: Callable[..., None],
    variables: dict[str, str | None],
    reason: Reason,
    named: str,
) -> None:
    environment(**variables)
    failed = client.http.get("/items", headers={"Authorization": token("admin")})
    assert (failed.status_code, failed.json_body) == (500, {"message": "Internal Server Error"})
    (line,) = [line for line in log() if "outcome" in line]  # beside it, that keys could not be fetched
    assert (line["check"], line["outcome"], line["reason"]) == ("authorizer", "error", reason)
    assert named in line["detail"]
    assert SECRET not in str(line)


def test_it_recovers_when_the_setting_is_right(client: Client, environment: Callable[..., None]) -> None:
    ask = {"headers": {"Authorization": token("user")}}
    environment(JWT_ALGORITHMS="none")
    assert client.http.get("/items", **ask).status_code == 500
    environment(JWT_ALGORITHMS=None)
    assert client.http.get("/items", **ask).status_code == 200


def test_settings_are_read_once_and_kept(client: Client, environment: Callable[..., None]) -> None:
    ask = {"headers": {"Authorization": token("user")}}
    assert client.http.get("/items", **ask).status_code == 200
    environment(JWT_ALGORITHMS="none")
    assert client.http.get("/items", **ask).status_code == 200
