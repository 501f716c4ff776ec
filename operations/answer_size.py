"""How long the authorizer's answer can get, whatever roles a caller has. Pure: a table in, a size or a Fault out."""

from __future__ import annotations

import json
from dataclasses import dataclass

from chalicelib.guard import decision, policy, tokens
from chalicelib.guard.access import Route, Rules, Table
from operations.fault import Fault

#: API Gateway takes resources of 512 characters.
MAX_ARN_LENGTH = 512
#: A stage's ARN that is at least as long as any real one.
LONGEST_STAGE_ARN = "arn:aws-us-gov:execute-api:ap-southeast-99:123456789012:abcdefghij/"
#: Policies are made for so many rows of the table at most, all policies together: some five seconds.
MAX_ROWS_LOOKED_AT = 200_000


@dataclass(frozen=True)
class AnswerSize:
    """No answer has more than `most` bytes. `exact`: the policies for all combinations of roles were made."""

    most: int
    exact: bool


def largest_answer(rules: Rules, api_stage: str, claims_bytes: int = 0) -> AnswerSize:
    """Return the size of the authorizer's largest answer; Fault where API Gateway would not take it.

    `claims_bytes` is what a caller's claims can add to the context, as JSON with escapes. Beside them the longest
    subject and all roles are counted. More roles can make a policy longer or shorter, so no single caller has the
    largest one: policies are made for every set of routes that roles can permit together. Where these are too many,
    an upper bound is taken; Fault too where that is too large, since then nothing was shown.
    """
    table, stage_arn = Table(rules), LONGEST_STAGE_ARN + api_stage
    longest = max(map(policy.own_pattern, rules), key=len, default="")
    if len(f"{stage_arn}/{longest}") > MAX_ARN_LENGTH:
        raise Fault(
            f"A policy can hold an ARN of more than {MAX_ARN_LENGTH} characters: shorten the path {longest:.80}..."
        )

    def size(patterns: policy.Patterns) -> int:
        return _size(patterns, stage_arn, table.roles) + claims_bytes

    limit = MAX_ROWS_LOOKED_AT // max(1, len(rules))
    sets = _permitted_sets(table, limit)
    # Where not all can be looked at, one too large may still be found, which says more than a bound does.
    some = [(table.permitted([role]), (role,)) for role in sorted(table.roles)] if sets is None else [*sets.items()]
    largest = 0
    for permitted, roles in sorted(some, key=lambda found: (len(found[1]), found[1])):
        largest = max(largest, size(policy.patterns(permitted, rules)))
        if largest > policy.MAX_ANSWER_BYTES:
            named = f"the role{'s' * (len(roles) > 1)} {', '.join(roles)}" if roles else "no role"
            raise Fault(f"The answer for a caller with {named} can have {_too_many(largest, claims_bytes)}.")
    if sets is not None:
        return AnswerSize(largest, exact=True)
    bound = size(most_patterns(rules))
    if bound > policy.MAX_ANSWER_BYTES:
        raise Fault(
            f"It was not shown that the answer fits for every combination of roles: the {len(table.roles)} roles permit"
            f" more than {limit} different sets of routes, and the upper bound is {_too_many(bound, claims_bytes)};"
            " or join roles that open the same routes."
        )
    return AnswerSize(bound, exact=False)


def _too_many(size: int, claims_bytes: int) -> str:
    claims = f" ({claims_bytes} of them for JWT_CALLER_CLAIMS)" if claims_bytes else ""
    return (
        f"{size} bytes{claims}, more than the {policy.MAX_ANSWER_BYTES} that API Gateway takes: put routes that the"
        " same roles may call under one prefix, which is one ARN then; or shorten paths, or split the API"
    )


def _size(patterns: policy.Patterns, stage_arn: str, roles: frozenset[str]) -> int:
    # The subject that gets longest in JSON: Lambda's runtime for Python 3.11 writes six characters for these two bytes.
    subject = "\u00e9" * (tokens.MAX_SUBJECT_BYTES // 2) + '"' * (tokens.MAX_SUBJECT_BYTES % 2)
    who = decision.Caller(subject, roles, tokens.MAX_NUMERIC_DATE)
    return len(json.dumps({**decision.to_context(who, roles), "policyDocument": policy.document(stage_arn, patterns)}))


def _permitted_sets(table: Table, limit: int) -> dict[frozenset[Route], tuple[str, ...]] | None:
    """Return every set of routes that some roles permit together, with such roles; None where there are too many."""
    sets: dict[frozenset[Route], tuple[str, ...]] = {table.permitted(()): ()}
    for role in sorted(table.roles):
        its = table.permitted([role])
        for permitted, roles in [*sets.items()]:
            sets.setdefault(permitted | its, (*roles, role))
        if len(sets) > limit:
            return None
    return sets


def most_patterns(rules: Rules) -> policy.Patterns:
    """Return patterns that are as many, and as long, as those of any policy for this table.

    Routes with the same roles are permitted or closed together. So where a prefix of one method holds no others, a
    policy allows or denies all below it at once, by one pattern for it or for more; that one is no longer than the
    longest route there. And a method of which nothing is permitted costs one pattern.
    """
    found: list[str] = []
    for method, group in {(method, group) for (method, _), group in rules.items()}:
        alike = sorted(policy.own_pattern(route) for route in rules if (route[0], rules[route]) == (method, group))
        others = [policy.own_pattern(route) for route in rules if rules[route] != group]
        found += [max(alike, key=len)] * len(policy.prefixes(alike, others))
        found += [f"{root}/" for root in alike if root.endswith("/")]  # the root is written twice
    return policy.Patterns(tuple(found[:1]), tuple(found[1:]))  # which is which does not change the size
