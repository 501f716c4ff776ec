"""What the authorizer's policy allows, read by an IAM evaluator that is not ours: the embedded AWS's."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from chalicelib.guard.access import METHODS, OWNER, PUBLIC, Route, Rules, Table
from chalicelib.guard.policy import document, parse_method_arn, patterns
from tests.support.iam import ADMIN, PATHS, ROLE_SETS, STAGE, TABLE, USER, decision, policy_for

SIMPLE: Rules = {("GET", "/reports"): USER, ("POST", "/reports"): ADMIN}


@pytest.mark.parametrize("roles", ROLE_SETS)
@pytest.mark.parametrize("route", list(SIMPLE))
def test_the_policy_allows_what_the_table_says_and_denies_the_rest(route: Route, roles: tuple[str, ...]) -> None:
    policy = policy_for(*roles, table=SIMPLE)
    assert decision(policy, *route) == ("Allow" if SIMPLE[route] & set(roles) else "Deny")


@pytest.mark.parametrize("roles", ROLE_SETS)
@pytest.mark.parametrize("route", [*PATHS])
def test_overlapping_templates_are_allowed_as_the_table_says(route: Route, roles: tuple[str, ...]) -> None:
    got = decision(policy_for(*roles), route[0], PATHS[route])
    if TABLE[route] & set(roles):
        assert got == "Allow"
    else:
        assert got != "Allow"


def test_a_literal_route_is_denied_beside_an_allowed_parameter() -> None:
    assert decision(policy_for("user"), "GET", "/notes/export") == "Deny"
    assert decision(policy_for("user"), "GET", "/notes/7/history") == "Deny"


def test_no_deny_refuses_a_permitted_route() -> None:
    # A Deny of /files/* would match /files/readme and, as `*` crosses `/`, /files/7/1.
    assert decision(policy_for("user"), "GET", "/files/readme") == "Allow"
    assert decision(policy_for("user"), "GET", "/files/7/1") == "Allow"
    assert decision(policy_for("user"), "GET", "/files/7") == "ImplicitDeny"


def test_a_closed_route_is_denied_for_each_method() -> None:
    group = frozenset({"user"})
    table = {
        ("GET", "/notes/{id}"): group,
        ("DELETE", "/notes/{id}"): group,
        ("GET", "/notes/export"): ADMIN,
        ("DELETE", "/notes/export"): ADMIN,
        ("DELETE", "/notes/{id}/lock"): ADMIN,
        ("DELETE", "/tags/{id}"): ADMIN,
    }
    policy = policy_for("user", table=table)
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
def test_a_closed_parameter_never_closes_an_open_route(closed: str, open_: str) -> None:
    table = {("GET", closed): ADMIN, ("GET", open_): USER}
    assert decision(policy_for("user", table=table), "GET", open_.replace("{y}", "7")) == "Allow"


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
    assert decision(policy_for("user", table=table), "GET", path) == "Deny"


def said(policy: dict[str, Any], effect: str = "Allow") -> list[str]:
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
    assert said(policy_for("user", table=closed_elsewhere)) == ["GET/notes", "GET/notes/*"]


def test_a_closed_route_under_a_prefix_keeps_it_from_being_covered() -> None:
    table = {**NOTES, ("GET", "/notes/{id}/keys/{key}"): ADMIN, ("GET", "/notes/a"): USER, ("GET", "/notes/b"): USER}
    del table["GET", "/notes/{id}"], table["GET", "/notes/{id}/history"]
    assert said(policy_for("user", table=table)) == ["GET/notes", "GET/notes/a", "GET/notes/b"]


def test_a_shared_pattern_matches_no_public_route() -> None:
    table = {("GET", "/a"): USER, ("GET", "/b"): USER, ("GET", "/health"): PUBLIC}
    assert said(policy_for("user", table=table)) == ["GET/a", "GET/b"]


def test_methods_share_a_pattern_where_none_of_the_path_is_closed() -> None:
    table = {("GET", "/a"): USER, ("PUT", "/a"): USER, ("GET", "/b"): ADMIN}
    assert said(policy_for("user", table=table)) == ["*/a"]
    assert said(policy_for("user", table={**table, ("POST", "/a"): ADMIN})) == ["GET/a", "PUT/a"]
    # The star for the method crosses `/` too.
    assert said(policy_for("user", table={**table, ("POST", "/b/a"): ADMIN})) == ["GET/a", "PUT/a"]


def test_a_pattern_that_another_one_includes_is_left_out() -> None:
    # `*` crosses `/`, so /notes/* matches /notes/7/history too; it is the pattern of /notes/{id} alone here.
    table = {**NOTES, ("GET", "/notes/export"): ADMIN}
    assert said(policy_for("user", table=table)) == ["GET/notes", "GET/notes/*"]
    assert "GET/notes/export" in said(policy_for("user", table=table), "Deny")


def test_no_pattern_is_for_every_method_and_every_path() -> None:
    assert said(policy_for("admin", table=dict.fromkeys(TABLE, ADMIN))) == ["DELETE/notes/*", "GET/*"]
    everything = {(method, path): ADMIN for method in METHODS for path in ("/a", "/b")}
    assert said(policy_for("admin", table=everything)) == [f"{method}/*" for method in sorted(METHODS)]


def test_no_statement_is_empty_where_there_is_nothing_to_deny() -> None:
    table = dict.fromkeys(product(METHODS, ["/a"]), ADMIN)
    (statement,) = policy_for("admin", table=table)["Statement"]
    assert statement["Effect"] == "Allow"


def test_the_policy_is_of_the_version_that_api_gateway_expects() -> None:
    assert policy_for("user")["Version"] == policy_for()["Version"] == "2012-10-17"


def test_a_method_with_nothing_permitted_is_denied_on_every_path() -> None:
    assert decision(policy_for("user"), "DELETE", "/anything/at/all") == "Deny"


def test_a_method_that_the_table_never_names_is_not_allowed() -> None:
    for method in set(METHODS) - {method for method, _ in TABLE}:
        assert decision(policy_for("user"), method, "/notes") == "ImplicitDeny"


@pytest.mark.parametrize("roles", [(), ("stranger",), ("(public)",)])
def test_who_may_do_nothing_is_denied_everything(roles: tuple[str, ...]) -> None:
    policy = policy_for(*roles)
    assert [statement["Effect"] for statement in policy["Statement"]] == ["Deny"]
    for method in METHODS:
        for path in ("/", "/notes/7", "/unknown"):
            assert decision(policy, method, path) == "Deny"
    assert said(policy, "Deny") == ["*"]


@pytest.mark.parametrize("method_arn_path", ["/", "//"])
def test_the_root_is_allowed_with_one_slash_and_with_two(method_arn_path: str) -> None:
    assert decision(policy_for("user"), "GET", method_arn_path) == "Allow"


def test_another_stage_another_api_and_another_account_are_not_allowed() -> None:
    policy = policy_for("admin")
    for stage in (
        STAGE + "x",
        STAGE.replace("abc123", "abc124"),
        STAGE.replace("123456789012", "210987654321"),
    ):
        assert decision(policy, "GET", "/notes/7", stage) == "ImplicitDeny"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_partition_is_kept(partition: str) -> None:
    stage, method, path = parse_method_arn(f"arn:{partition}:execute-api:x-y-1:123456789012:abc/dev/GET/notes/7")
    assert decision(policy_for("user", stage=stage), method, path, stage) == "Allow"
    assert stage.startswith(f"arn:{partition}:")


def test_the_policy_never_repeats_the_path_that_was_asked_for() -> None:
    stage, _, _ = parse_method_arn(STAGE + "/GET/notes/secret-value-in-the-path")
    assert "secret-value" not in str(policy_for("admin", stage=stage))


def test_resources_are_lists() -> None:
    for statement in policy_for("user")["Statement"] + policy_for()["Statement"]:
        assert isinstance(statement["Resource"], list)


@pytest.mark.parametrize("account", ["random-account-id", "000000000000", ""])
@pytest.mark.parametrize("api", ["random-api-id", "local_api.1"])
def test_account_and_api_id_may_be_any_text(account: str, api: str) -> None:
    stage = f"arn:aws:execute-api:eu-central-1:{account}:{api}/dev"
    assert parse_method_arn(f"{stage}/GET/x") == (stage, "GET", "/x")


@pytest.mark.parametrize("character", ":*?")
@pytest.mark.parametrize("part", ["123456789012", "abc123", "dev"])
def test_a_colon_or_a_wildcard_inside_a_part_is_refused(part: str, character: str) -> None:
    arn = f"{STAGE}/GET/x"
    assert parse_method_arn(arn)
    with pytest.raises(ValueError, match="method ARN"):
        parse_method_arn(arn.replace(part, part[:2] + character + part[2:]))


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "*",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev",
        "arn:aws:execute-api:eu-central-1:123456789012:/dev/GET/x",
        "arn:aws:execute-api:eu-central-1:123456789012:*/*/GET/x",
        "arn:aws:execute-api:eu-central-1:*:abc123/dev/GET/x",
        "arn:aws:execute-api:eu-central-*:123456789012:abc123/dev/GET/x",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123/*/GET/x",
        "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev/*/x",
        "arn:aws:s3:eu-central-1:123456789012:abc123/dev/GET/x",
        "arn:*:execute-api:eu-central-1:123456789012:abc123/dev/GET/x",
    ],
)
def test_what_is_no_method_arn_is_an_error_and_no_policy(arn: str) -> None:
    with pytest.raises(ValueError, match="method ARN"):
        parse_method_arn(arn)


@pytest.mark.parametrize(
    ("permitted", "closed", "allowed"),
    [
        ([("GET", "/a"), ("GET", "/b")], [], ["GET/*"]),
        ([("GET", "/a/b"), ("GET", "/a/c")], [], ["GET/a/*"]),
        ([("GET", "/a/b"), ("GET", "/a/c"), ("GET", "/ab")], [("GET", "/d")], ["GET/a/*", "GET/ab"]),
        ([("GET", "/a/b/c"), ("GET", "/a/b/{x}/d")], [("GET", "/c")], ["GET/a/b/*"]),
        ([("GET", "/a/{x}/b"), ("GET", "/a/{x}/c")], [("GET", "/a/{x}")], ["GET/a/*/*"]),
        ([("GET", "/a"), ("GET", "/a/b"), ("GET", "/a/c")], [("GET", "/d")], ["GET/a", "GET/a/*"]),
        ([("GET", "/a/b"), ("GET", "/a/c")], [("GET", "/{x}/d")], ["GET/a/b", "GET/a/c"]),
        ([("GET", "/a/b"), ("GET", "/a/c"), ("PUT", "/a/b")], [("GET", "/d"), ("POST", "/d")], ["*/a/*"]),
        ([("GET", "/a/b"), ("POST", "/a/b")], [("GET", "/c"), ("POST", "/c")], ["*/a/b"]),
        ([("GET", "/"), ("PUT", "/")], [("POST", "/{x}")], ["*/", "*//"]),
        ([("GET", "/"), ("PUT", "/"), ("POST", "/x")], [("POST", "/")], ["GET/", "POST/x", "PUT/", "GET//", "PUT//"]),
    ],
)
def test_a_shared_pattern_is_the_narrowest_that_covers_as_much(
    permitted: list[Route], closed: list[Route], allowed: list[str]
) -> None:
    assert patterns(frozenset(permitted), [*permitted, *closed]).allow == tuple(allowed)


def test_a_method_arn_is_read_with_its_path_as_it_was_asked_for() -> None:
    assert parse_method_arn(f"{STAGE}/GET/X/b/") == (STAGE, "GET", "/X/b/")
    # `chalice local` writes two slashes in front of the root, and nobody knows of what else.
    assert parse_method_arn(f"{STAGE}/GET//X/b/") == (STAGE, "GET", "/X/b/")
    assert parse_method_arn(f"{STAGE}/GET//") == (STAGE, "GET", "/")


def test_every_statement_is_of_the_one_action_that_api_gateway_asks_for() -> None:
    statements = policy_for("admin", "user")["Statement"]
    assert [statement["Action"] for statement in statements] == ["execute-api:Invoke"] * len(statements)
    assert statements


OWNED: Rules = {
    ("GET", "/users/{sub}/orders"): ADMIN | OWNER,
    ("DELETE", "/users/{sub}/orders"): ADMIN,
    ("GET", "/users"): USER,
    ("GET", "/health"): PUBLIC,
}


@pytest.mark.parametrize("roles", [(), ("stranger",), ("(owner)",)])
def test_a_caller_without_a_role_may_reach_owners_routes_alone(roles: tuple[str, ...]) -> None:
    policy = policy_for(*roles, table=OWNED)
    assert decision(policy, "GET", "/users/alice/orders") == "Allow"
    assert decision(policy, "DELETE", "/users/alice/orders") == "Deny"
    assert decision(policy, "GET", "/users") == "Deny"
    assert decision(policy, "GET", "/health") == "Deny"


def test_an_owners_route_is_allowed_beside_what_a_role_permits() -> None:
    policy = policy_for("user", table=OWNED)
    assert decision(policy, "GET", "/users") == decision(policy, "GET", "/users/alice/orders") == "Allow"
    assert decision(policy, "DELETE", "/users/alice/orders") == "Deny"


def test_nothing_that_a_caller_gets_can_change_what_the_next_one_gets() -> None:
    found = patterns(Table(TABLE).permitted(["user"]), TABLE)
    before = document(STAGE, found)
    got = document(STAGE, found)
    got["Statement"][0]["Resource"].append("*")
    got["Statement"][1].clear()
    got["Statement"].pop()
    assert document(STAGE, found) == before
    assert (type(found.allow), type(found.deny)) == (tuple, tuple)
    with pytest.raises(AttributeError):
        found.allow = ("*",)  # type: ignore[misc]  # what a type checker refuses too


def test_patterns_are_the_same_for_every_stage() -> None:
    found = patterns(Table(TABLE).permitted(["user"]), TABLE)
    assert not any("arn:" in pattern for pattern in found.allow + found.deny)
    other = STAGE.replace("/dev", "/prod")
    assert str(document(STAGE, found)).replace(STAGE, other) == str(document(other, found))
