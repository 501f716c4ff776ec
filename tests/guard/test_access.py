"""The table says who may call what, and its mistakes are named."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from app import app
from chalicelib.rules import PUBLIC, READERS, RULES, WRITERS, Route, faults, match, permitted, tree
from operations.matrix import declared_routes

GET: Route = ("GET", "/protected-resource")
POST: Route = ("POST", "/protected-resource")


def test_table_and_routes_agree() -> None:
    assert faults(declared_routes()) == []


def test_a_user_may_read_and_an_admin_may_do_everything() -> None:
    assert permitted(["user"]) == {GET}
    assert permitted(["admin"]) == {GET, POST} == set(RULES)
    assert permitted(["user", "admin"]) == {GET, POST}


@pytest.mark.parametrize(
    "roles", [[], ["root"], ["Admin"], ["ADMIN"], ["admin "], ["administrator"], [""], ["*"], list(PUBLIC)]
)
def test_a_role_that_the_table_does_not_know_grants_nothing(roles: list[str]) -> None:
    assert permitted(roles) == frozenset()


def test_a_public_route_is_granted_to_no_role_because_it_needs_none() -> None:
    table = {("GET", "/health"): PUBLIC, GET: READERS}
    assert permitted([*PUBLIC, "user"], table) == {GET}


def test_the_table_cannot_be_changed_while_it_serves() -> None:
    assert isinstance(RULES, MappingProxyType)


SOUND: dict[Route, frozenset[str]] = {
    ("GET", "/"): READERS,
    ("GET", "/health"): PUBLIC,
    ("GET", "/orders/{order_id}"): READERS,
    ("GET", "/orders/export"): WRITERS,
    ("DELETE", "/orders/{order_id}/items/{item}"): WRITERS,
}


def test_a_sound_table_has_no_faults() -> None:
    assert faults({route: group != PUBLIC for route, group in SOUND.items()}, SOUND) == []


@pytest.mark.parametrize(
    ("route", "group", "words"),
    [
        (("get", "/a"), READERS, "can never match"),
        (("ANY", "/a"), READERS, "can never match"),
        (("TRACE", "/a"), READERS, "can never match"),
        (("GET", "a"), READERS, "can never match"),
        (("GET", ""), READERS, "can never match"),
        (("GET", "/a/"), READERS, "can never match"),
        (("GET", "//a"), READERS, "can never match"),
        (("GET", "/a b"), READERS, "can never match"),
        (("GET", "/a*"), READERS, "can never match"),
        (("GET", "/a?"), READERS, "can never match"),
        (("GET", "/caf\u00e9"), READERS, "can never match"),
        (("GET", "/a/{id"), READERS, "can never match"),
        (("GET", "/a/x{id}"), READERS, "can never match"),
        (("GET", "/a/{}"), READERS, "can never match"),
        (("GET", "/a/{proxy+}"), READERS, "can never match"),
        (("GET", "/a\n"), READERS, "can never match"),
        (("GET", "/orders/{name}"), READERS, "GET /orders/{name} can never match: /orders/{order_id}"),
        (("GET", "/a"), frozenset({"ghost"}), "unknown role 'ghost'"),
        (("GET", "/a"), READERS | {"amdin"}, "unknown role 'amdin'"),
        (("GET", "/a"), frozenset[str](), "open to nobody"),
    ],
)
def test_a_mistaken_row_is_named(route: Route, group: frozenset[str], words: str) -> None:
    table = {**SOUND, route: group}
    (fault,) = faults({row: granted != PUBLIC for row, granted in table.items()}, table)
    assert words in fault
    assert fault.startswith(f"{route[0]} {route[1]}")


def test_a_row_without_a_route_and_a_route_without_a_row_are_named() -> None:
    assert "app.py has no such route" in faults({GET: True}, {GET: READERS, POST: WRITERS})[0]
    assert "in no row of the table" in faults({GET: True, POST: True}, {GET: READERS})[0]


def test_a_route_that_is_guarded_where_it_should_not_be_or_the_other_way_round_is_named() -> None:
    assert "app.py guards it" in faults({GET: True}, {GET: PUBLIC})[0]
    assert "does not guard it" in faults({GET: False}, {GET: READERS})[0]


@pytest.mark.parametrize("role", ["two words", "", "a\tb", "(public)", "caf\u00e9"])
def test_a_role_whose_name_could_not_travel_is_named(role: str) -> None:
    assert repr(role) in faults({GET: True}, {GET: frozenset({role})}, frozenset({role}))[0]


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/", "/"),
        ("GET", "/orders/7", "/orders/{order_id}"),
        ("GET", "/orders/export", "/orders/export"),
        ("GET", "/orders/a%2Fb", "/orders/{order_id}"),
        ("DELETE", "/orders/7/items/x", "/orders/{order_id}/items/{item}"),
        ("GET", "/orders", None),
        ("GET", "/orders/", None),
        ("GET", "/orders/7/", None),
        ("GET", "/Orders/7", None),
        ("POST", "/orders/7", None),
        ("GET", "/orders/7/items/x", None),
    ],
)
def test_a_path_meets_the_row_that_api_gateway_would_choose(method: str, path: str, template: str | None) -> None:
    assert match(method, path, tree(SOUND)) == (template and (method, template))


def test_every_guarded_route_is_guarded_by_the_one_authorizer() -> None:
    for methods in app.routes.values():
        for entry in methods.values():
            assert entry.authorizer.name == "jwt_authorizer"
