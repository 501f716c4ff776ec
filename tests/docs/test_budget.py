"""What a decision may cost, counted and not timed: bytes of policies, and what the operator is told of too many."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
from click import ClickException

from bench.tables import regular
from chalicelib.guard.policy import policy_document
from chalicelib.rules import METHODS, permitted
from operations import stage
from operations.deployment import LONGEST_STAGE_ARN, MAX_ANSWER_BYTES, largest_answer
from tests.guard.test_policy import decision

ARN = LONGEST_STAGE_ARN + "prod"


@pytest.mark.parametrize(("rules", "most"), [(10, 1100), (100, 5400), (1000, 5000)])
@pytest.mark.parametrize("role", ["clerk", "boss"])
def test_the_policy_for_a_regular_table_stays_small(role: str, rules: int, most: int) -> None:
    table = regular(rules)
    policy = policy_document(ARN, permitted([role], table), table)
    arns = [arn for statement in policy["Statement"] for arn in statement["Resource"]]
    assert len(arns) == len(set(arns))
    assert len(json.dumps(policy)) <= most


@pytest.mark.parametrize("areas", [1, 5, 10, 25, 30])
def test_a_thousand_rules_fit_under_up_to_thirty_prefixes(areas: int) -> None:
    assert largest_answer(stage.load("dev"), regular(1000, areas)) < MAX_ANSWER_BYTES


def test_a_thousand_rules_are_decided_as_the_table_says() -> None:
    table = regular(1000)
    may = permitted(["clerk"], table)
    arn = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev"
    policy = policy_document(arn, may, table)
    for route in [*table][::17]:
        path = re.sub(r"\{\w+\}", "7", route[1])
        assert decision(policy, route[0], path) == ("Allow" if route in may else "Deny")


def test_a_table_that_cannot_fit_is_refused_with_the_role_and_the_mend() -> None:
    with pytest.raises(ClickException) as refused:
        largest_answer(stage.load("dev"), regular(1000, 100))
    assert "with the role clerk would have" in refused.value.message
    assert "under one prefix" in refused.value.message


def test_roles_that_fit_one_by_one_but_not_together_are_refused() -> None:
    table = {}
    for number, name in product(range(50), "xy"):
        reader, writer = ("reader of odd", "writer of even") if number % 2 else ("reader of even", "writer of odd")
        table["GET", f"/area-{number:02}/{name}"] = frozenset({reader})
        table["POST", f"/area-{number:02}/{name}"] = frozenset({writer})
    for role in {role for group in table.values() for role in group}:
        assert len(json.dumps(policy_document(ARN, permitted([role], table), table))) < MAX_ANSWER_BYTES - 1000
    with pytest.raises(ClickException, match="with the roles reader of even, writer of even would have"):
        largest_answer(stage.load("dev"), table)


def test_a_path_that_no_policy_can_hold_is_refused() -> None:
    table = {("GET", "/" + "x" * 500): frozenset({"user"}), ("GET", "/b"): frozenset({"admin"})}
    with pytest.raises(ClickException) as refused:
        largest_answer(stage.load("dev"), table)
    assert "ARN of more than 512 characters" in refused.value.message


def test_the_methods_that_the_table_never_names_cost_one_pattern_each() -> None:
    table = {("GET", "/a"): frozenset({"user"}), ("GET", "/b"): frozenset({"admin"})}
    policy = policy_document(ARN, permitted(["user"], table), table)
    (deny,) = (found for found in policy["Statement"] if found["Effect"] == "Deny")
    assert len(deny["Resource"]) == len(METHODS)
