"""What holds for any table and any roles: searched for counterexamples by hypothesis."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.guard.policy import policy_document
from chalicelib.rules import PUBLIC, Route, match, permitted, tree
from tests.guard.test_policy import STAGE, decision

SEARCH = settings(max_examples=400, deadline=None)  # a search is no test of speed

# Templates that overlap in every way: the same literals and parameters at several depths.
SEGMENT = st.sampled_from(["a", "b", "c.d", "Z", "{x}", "{y}"])
TEMPLATE = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
GROUP = st.frozensets(st.sampled_from(["user", "admin", "auditor"]), min_size=1) | st.just(PUBLIC)
ROLES = st.frozensets(st.sampled_from(["user", "admin", "auditor", "stranger"]))
TABLE = st.dictionaries(st.tuples(st.sampled_from(["GET", "POST"]), TEMPLATE), GROUP, min_size=1, max_size=8)


def without_twins(table: dict[Route, frozenset[str]]) -> dict[Route, frozenset[str]]:
    """Leave out templates that differ in a parameter's name alone, as `rules.faults` asks for."""
    kept = {(method, re.sub(r"\{\w+\}", "{}", template)): (method, template) for method, template in table}
    return {route: table[route] for route in kept.values()}


def requests(route: Route, table: dict[Route, frozenset[str]]) -> list[tuple[str, str]]:
    """Return some requests that API Gateway sends to this route: values that meet literals, and one that does not."""
    method, template = route
    fills = product(["a", "b", "c.d", "Z", "q"], repeat=template.count("{"))
    paths = {re.sub(r"\{\w+\}", "{}", template).format(*fill) for fill in fills}
    return [(method, path) for path in sorted(paths) if match(method, path, tree(table)) == route]


def only(effect: str, route: Route) -> dict[str, Any]:
    """Return a policy with the one ARN of this route, a parameter as `*`, made without the code under test."""
    arn = f"{STAGE}/{route[0]}" + "/".join("*" if "{" in part else part for part in route[1].split("/"))
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": [arn]}
    return {"Version": "2012-10-17", "Statement": [statement]}


@SEARCH
@given(TABLE, ROLES)
def test_both_locks_together_allow_exactly_what_the_table_says(
    drawn: dict[Route, frozenset[str]], roles: frozenset[str]
) -> None:
    table = without_twins(drawn)
    may = permitted(roles, table)
    policy = policy_document(STAGE, may, table)
    for route, group in table.items():
        for method, path in requests(route, table) if group != PUBLIC else ():
            gateway, handler = decision(policy, method, path), match(method, path, tree(table)) in may
            assert (gateway == "Allow" and handler) == bool(group & roles)
            if not may:
                assert gateway == "Deny"


@SEARCH
@given(TABLE, ROLES)
def test_the_gateway_alone_allows_a_closed_route_only_where_no_pattern_could_say_otherwise(
    drawn: dict[Route, frozenset[str]], roles: frozenset[str]
) -> None:
    table = without_twins(drawn)
    may = permitted(roles, table)
    policy = policy_document(STAGE, may, table)
    for closed in table.keys() - may:
        for method, path in requests(closed, table):
            if decision(policy, method, path) == "Allow":
                # A permitted route needs its own pattern, and that one takes this request ...
                assert any(decision(only("Allow", route), method, path) == "Allow" for route in may)
                # ... and to deny the closed route by its own pattern would take requests of permitted ones.
                asked = [request for route in may for request in requests(route, table)]
                assert any(decision(only("Deny", closed), *request) == "Deny" for request in asked)


@SEARCH
@given(TABLE, ROLES)
def test_what_covers_many_routes_takes_no_more_requests_than_their_own_patterns_and_fewer_words(
    drawn: dict[Route, frozenset[str]], roles: frozenset[str]
) -> None:
    table = without_twins(drawn)
    may = permitted(roles, table)
    allow = policy_document(STAGE, may, table)["Statement"][0]
    if not may:
        return
    assert len(set(allow["Resource"])) == len(allow["Resource"]) <= len(may)
    allowed_alone = {"Version": "2012-10-17", "Statement": [allow]}
    for closed in table.keys() - may:
        for request in requests(closed, table):
            if decision(allowed_alone, *request) == "Allow":
                assert any(decision(only("Allow", route), *request) == "Allow" for route in may)
