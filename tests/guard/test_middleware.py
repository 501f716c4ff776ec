"""The second check: caller, method and route of each request, past whatever the gateway let through."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import Chalice, Request
from chalice.test import Client

from chalicelib.guard import OWNER, PUBLIC, Guard
from chalicelib.guard.access import Route, Table
from chalicelib.guard.decision import Decision, Outcome, Reason
from chalicelib.guard.middleware import caller_of, check, decide
from tests.support.client import AsCaller, as_caller
from tests.support.events import ODD_CONTEXTS, context, request_event
from tests.support.owners import OWNERS
from tests.support.service import Service
from tests.support.tokens import SECRET, claims, sign

Log = Callable[[], list[dict[str, Any]]]
NOW = 1_999_999_999.0
GOOD = context(exp="2000000000")
READ: Route = ("GET", "/items")
WRITE: Route = ("POST", "/items")
HEALTH: Route = ("GET", "/health")
OWN: Route = ("GET", "/users/{sub}")
ORDERS: Route = ("GET", "/users/{sub}/orders")
TABLE = Table(
    {
        READ: frozenset({"user", "admin"}),
        WRITE: frozenset({"admin"}),
        HEALTH: PUBLIC,
        OWN: OWNER,
        ORDERS: frozenset({"support"}) | OWNER,
    }
)


def decided(route: Route, authorizer: object = GOOD, now: float = NOW, **parameters: str) -> Decision:
    return decide(route, authorizer, parameters, TABLE, now)


def verdict(*how: Any, **parameters: Any) -> tuple[Outcome, Reason | None]:
    decision = decided(*how, **parameters)
    return decision.outcome, decision.reason


# The decision.


def test_a_caller_with_a_role_of_the_row_is_allowed_and_handed_on() -> None:
    decision = decided(READ)
    assert (decision.outcome, decision.reason, decision.route) == (Outcome.ALLOW, None, READ)
    assert decision.caller is not None
    assert decision.caller.subject == "alice"


@pytest.mark.parametrize("roles", ["", " ", "User", "administrator", "user,admin", "(public)", "(owner)", "support"])
def test_roles_are_compared_exactly(roles: str) -> None:
    assert verdict(READ, context(exp="2000000000", roles=roles)) == (Outcome.DENY, Reason.NO_PERMISSION)


def test_a_role_for_one_method_is_none_for_another() -> None:
    assert verdict(WRITE) == (Outcome.DENY, Reason.NO_PERMISSION)


@pytest.mark.parametrize("route", [("GET", "/unlisted"), ("PUT", "/items"), ("get", "/items"), ("GET", "/items/")])
def test_a_route_in_no_row_is_closed_to_everyone(route: Route) -> None:
    everything = context(exp="2000000000", roles="user admin support (public) (owner)")
    assert verdict(route, everything) == (Outcome.DENY, Reason.NO_PERMISSION)


@pytest.mark.parametrize("authorizer", [None, GOOD, context(exp="1"), "odd"])
def test_a_public_row_needs_no_caller_and_has_none(authorizer: object) -> None:
    assert decided(HEALTH, authorizer) == Decision(Outcome.ALLOW, route=HEALTH)


@pytest.mark.parametrize("route", [READ, ORDERS, ("GET", "/unlisted")])
@pytest.mark.parametrize("odd", ODD_CONTEXTS)
def test_a_context_of_another_form_is_no_caller(odd: object, route: Route) -> None:
    assert verdict(route, odd, sub="alice") == (Outcome.UNAUTHORIZED, Reason.NO_CALLER)


@pytest.mark.parametrize("exp", ["2000000000", 2000000000])
def test_a_caller_expires_in_the_second_of_its_expiry(exp: Any) -> None:
    caller = context(exp=exp)
    assert verdict(READ, caller, 1_999_999_999.9) == (Outcome.ALLOW, None)
    assert verdict(READ, caller, 2_000_000_000.0) == (Outcome.UNAUTHORIZED, Reason.EXPIRED)


def test_an_expired_caller_is_a_401_on_any_route() -> None:
    assert verdict(WRITE, GOOD, 2_000_000_000.0) == (Outcome.UNAUTHORIZED, Reason.EXPIRED)
    assert verdict(OWN, GOOD, 2_000_000_000.0, sub="bob") == (Outcome.UNAUTHORIZED, Reason.EXPIRED)
    assert decided(WRITE, GOOD, 2_000_000_000.0).route == WRITE


# Only one's own.


@pytest.mark.parametrize(("subject", "segment", "owns"), OWNERS)
@pytest.mark.parametrize("route", [OWN, ORDERS])
def test_an_owner_is_whose_subject_the_path_names(route: Route, subject: str, segment: str, *, owns: bool) -> None:
    expected = (Outcome.ALLOW, None) if owns else (Outcome.DENY, Reason.NOT_OWNER)
    caller = context(exp="2000000000", principalId=subject, roles="")
    assert verdict(route, caller, sub=segment) == expected


@pytest.mark.parametrize("roles", ["(owner)", "(public)", "user (owner) (public)"])
def test_no_role_makes_an_owner(roles: str) -> None:
    caller = context(exp="2000000000", roles=roles)
    assert verdict(ORDERS, caller, sub="bob") == (Outcome.DENY, Reason.NOT_OWNER)


def test_a_path_without_the_parameter_has_no_owner() -> None:
    assert verdict(OWN) == (Outcome.DENY, Reason.NOT_OWNER)
    assert verdict(OWN, id="alice") == (Outcome.DENY, Reason.NOT_OWNER)


@pytest.mark.parametrize("segment", ["bob", "", ".", "a%2Fb", "%FF"])
def test_a_role_of_the_row_may_see_anybodys(segment: str) -> None:
    support = context(exp="2000000000", roles="support")
    assert verdict(ORDERS, support, sub=segment) == (Outcome.ALLOW, None)
    assert verdict(OWN, support, sub=segment) == (Outcome.DENY, Reason.NOT_OWNER)


def test_an_owner_of_the_path_is_nobody_on_a_row_without_owner() -> None:
    table = Table({OWN: frozenset({"support"})})
    assert decide(OWN, GOOD, {"sub": "alice"}, table, NOW).reason == Reason.NO_PERMISSION


# In front of the views.


def answered(service: Service, authorizer: Any, *route: str, **parameters: str) -> tuple[int, Any, dict[str, str]]:
    answer = service.app(request_event(authorizer, *route, **parameters), None)
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def test_what_api_gateway_hands_over_lets_the_caller_in(fixture_service: Service) -> None:
    status, body, _ = answered(fixture_service, context(caller_claims='{"tenant":"acme"}'))
    assert (status, body) == (200, {"subject": "alice", "roles": ["user"], "claims": {"tenant": "acme"}})


def test_without_a_caller_it_is_a_401_with_a_challenge(fixture_service: Service, log: Log) -> None:
    status, body, headers = answered(fixture_service, None)
    assert (status, body) == (401, {"message": "Unauthorized"})
    assert headers["WWW-Authenticate"] == 'Bearer realm="api"'
    (line,) = log()
    assert (line["check"], line["outcome"], line["reason"]) == ("middleware", "unauthorized", Reason.NO_CALLER)
    assert (line["method"], line["route"], line["request_id"]) == ("GET", "/items", "request-1")
    assert "subject" not in line


@pytest.mark.parametrize("text", ["", "[]", "null", '{"tenant":7}', "[" * 2048, "x" * 9999])
def test_odd_claims_in_the_context_are_a_401(fixture_service: Service, text: str) -> None:
    assert answered(fixture_service, context(caller_claims=text))[:2] == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("as_text", [str, int])
def test_a_cached_answer_does_not_outlive_the_token(
    fixture_service: Service, log: Log, as_text: Callable[[int], Any]
) -> None:
    status, body, headers = answered(fixture_service, context(exp=as_text(int(time.time()))))
    assert (status, body) == (401, {"message": "Unauthorized"})
    assert headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    (line,) = log()
    assert (line["outcome"], line["reason"], line["subject"]) == ("unauthorized", Reason.EXPIRED, "alice")


def test_a_role_that_may_not_is_a_403_though_the_gateway_let_it_in(fixture_service: Service, log: Log) -> None:
    status, body, headers = answered(fixture_service, context(), "POST")
    assert (status, body) == (403, {"message": "Forbidden"})
    assert headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    (line,) = log()
    assert (line["check"], line["outcome"], line["reason"]) == ("middleware", "deny", Reason.NO_PERMISSION)
    assert (line["subject"], line["roles"]) == ("alice", ["user"])
    assert (line["method"], line["route"], line["request_id"]) == ("POST", "/items", "request-1")


def test_anothers_orders_are_a_403_and_the_path_is_not_logged(fixture_service: Service, log: Log) -> None:
    status, body, headers = answered(fixture_service, context(), *ORDERS, sub="bob")
    assert (status, body) == (403, {"message": "Forbidden"})
    assert headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    (line,) = log()
    assert (line["outcome"], line["reason"], line["route"]) == ("deny", Reason.NOT_OWNER, "/users/{sub}/orders")
    assert "bob" not in str(line)


def test_a_request_without_path_parameters_has_no_owner(fixture_service: Service) -> None:
    event = request_event(context(), *ORDERS)
    event["pathParameters"] = None  # as API Gateway writes that there are none
    assert fixture_service.app(event, None)["statusCode"] == 403


@pytest.mark.parametrize(("subject", "segment", "owns"), OWNERS)
def test_the_test_client_decides_alike_whose_a_path_is(
    client: Client, subject: str, segment: str, *, owns: bool
) -> None:
    answer = as_caller(client)(subject=subject).get(f"/users/{segment}/orders")
    assert answer.status_code == (200 if owns else 403)
    if owns:  # a view gets the segment as it is in the path, so it reads the subject from the caller
        assert answer.json_body == {"of": segment, "subject": subject}


@pytest.mark.parametrize("path", ["/users/alice/orders/", "/users//orders", "/users/alice//orders", "/users/alice"])
def test_another_path_than_the_template_is_nobodys(client: Client, path: str) -> None:
    assert as_caller(client)(subject="alice").get(path).status_code == 403


def test_a_caller_without_any_role_reads_its_own(client: Client) -> None:
    alice = as_caller(client)(subject="alice")
    assert alice.get("/users/alice/orders").status_code == 200
    assert [alice.get(path).status_code for path in ("/users/bob/orders", "/items", "/reports/7")] == [403] * 3


def test_support_reads_anybodys_and_without_a_valid_token_none(client: Client) -> None:
    support = as_caller(client)("support", subject="carol")
    for subject in ("alice", "bob"):
        assert support.get(f"/users/{subject}/orders").json_body == {"of": subject, "subject": "carol"}
    forged = AsCaller(client, sign(claims(roles=["support"]), SECRET[::-1]))
    for caller in (as_caller(client)(None), as_caller(client)("support", exp=1), forged):
        assert caller.get("/users/alice/orders").status_code == 401


def test_an_event_without_a_route_is_refused(fixture_service: Service, log: Log) -> None:
    assert fixture_service.app({}, None)["statusCode"] == 401
    (line,) = log()
    assert (line["check"], line["reason"]) == ("middleware", Reason.NO_CALLER)
    assert fixture_service.app({"requestContext": {}}, None)["statusCode"] == 401


def test_a_public_view_answers_everybody_and_has_no_caller(log: Log) -> None:
    other = Chalice("other", configure_logs=False)
    Guard(other, {HEALTH: PUBLIC, ("GET", "/who"): PUBLIC})
    other.route("/health", methods=["GET"])(lambda: {"up": True})
    other.route("/who", methods=["GET"])(lambda: caller_of(other.current_request).subject)
    answer = other(request_event(None, *HEALTH), None)
    assert (answer["statusCode"], answer["body"]) == (200, '{"up":true}')
    (line,) = log()
    assert (line["check"], line["outcome"], line["route"]) == ("middleware", "allow", "/health")
    assert other(request_event(context(), path="/who"), None)["statusCode"] == 500


def test_without_a_caller_a_view_gets_an_error_that_says_so() -> None:
    with pytest.raises(LookupError, match=r"^this request has no caller: .* public$"):
        caller_of(None)


def test_a_method_without_a_view_is_handed_on_to_chalice(fixture_service: Service, log: Log) -> None:
    for event in (request_event(None, path="/nowhere"), request_event(None, "PUT")):
        request = Request(event)
        assert check(request, lambda given: given, fixture_service.app, TABLE) is request  # type: ignore[arg-type, return-value]  # a view that answers what it gets
    assert log() == []
    assert fixture_service.app(request_event(None, "PUT"), None)["statusCode"] == 405


def test_a_view_may_still_make_a_plain_dict_of_its_request() -> None:
    other = Chalice("other", configure_logs=False)
    Guard(other, {("GET", "/echo"): frozenset({"user"})})

    @other.route("/echo", methods=["GET"])
    def echo() -> Any:
        return other.current_request.to_dict()

    answer = other(request_event(context(), path="/echo"), None)
    assert (answer["statusCode"], json.loads(answer["body"])["method"]) == (200, "GET")
