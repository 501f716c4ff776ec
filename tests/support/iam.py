"""Policies as IAM reads them, by an evaluator that is not ours (the embedded AWS's), and tables to try them on."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from hypothesis import strategies as st
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate,
    parse_policy_document,
    validate_policy_document,
)

from chalicelib.guard.access import OWNER, PUBLIC, Route, Rules, Table
from chalicelib.guard.policy import document, patterns

STAGE = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev"

USER, ADMIN = frozenset({"user", "admin"}), frozenset({"admin"})
TABLE: Rules = {
    ("GET", "/"): USER,
    ("GET", "/health"): PUBLIC,
    ("GET", "/notes/{id}"): USER,
    ("GET", "/notes/export"): ADMIN,
    ("GET", "/notes/{id}/history"): ADMIN,
    ("DELETE", "/notes/{id}"): ADMIN,
    ("GET", "/files/{id}"): ADMIN,
    ("GET", "/files/readme"): USER,
    ("GET", "/files/{id}/{part}"): USER,
}
PATHS = {
    ("GET", "/"): "/",
    ("GET", "/notes/{id}"): "/notes/7",
    ("GET", "/notes/export"): "/notes/export",
    ("GET", "/notes/{id}/history"): "/notes/7/history",
    ("DELETE", "/notes/{id}"): "/notes/7",
    ("GET", "/files/{id}"): "/files/7",
    ("GET", "/files/readme"): "/files/readme",
    ("GET", "/files/{id}/{part}"): "/files/7/1",
}
ROLE_SETS = [roles for size in range(4) for roles in combinations(["user", "admin", "stranger"], size)]


def _sound(table: dict[Route, frozenset[str]]) -> dict[Route, frozenset[str]]:
    """Name the parameter of an owner's row `sub`; without exactly one parameter the row has no owner."""
    made = {}
    for (method, template), group in table.items():
        owned = group & OWNER and template.count("{") == 1
        path = re.sub(r"\{\w+\}", "{sub}", template) if owned else template
        made[method, path] = group if owned else group - OWNER or frozenset({"user"})
    return made


def _without_twins(table: dict[Route, frozenset[str]]) -> Rules:
    """Leave out templates that differ in a parameter's name alone: no API can have both."""
    kept = {(method, re.sub(r"\{\w+\}", "{}", template)): (method, template) for method, template in table}
    return {route: table[route] for route in kept.values()}


#: Literals of which some begin alike, and one would match another as an expression.
LITERALS = ("a", "b", "a.b", "aZb")
# Templates that overlap in every way: the same literals and parameters at several depths.
_SEGMENT = st.sampled_from([*LITERALS, "{x}", "{y}"])
_TEMPLATE = st.lists(_SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)) | st.just("/")
_ROLE_NAMES = ["user", "admin", "auditor"]
_OWNED = st.frozensets(st.sampled_from(_ROLE_NAMES)).map(lambda group: group | OWNER)
_GROUP = st.frozensets(st.sampled_from(_ROLE_NAMES), min_size=1) | st.just(PUBLIC) | _OWNED
_ROUTE = st.tuples(st.sampled_from(["GET", "POST"]), _TEMPLATE)
ROLES = st.frozensets(st.sampled_from([*_ROLE_NAMES, "stranger"]))
TABLES = st.dictionaries(_ROUTE, _GROUP, min_size=1, max_size=8).map(_sound).map(_without_twins)


def policy_for(*roles: str, table: Rules = TABLE, stage: str = STAGE) -> dict[str, Any]:
    """Return the policy of a caller with these roles."""
    return document(stage, patterns(Table(table).permitted(roles), table))


def decision(policy: dict[str, Any], method: str, path: str, stage: str = STAGE) -> str:
    """Return what IAM says of the request: Allow, Deny or ImplicitDeny."""
    assert validate_policy_document(policy) is None
    request = EvalContext(
        principal_arn="user",
        principal_type="User",
        principal_account="123456789012",
        action="execute-api:Invoke",
        resource_arn=f"{stage}/{method}{path}",
        region="eu-central-1",
    )
    return str(evaluate(request, [parse_policy_document(policy)]).decision)


def routed(method: str, path: str, routes: Rules) -> Route | None:
    """Return the route that API Gateway sends the request to: it prefers the literal segment, from the left."""
    fitting = [
        (verb, template)
        for verb, template in routes
        if verb == method and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path)
    ]
    return min(fitting, key=lambda route: [part.startswith("{") for part in route[1].split("/")], default=None)
