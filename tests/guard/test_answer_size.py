"""What an answer may cost, counted and not timed: bytes of policies, and what the operator reads of too many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations, product

import pytest
from click import ClickException
from hypothesis import given, settings

from bench.tables import regular
from chalicelib.guard.access import Rules, Table
from chalicelib.guard.decision import Caller, to_context
from chalicelib.guard.policy import MAX_ANSWER_BYTES, document, patterns
from chalicelib.guard.tokens import MAX_NUMERIC_DATE, MAX_SUBJECT_BYTES
from operations import answer_size
from operations.answer_size import LONGEST_STAGE_ARN, AnswerSize, largest_answer
from tests.support.iam import TABLES, decision, policy_for

ARN = LONGEST_STAGE_ARN + "prod"


def combinations_of(roles: frozenset[str]) -> Iterator[frozenset[str]]:
    return (frozenset(some) for size in range(len(roles) + 1) for some in combinations(roles, size))


def answer(roles: frozenset[str], table: Rules, subject: str = "\u00e9" * (MAX_SUBJECT_BYTES // 2)) -> int:
    """Return the bytes of the answer to a caller, as Lambda's runtime for Python 3.11 writes it."""
    context = to_context(Caller(subject, roles, MAX_NUMERIC_DATE), Table(table).roles)
    return len(json.dumps({**context, "policyDocument": policy_for(*roles, table=table, stage=ARN)}))


def interleaved(areas: int, roles: int) -> Rules:
    """Return a table of two routes in each area, with three roles in each row, so that any two rows differ."""
    names = list(combinations([f"role-{number}" for number in range(roles)], 3))
    rows = enumerate(product(range(areas), ("x", "y")))
    return {("GET", f"/area-{area:02}/{name}"): frozenset(names[row * 5 % len(names)]) for row, (area, name) in rows}


@pytest.mark.parametrize(("rules", "most"), [(10, 800), (100, 5100), (1000, 4700)])
@pytest.mark.parametrize("role", ["clerk", "boss"])
def test_the_policy_for_a_regular_table_stays_small(role: str, rules: int, most: int) -> None:
    policy = policy_for(role, table=regular(rules), stage=ARN)
    arns = [arn for statement in policy["Statement"] for arn in statement["Resource"]]
    assert len(arns) == len(set(arns))
    assert len(json.dumps(policy)) <= most


@pytest.mark.parametrize("areas", [1, 5, 10, 25, 30])
def test_a_thousand_rules_fit_under_up_to_thirty_prefixes(areas: int) -> None:
    size = largest_answer(regular(1000, areas), "prod")
    assert size.exact
    assert size.most < MAX_ANSWER_BYTES


def test_a_thousand_rules_are_decided_as_the_table_says() -> None:
    table = regular(1000)
    may = Table(table).permitted(["clerk"])
    policy = policy_for("clerk", table=table)
    for route in [*table][::17]:
        path = re.sub(r"\{\w+\}", "7", route[1])
        assert decision(policy, route[0], path) == ("Allow" if route in may else "Deny")


def test_the_refusal_names_as_few_roles_as_are_too_many() -> None:
    table = {**regular(1000, 100), ("GET", "/area-00/lobby"): frozenset({"guest", "boss"})}
    with pytest.raises(ClickException, match="with the role clerk can have"):
        largest_answer(table, "prod")


def test_a_table_that_cannot_fit_is_refused_with_the_role_and_the_fix() -> None:
    with pytest.raises(ClickException) as refused:
        largest_answer(regular(1000, 100), "prod")
    assert "with the role clerk can have" in refused.value.message
    assert "under one prefix" in refused.value.message


def test_roles_that_fit_one_by_one_but_not_together_are_refused() -> None:
    table = {}
    for number, name in product(range(50), "xy"):
        reader, writer = ("reader-of-odd", "writer-of-even") if number % 2 else ("reader-of-even", "writer-of-odd")
        table["GET", f"/area-{number:02}/{name}"] = frozenset({reader})
        table["POST", f"/area-{number:02}/{name}"] = frozenset({writer})
    for role in Table(table).roles:
        assert answer(frozenset({role}), table) < MAX_ANSWER_BYTES - 500
    with pytest.raises(ClickException, match="with the roles reader-of-even, writer-of-even can have"):
        largest_answer(table, "prod")


