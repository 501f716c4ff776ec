"""What the gateway lock's policy allows, read by an IAM evaluator that is not ours: the embedded AWS's."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate,
    parse_policy_document,
    validate_policy_document,
)

from chalicelib.guard.policy import parse_method_arn, policy_document
from chalicelib.rules import METHODS, PUBLIC, RULES, Route, permitted

STAGE = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev"

USER, ADMIN = frozenset({"user", "admin"}), frozenset({"admin"})
TABLE: dict[Route, frozenset[str]] = {
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


def decision(document: dict[str, Any], method: str, path: str, stage: str = STAGE) -> str:
    assert validate_policy_document(document) is None
    request = EvalContext(
        principal_arn="user",
        principal_type="User",
        principal_account="123456789012",
        action="execute-api:Invoke",
        resource_arn=f"{stage}/{method}{path}",
        region="eu-central-1",
    )
    return str(evaluate(request, [parse_policy_document(document)]).decision)


def document(*roles: str, table: dict[Route, frozenset[str]] = TABLE, stage: str = STAGE) -> dict[str, Any]:
    return policy_document(stage, permitted(roles, table), table)


ROLE_SETS = [roles for size in range(4) for roles in combinations(["user", "admin", "stranger"], size)]


@pytest.mark.parametrize("roles", ROLE_SETS)
@pytest.mark.parametrize("route", list(RULES))
def test_the_policy_allows_what_the_table_says_and_denies_the_rest(route: Route, roles: tuple[str, ...]) -> None:
    policy = policy_document(STAGE, permitted(roles), RULES)
    assert decision(policy, *route) == ("Allow" if RULES[route] & set(roles) else "Deny")


@pytest.mark.parametrize("roles", ROLE_SETS)
@pytest.mark.parametrize("route", [*PATHS])
def test_what_the_table_permits_is_allowed_among_overlapping_templates_too(
    route: Route, roles: tuple[str, ...]
) -> None:
    got = decision(document(*roles), route[0], PATHS[route])
    if TABLE[route] & set(roles):
        assert got == "Allow"
    else:
        assert got != "Allow"


def test_a_literal_route_is_denied_though_a_parameter_beside_it_is_allowed() -> None:
    assert decision(document("user"), "GET", "/notes/export") == "Deny"
    assert decision(document("user"), "GET", "/notes/7/history") == "Deny"


def test_a_deny_never_takes_a_route_that_is_permitted() -> None:
    # A Deny of /files/* would take /files/readme and, as `*` crosses `/`, /files/7/1.
    assert decision(document("user"), "GET", "/files/readme") == "Allow"
    assert decision(document("user"), "GET", "/files/7/1") == "Allow"
    assert decision(document("user"), "GET", "/files/7") == "ImplicitDeny"


def test_what_is_not_permitted_is_denied_beside_other_methods_too() -> None:
    group = frozenset({"user"})
    table = {
        ("GET", "/notes/{id}"): group,
        ("DELETE", "/notes/{id}"): group,
        ("GET", "/notes/export"): ADMIN,
        ("DELETE", "/notes/export"): ADMIN,
        ("DELETE", "/notes/{id}/lock"): ADMIN,
        ("DELETE", "/tags/{id}"): ADMIN,
    }
    policy = document("user", table=table)
    for method in ("GET", "DELETE"):
        assert decision(policy, method, "/notes/7") == "Allow"
        assert decision(policy, method, "/notes/export") == "Deny"
    assert decision(policy, "DELETE", "/notes/7/lock") == "Deny"
    assert decision(policy, "DELETE", "/tags/7") == "Deny"


@pytest.mark.parametrize(
    ("closed", "open_"),
    [
        ("/a/{x}", "/a/b"),
        ("/a/{x}", "/a/b/c"),
        ("/a/{x}", "/a/{y}/c"),
        ("/a/{x}", "/a/b/c/d"),
        ("/{x}", "/a"),
        ("/{x}", "/a/b/c"),
        ("/{x}/c", "/a/b/c"),
        ("/{x}/{y}", "/a/b"),
        ("/{x}/b", "/a/{y}"),
    ],
)
def test_a_closed_route_with_a_parameter_never_closes_an_open_one(closed: str, open_: str) -> None:
    table = {("GET", closed): ADMIN, ("GET", open_): USER}
    assert decision(document("user", table=table), "GET", open_.replace("{y}", "7")) == "Allow"


@pytest.mark.parametrize(
    ("closed", "open_"),
    [
        ("/a/b", "/a/{x}"),
        ("/a/b/c", "/a/{x}"),
        ("/a/{x}/c", "/a/{x}"),
        ("/a/{x}", "/b/c"),
        ("/a/{x}", "/b/c/d"),
        ("/a/{x}/c", "/a/{x}/d"),
        ("/a/{x}/c", "/a/b"),
        ("/a/{x}", "/a"),
        ("/a/{y}", "/{x}/b"),
    ],
)
def test_a_closed_route_is_denied_where_that_closes_nothing_else(closed: str, open_: str) -> None:
    table = {("GET", closed): ADMIN, ("GET", open_): USER}
    path = closed.replace("{x}", "7").replace("{y}", "7")
    assert decision(document("user", table=table), "GET", path) == "Deny"


def patterns(policy: dict[str, Any], effect: str = "Allow") -> list[str]:
    (statement,) = (found for found in policy["Statement"] if found["Effect"] == effect)
    return [arn.removeprefix(f"{STAGE}/") for arn in statement["Resource"]]


NOTES: dict[Route, frozenset[str]] = {
    ("GET", "/notes"): USER,
    ("GET", "/notes/{id}"): USER,
    ("GET", "/notes/{id}/history"): USER,
    ("GET", "/tags"): ADMIN,
}


def test_routes_under_one_prefix_are_covered_by_one_pattern() -> None:
    closed_elsewhere = {**NOTES, ("GET", "/notes-of-others"): ADMIN}
    assert patterns(document("user", table=closed_elsewhere)) == ["GET/notes", "GET/notes/*"]


def test_a_closed_route_under_a_prefix_keeps_it_from_being_covered() -> None:
    table = {**NOTES, ("GET", "/notes/{id}/keys/{key}"): ADMIN, ("GET", "/notes/a"): USER, ("GET", "/notes/b"): USER}
    del table["GET", "/notes/{id}"], table["GET", "/notes/{id}/history"]
    assert patterns(document("user", table=table)) == ["GET/notes", "GET/notes/a", "GET/notes/b"]


def test_a_public_route_is_not_allowed_on_the_way() -> None:
    table = {("GET", "/a"): USER, ("GET", "/b"): USER, ("GET", "/health"): PUBLIC}
    assert patterns(document("user", table=table)) == ["GET/a", "GET/b"]


def test_the_same_path_of_several_methods_is_covered_by_one_pattern_where_no_other_method_is_closed() -> None:
    table = {("GET", "/a"): USER, ("PUT", "/a"): USER, ("GET", "/b"): ADMIN}
    assert patterns(document("user", table=table)) == ["*/a"]
    assert patterns(document("user", table={**table, ("POST", "/a"): ADMIN})) == ["GET/a", "PUT/a"]
    # The star for the method crosses `/` too.
    assert patterns(document("user", table={**table, ("POST", "/b/a"): ADMIN})) == ["GET/a", "PUT/a"]


def test_what_another_pattern_takes_already_is_not_said_again() -> None:
    # `*` crosses `/`, so /notes/* takes /notes/7/history too; /notes/export is closed, so it is no prefix's cover.
    table = {**NOTES, ("GET", "/notes/export"): ADMIN}
    assert patterns(document("user", table=table)) == ["GET/notes", "GET/notes/*"]
    assert "GET/notes/export" in patterns(document("user", table=table), "Deny")


def test_no_pattern_takes_every_method_and_every_path() -> None:
    assert patterns(document("admin", table=dict.fromkeys(TABLE, ADMIN))) == ["GET/*", "DELETE/notes/*"]
    everything = {(method, path): ADMIN for method in METHODS for path in ("/a", "/b")}
    assert patterns(document("admin", table=everything)) == [f"{method}/*" for method in METHODS]


def test_no_statement_is_empty_where_there_is_nothing_to_deny() -> None:
    table = dict.fromkeys(product(METHODS, ["/a"]), ADMIN)
    (statement,) = document("admin", table=table)["Statement"]
    assert statement["Effect"] == "Allow"


def test_the_policy_is_of_the_version_that_api_gateway_expects() -> None:
    assert document("user")["Version"] == document()["Version"] == "2012-10-17"


def test_a_method_with_nothing_permitted_is_denied_on_every_path() -> None:
    for method in set(METHODS) - {"GET"}:
        assert decision(document("user"), method, "/anything/at/all") == "Deny"


@pytest.mark.parametrize("roles", [(), ("stranger",), ("(public)",)])
def test_who_may_do_nothing_is_denied_everything(roles: tuple[str, ...]) -> None:
    policy = document(*roles)
    assert [statement["Effect"] for statement in policy["Statement"]] == ["Deny"]
    for method in METHODS:
        for path in ("/", "/notes/7", "/unknown"):
            assert decision(policy, method, path) == "Deny"


@pytest.mark.parametrize("method_arn_path", ["/", "//"])
def test_the_root_is_allowed_as_api_gateway_and_as_chalice_local_write_it(method_arn_path: str) -> None:
    assert decision(document("user"), "GET", method_arn_path) == "Allow"


def test_another_stage_another_api_and_another_account_are_not_allowed() -> None:
    policy = document("admin")
    for stage in (
        STAGE + "x",
        STAGE.replace("abc123", "abc124"),
        STAGE.replace("123456789012", "210987654321"),
    ):
        assert decision(policy, "GET", "/notes/7", stage) == "ImplicitDeny"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_partition_is_kept(partition: str) -> None:
    stage, method, path = parse_method_arn(f"arn:{partition}:execute-api:x-y-1:123456789012:abc/dev/GET/notes/7")
    assert decision(document("user", stage=stage), method, path, stage) == "Allow"
    assert stage.startswith(f"arn:{partition}:")


def test_the_policy_never_repeats_the_path_that_was_asked_for() -> None:
    stage, _, _ = parse_method_arn(STAGE + "/GET/notes/secret-value-in-the-path")
    assert "secret-value" not in str(document("admin", stage=stage))


def test_resources_are_lists() -> None:
    for statement in document("user")["Statement"] + document()["Statement"]:
        assert isinstance(statement["Resource"], list)


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "*",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev",
        "arn:aws:execute-api:eu-central-1:123456789012:*/*/GET/x",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123/*/GET/x",
        "arn:aws:s3:eu-central-1:123456789012:abc123/dev/GET/x",
        "arn:*:execute-api:eu-central-1:123456789012:abc123/dev/GET/x",
    ],
)
def test_what_is_no_method_arn_is_an_error_and_no_policy(arn: str) -> None:
    with pytest.raises(ValueError, match="method ARN"):
        parse_method_arn(arn)


@pytest.mark.parametrize(
    ("permitted", "closed", "patterns"),
    [
        ([("GET", "/a"), ("GET", "/b")], [], ["GET/*"]),
        ([("GET", "/a/b"), ("GET", "/a/c")], [], ["GET/a/*"]),
        ([("GET", "/a/b"), ("POST", "/a/b")], [("GET", "/c"), ("POST", "/c")], ["*/a/b"]),
        ([("GET", "/"), ("PUT", "/")], [("POST", "/{x}")], ["*/", "*//"]),
        ([("GET", "/"), ("PUT", "/"), ("POST", "/x")], [("POST", "/")], ["GET/", "POST/x", "PUT/", "GET//", "PUT//"]),
    ],
)
def test_routes_side_by_side_are_said_in_one_pattern_that_is_no_wider_than_it_needs_to_be(
    permitted: list[Route], closed: list[Route], patterns: list[str]
) -> None:
    allow = policy_document(STAGE, frozenset(permitted), [*permitted, *closed])["Statement"][0]
    assert allow["Resource"] == [f"{STAGE}/{pattern}" for pattern in patterns]


def test_a_method_arn_is_read_with_its_path_as_it_was_asked_for() -> None:
    assert parse_method_arn(f"{STAGE}/GET/X/b/") == (STAGE, "GET", "/X/b/")
    # `chalice local` writes two slashes in front of the root, and nobody knows of what else.
    assert parse_method_arn(f"{STAGE}/GET//X/b/") == (STAGE, "GET", "/X/b/")
    assert parse_method_arn(f"{STAGE}/GET//") == (STAGE, "GET", "/")


def test_every_statement_is_of_the_one_action_that_api_gateway_asks_for() -> None:
    statements = policy_document(STAGE, frozenset(RULES), RULES)["Statement"]
    assert [statement["Action"] for statement in statements] == ["execute-api:Invoke"] * len(statements)
    assert statements
