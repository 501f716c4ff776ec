"""What holds for any table and any roles: searched for counterexamples by hypothesis."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.policy import policy_document
from chalicelib.rules import Route, guarded, match, permitted
from tests.test_policy import STAGE, decision

SEARCH = settings(max_examples=400, deadline=None)  # a search is no test of speed

# Templates that overlap in every way: the same literals and parameters at several depths.
SEGMENT = st.sampled_from(["a", "b", "c.d", "Z", "{x}", "{y}"])
TEMPLATE = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
GROUP = st.frozensets(st.sampled_from(["user", "admin", "auditor"]), min_size=1)
TABLE = st.dictionaries(st.tuples(st.sampled_from(["GET", "POST"]), TEMPLATE), GROUP, min_size=1, max_size=8)


def without_twins(table: dict[Route, frozenset[str]]) -> dict[Route, frozenset[str]]:
    """Leave out templates that differ in a parameter's name alone, as `rules.faults` asks for."""
    kept = {(method, re.sub(r"\{\w+\}", "{}", template)): (method, template) for method, template in table}
    return {route: table[route] for route in kept.values()}


@SEARCH
@given(TABLE, st.frozensets(st.sampled_from(["user", "admin", "auditor", "stranger"])), st.data())
def test_both_locks_together_allow_exactly_what_the_table_says(
    drawn: dict[Route, frozenset[str]], roles: frozenset[str], data: st.DataObject
) -> None:
    table = without_twins(drawn)
    policy = policy_document(STAGE, permitted(roles, table), guarded(table))
    for method, template in table:
        filled = [data.draw(st.sampled_from("abq7")) if "{" in part else part for part in template.split("/")]
        path = "/".join(filled)
        route = match(method, path, table)
        assert route is not None
        may = bool(table[route] & roles)
        gateway = decision(policy, method, path)
        handler = route in permitted(roles, table)
        assert (gateway == "Allow" and handler) == may
        if not permitted(roles, table):
            assert gateway == "Deny"
