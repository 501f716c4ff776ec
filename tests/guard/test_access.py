"""The table says who may call what, and an unsound one is refused in a sentence for each fault."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.guard.access import METHODS, OWNER, PUBLIC, Route, Table, TableError

READERS = frozenset({"user", "admin"})
WRITERS = frozenset({"admin"})

SOUND: dict[Route, frozenset[str]] = {
    ("GET", "/"): READERS,
    ("GET", "/health"): PUBLIC,
    ("GET", "/orders/{order_id}"): READERS,
    ("GET", "/orders/export"): WRITERS,
    ("DELETE", "/orders/{order_id}/items/{item}"): WRITERS,
    ("GET", "/users/{sub}/orders"): WRITERS | OWNER,
    ("GET", "/users/{sub}"): OWNER,
}
GET, PUBLIC_ROUTE, EXPORT = ("GET", "/"), ("GET", "/health"), ("GET", "/orders/export")
OWN: set[Route] = {("GET", "/users/{sub}/orders"), ("GET", "/users/{sub}")}


def test_a_role_is_permitted_the_rows_that_name_it() -> None:
    table = Table(SOUND)
    assert table.permitted(["user"]) == {GET, ("GET", "/orders/{order_id}")} | OWN
    assert table.permitted(["admin"]) == set(SOUND) - {PUBLIC_ROUTE}
    assert table.permitted(["user", "admin"]) == set(SOUND) - {PUBLIC_ROUTE}


@pytest.mark.parametrize(
    "roles", [[], ["root"], ["Admin"], ["ADMIN"], ["admin "], ["administrator"], [""], ["*"], [*PUBLIC], [*OWNER]]
)
def test_an_unknown_role_permits_nothing_but_ones_own(roles: list[str]) -> None:
    assert Table(SOUND).permitted(roles) == OWN


def test_no_role_is_permitted_a_public_route_because_it_needs_none() -> None:
    table = Table({PUBLIC_ROUTE: PUBLIC, GET: READERS})
    assert table.permitted([*PUBLIC, "user"]) == {GET}


def test_the_table_knows_the_roles_that_its_rows_name() -> None:
    assert Table(SOUND).roles == {"user", "admin"}
    assert Table({}).roles == frozenset()


def test_the_table_cannot_be_changed_while_it_serves() -> None:
    given = dict(SOUND)
    table = Table(given)
    with pytest.raises(TypeError):
        table.rules[GET] = PUBLIC  # type: ignore[index]  # that it cannot is the test
    given[GET] = PUBLIC
    assert table.rules[GET] == READERS


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_api_gateway_may_be_in_a_row(method: str) -> None:
    assert Table({(method, "/a"): READERS}).match(method, "/a") == (method, "/a")


@pytest.mark.parametrize("role", ["a", "Admin-2", "team:ops/lead", "a.b_c", "7"])
def test_a_role_may_have_letters_digits_and_some_signs(role: str) -> None:
    assert Table({GET: frozenset({role})}).roles == {role}


@pytest.mark.parametrize(
    ("route", "group", "words"),
    [
        (("get", "/a"), READERS, "can never match: the method must be one of GET, POST,"),
        (("ANY", "/a"), READERS, "can never match: the method"),
        (("*", "/a"), READERS, "can never match: the method"),
        (("TRACE", "/a"), READERS, "can never match: the method"),
        (("GET", "a"), READERS, "can never match: write /part/{name}"),
        (("GET", ""), READERS, "can never match"),
        (("GET", "/a/"), READERS, "can never match"),
        (("GET", "//a"), READERS, "can never match"),
        (("GET", "/a b"), READERS, "can never match"),
        (("GET", "/a*"), READERS, "can never match"),
        (("GET", "/*"), READERS, "can never match"),
        (("GET", "/a?"), READERS, "can never match"),
        (("GET", "/caf\u00e9"), READERS, "can never match"),
        (("GET", "/a/{id"), READERS, "can never match"),
        (("GET", "/a/x{id}"), READERS, "can never match"),
        (("GET", "/a/{}"), READERS, "can never match"),
        (("GET", "/a/{\u00e9}"), READERS, "can never match"),
        (("GET", "/a/{proxy+}"), READERS, "can never match"),
        (("GET", "/a\n"), READERS, "can never match"),
        (("GET", "/orders/{name}"), READERS, "can never match: /orders/{order_id} takes the same paths"),
        (("GET", "/a"), frozenset[str](), "must name a frozenset of roles, or PUBLIC"),
        (("GET", "/a"), "admin", "must name a frozenset of roles, or PUBLIC"),
        (("GET", "/a"), {"admin"}, "must name a frozenset of roles, or PUBLIC"),
        (("GET", "/a"), ["admin"], "must name a frozenset of roles, or PUBLIC"),
        (("GET", "/a"), None, "must name a frozenset of roles, or PUBLIC"),
        (("GET", "/a"), PUBLIC | READERS, "names the role '(public)'"),
        (("GET", "/a"), frozenset({"two words"}), "names the role 'two words'"),
        (("GET", "/a"), frozenset({""}), "names the role ''"),
        (("GET", "/a"), frozenset({"a\tb"}), r"names the role 'a\tb'"),
        (("GET", "/a"), frozenset({"a\n"}), r"names the role 'a\n'"),
        (("GET", "/a"), frozenset({"caf\u00e9"}), "names the role 'caf\u00e9'"),
        (("GET", "/a"), frozenset({7}), "names the role 7:"),
        (("GET", "/a"), frozenset({"x y", 7, "ok"}), "names the role 7, 'x y':"),
        (("GET", "/a"), OWNER, "names OWNER: its path must have exactly one parameter, {sub}"),
        (("GET", "/a/sub"), OWNER, "names OWNER"),
        (("GET", "/a/{id}"), OWNER | WRITERS, "names OWNER"),
        (("GET", "/a/{Sub}"), OWNER, "names OWNER"),
        (("GET", "/a/{sub}/b/{id}"), OWNER, "names OWNER"),
        (("GET", "/a/{id}/b/{sub}"), OWNER, "names OWNER"),
        (("GET", "/a/{sub}/b/{sub}"), OWNER, "names OWNER"),
        (("GET", "/a/{sub}"), OWNER | PUBLIC, "names the role '(public)'"),
    ],
)
def test_an_unsound_row_is_refused_and_named(route: Route, group: Any, words: str) -> None:
    with pytest.raises(TableError) as refused:
        Table({**SOUND, route: group})
    assert str(refused.value).startswith(f"{route[0]} {route[1]} ")
    assert words in str(refused.value)
    assert str(refused.value).count(f"{route[0]} {route[1]}") == 1


def test_each_unsound_row_has_its_sentence() -> None:
    with pytest.raises(TableError) as refused:
        Table({("get", "/a"): READERS, ("GET", "/b*"): READERS, ("GET", "/c"): frozenset({"x y"})})
    for name in ("get /a can", ". GET /b* can", ". GET /c names"):
        assert name in str(refused.value)


def test_the_same_shape_under_two_methods_is_two_routes() -> None:
    assert Table({("GET", "/a/{x}"): READERS, ("POST", "/a/{y}"): WRITERS}).match("POST", "/a/1") == ("POST", "/a/{y}")


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/", "/"),
        ("GET", "/orders/7", "/orders/{order_id}"),
        ("GET", "/orders/export", "/orders/export"),
        ("GET", "/orders/a%2Fb", "/orders/{order_id}"),
        ("DELETE", "/orders/7/items/x", "/orders/{order_id}/items/{item}"),
        ("GET", "/users/alice/orders", "/users/{sub}/orders"),
        ("GET", "/orders", None),
        ("GET", "/orders/", None),
        ("GET", "/orders/7/", None),
        ("GET", "/Orders/7", None),
        ("POST", "/orders/7", None),
        ("GET", "/orders/7/items/x", None),
        ("GET", "/users//orders", None),
        ("GET", "/{", None),
        ("GET", "/orders/{", "/orders/{order_id}"),
        ("GET", "", None),
    ],
)
def test_a_path_meets_the_row_that_api_gateway_would_choose(method: str, path: str, template: str | None) -> None:
    assert Table(SOUND).match(method, path) == (template and (method, template))


def test_a_literal_that_leads_nowhere_gives_way_to_a_parameter() -> None:
    table = Table({("GET", "/a/b"): READERS, ("GET", "/{x}/b/c"): READERS, ("GET", "/{x}"): READERS})
    assert table.match("GET", "/a/b/c") == ("GET", "/{x}/b/c")
    assert table.match("GET", "/a") == ("GET", "/{x}")