def test_a_caller_without_a_role_counts_too() -> None:
    owned = frozenset({"(owner)", "all"})
    table = {("GET", f"/area-{number:02}/x/{{sub}}"): owned for number in range(50)}
    table |= {("GET", f"/area-{number:02}/y"): frozenset({"all"}) for number in range(50)}
    assert answer(frozenset({"all"}), table) < 2000
    with pytest.raises(ClickException, match="with no role can have"):
        largest_answer(table, "prod")


def test_no_combination_of_fourteen_overlapping_roles_exceeds_the_bound() -> None:
    table = interleaved(20, 14)
    size = largest_answer(table, "prod")
    assert not size.exact
    assert size.most < MAX_ANSWER_BYTES
    largest = max(answer(roles, table) for roles in [*combinations_of(Table(table).roles)][::41])
    assert size.most * 0.8 < largest <= size.most


def test_a_table_whose_roles_cannot_all_be_combined_is_refused() -> None:
    table = interleaved(48, 14)
    roles = Table(table).roles
    # Too large for three of the roles, and neither for one of them nor for all.
    assert max(answer(frozenset({role}), table) for role in roles) < MAX_ANSWER_BYTES - 500
    assert answer(roles, table) < 2000
    assert max(answer(frozenset(some), table) for some in combinations(roles, 3)) > MAX_ANSWER_BYTES
    with pytest.raises(
        ClickException, match=r"It was not shown that the answer fits .* the 14 roles permit"
    ) as refused:
        largest_answer(table, "prod")
    assert "under one prefix" in refused.value.message


@settings(max_examples=150, deadline=None)  # a search is no test of speed
@given(TABLES)
def test_the_size_is_that_of_the_largest_answer_for_any_roles(table: Rules) -> None:
    largest = max(answer(roles, table) for roles in combinations_of(Table(table).roles))
    size = largest_answer(table, "prod")
    assert size.exact
    # All roles are counted beside each policy, and the subject may have one more character.
    assert largest <= size.most <= largest + len(" ".join(Table(table).roles)) + 2


@settings(max_examples=400, deadline=None)  # a search is no test of speed
@given(TABLES)
def test_the_upper_bound_holds_for_every_combination_of_roles(table: Rules) -> None:
    most = answer_size.most_patterns(table)
    bound = len(json.dumps(document(ARN, most)))
    for roles in combinations_of(Table(table).roles):
        found = patterns(Table(table).permitted(roles), table)
        assert len(found.allow + found.deny) <= len(most.allow + most.deny)
        assert len(json.dumps(document(ARN, found))) <= bound


def test_a_longer_stage_and_callers_claims_are_counted() -> None:
    table = regular(10)
    size = largest_answer(table, "v1").most
    assert largest_answer(table, "v1", claims_bytes=2048) == AnswerSize(size + 2048, exact=True)
    assert largest_answer(table, "v1-and-more").most > size
    with pytest.raises(ClickException, match=r"for JWT_CALLER_CLAIMS\), more than the 8000"):
        largest_answer(table, "v1", claims_bytes=MAX_ANSWER_BYTES - size + 1)
    assert largest_answer(table, "v1", claims_bytes=MAX_ANSWER_BYTES - size).most == MAX_ANSWER_BYTES


@pytest.mark.parametrize("character", ['"', "\\", "\u00e9", "\u20ac", "\U0001f511"])
def test_the_longest_subject_is_counted_as_json_writes_it(character: str) -> None:
    table: Rules = {("GET", "/a"): frozenset({"user"})}
    subject = character * (MAX_SUBJECT_BYTES // len(character.encode()))
    assert answer(frozenset({"user"}), table, subject + "a" * (MAX_SUBJECT_BYTES - len(subject.encode()))) <= (
        largest_answer(table, "prod").most
    )


def test_a_path_that_no_policy_can_hold_is_refused() -> None:
    table = {("GET", "/" + "x" * 500): frozenset({"user"}), ("GET", "/b"): frozenset({"admin"})}
    with pytest.raises(ClickException) as refused:
        largest_answer(table, "prod")
    assert "ARN of more than 512 characters" in refused.value.message


def test_methods_that_the_table_never_names_cost_nothing() -> None:
    table = {
        ("GET", "/a"): frozenset({"user"}),
        ("GET", "/b"): frozenset({"admin"}),
        ("PUT", "/b"): frozenset({"admin"}),
    }
    deny = patterns(Table(table).permitted(["user"]), table).deny
    assert deny == ("PUT/*", "GET/b")
