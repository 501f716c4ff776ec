"""What holds for any table and any roles: searched for counterexamples by hypothesis."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from hypothesis import example, given, settings

from chalicelib.guard.access import OWNER, PUBLIC, Route, Rules, Table
from tests.support.iam import LITERALS, ROLES, STAGE, TABLES, decision, policy_for, routed

SEARCH = settings(max_examples=400, deadline=None)  # a search is no test of speed

# POST /b/{x} is closed and no Deny says so: POST/b/* would also match /b/a/a/a, which fits the open POST /{x}/a/a/a.
# That API Gateway sends this very path to another closed route is more than the policy looks at.
LEFT_OPEN: Rules = {
    ("GET", "/a"): PUBLIC,
    ("POST", "/b/{x}"): PUBLIC,
    ("POST", "/b/a/a/a"): PUBLIC,
    ("POST", "/{x}"): frozenset({"user"}),
    ("POST", "/{x}/a/a/a"): frozenset({"user"}),
}
USER = frozenset({"user"})


def requests(route: Route, table: Rules) -> list[tuple[str, str]]:
    """Return some requests that API Gateway sends to this route: values that meet literals, and one that does not."""
    method, template = route
    fills = product([*LITERALS, "q"], repeat=template.count("{"))
    paths = {re.sub(r"\{\w+\}", "{}", template).format(*fill) for fill in fills}
    return [(method, path) for path in sorted(paths) if routed(method, path, table) == route]


def only(effect: str, route: Route) -> dict[str, Any]:
    """Return a policy with the one ARN of this route, a parameter as `*`, made without the code under test."""
    arn = f"{STAGE}/{route[0]}" + "/".join("*" if "{" in part else part for part in route[1].split("/"))
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": [arn]}
    return {"Version": "2012-10-17", "Statement": [statement]}


@SEARCH
@given(TABLES, ROLES)
@example(LEFT_OPEN, USER)
def test_both_checks_together_allow_exactly_what_the_table_says(table: Rules, roles: frozenset[str]) -> None:
    may = Table(table).permitted(roles)
    policy = policy_for(*roles, table=table)
    for route, group in table.items():
        for request in requests(route, table) if group != PUBLIC else ():
            # The middleware compares the subject where the row is for the owner.
            assert (decision(policy, *request) == "Allow" and route in may) == bool(group & (roles | OWNER))
            if not may:
                assert decision(policy, *request) == "Deny"


@SEARCH
@given(TABLES, ROLES)
@example(LEFT_OPEN, USER)
def test_the_gateway_denies_a_closed_route_unless_templates_overlap(table: Rules, roles: frozenset[str]) -> None:
    may = Table(table).permitted(roles)
    policy = policy_for(*roles, table=table)
    for closed in table.keys() - may:
        for request in requests(closed, table):
            if (said := decision(policy, *request)) != "Deny":
                # Had the API this route and some permitted one alone, a Deny of this one by its own pattern would
                # refuse requests to the other.
                assert any(
                    decision(only("Deny", closed), *asked) == "Deny"
                    for route in may
                    for asked in requests(route, {route: USER, closed: USER})
                )
            if said == "Allow":
                # A permitted route needs its own pattern, and that one matches this request.
                assert any(decision(only("Allow", route), *request) == "Allow" for route in may)


@SEARCH
@given(TABLES, ROLES)
def test_shared_patterns_match_no_more_requests_than_each_routes_own(table: Rules, roles: frozenset[str]) -> None:
    may = Table(table).permitted(roles)
    allow = policy_for(*roles, table=table)["Statement"][0]
    if not may:
        return
    names = [arn for arn in allow["Resource"] if not arn.endswith("//")]  # the root's second one
    assert len(set(names)) == len(names) <= len(may)
    allowed_alone = {"Version": "2012-10-17", "Statement": [allow]}
    for closed in table.keys() - may:
        for request in requests(closed, table):
            if decision(allowed_alone, *request) == "Allow":
                assert any(decision(only("Allow", route), *request) == "Allow" for route in may)


@SEARCH
@given(TABLES)
def test_a_caller_without_a_role_is_allowed_the_owners_routes_alone(table: Rules) -> None:
    policy = policy_for(table=table)
    owned = {route for route, group in table.items() if group & OWNER}
    for route in table:
        for request in requests(route, table):
            matched = any(decision(only("Allow", one), *request) == "Allow" for one in owned)
            if route in owned:
                assert decision(policy, *request) == "Allow"
            elif not matched:
                assert decision(policy, *request) != "Allow"
