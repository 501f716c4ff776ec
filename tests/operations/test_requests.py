"""The requests that commands print and send: what is due for each row, and what is never sent unasked."""

from __future__ import annotations

import json
import shlex

import pytest

from chalicelib.guard import OWNER, PUBLIC
from chalicelib.guard.access import Table
from operations.fault import Fault
from operations.requests import NO_ROLE, Due, Request, callers, curl_lines, plan, read_examples, subject_of

READERS = frozenset({"user", "admin"})
ORDERS = ("GET", "/users/{sub}/orders")
TABLE = Table(
    {
        ("GET", "/items"): READERS,
        ("POST", "/items"): frozenset({"admin"}),
        ("DELETE", "/items/{item_id}"): frozenset({"admin"}),
        ("GET", "/items/{item_id}"): READERS,
        ORDERS: frozenset({"support"}) | OWNER,
        ("GET", "/health"): PUBLIC,
        ("POST", "/visits"): PUBLIC,
    }
)
ALL = {" ".join(route): {} for route in TABLE.rules}
ALL["DELETE /items/{item_id}"] = ALL["GET /items/{item_id}"] = {"path": {"item_id": "7"}}


def requests(examples: object = None, table: Table = TABLE) -> list[Request]:
    return plan(table, read_examples(json.dumps(examples or {}), table))[0]


def about(method: str, template: str, examples: object = None) -> set[tuple[str, str]]:
    return {
        (f"{request.who} {request.whose}".strip(), request.due.value)
        for request in requests(examples)
        if (request.method, request.template) == (method, template)
    }


def test_a_row_is_tried_by_who_may_who_may_not_and_without_a_token() -> None:
    assert about("GET", "/items") == {
        ("admin", "2xx"),
        ("user", "2xx"),  # which is let in nowhere else
        ("support", "403"),
        ("no token", "401"),
        ("tampered token of admin", "401"),
    }


def test_what_has_an_effect_is_not_sent_without_an_example() -> None:
    made, left_out = plan(TABLE, {})
    assert {request.method for request in made if request.is_allowed} == {"GET"}
    assert list(map(str, left_out)) == ["POST /items", "DELETE /items/{item_id}", "POST /visits"]


def test_refusals_are_asked_for_without_an_example() -> None:
    assert about("DELETE", "/items/{item_id}") == {
        ("support", "403"),
        ("no token", "401"),
        ("tampered token of admin", "401"),
    }


def test_what_has_an_effect_and_an_example_is_sent() -> None:
    assert ("admin", "2xx") in about("POST", "/items", ALL)
    assert ("admin", "2xx") in about("DELETE", "/items/{item_id}", ALL)
    assert about("POST", "/visits", ALL) == {("no token", "2xx")}
    assert plan(TABLE, read_examples(json.dumps(ALL), TABLE))[1] == []


def test_a_public_row_is_tried_without_a_token_alone() -> None:
    assert about("GET", "/health") == {("no token", "2xx")}


def test_an_owners_row_is_tried_for_ones_own_and_for_anothers() -> None:
    assert about(*ORDERS) == {
        ("support another's", Due.ALLOWED),
        ("admin own", Due.ALLOWED),
        ("admin another's", "403"),
        ("no token", "401"),
        ("tampered token of support", "401"),
    }
    own, anothers = (next(r for r in requests() if r.whose == w and r.caller == "admin") for w in ("own", "another's"))
    assert (own.path("a b"), anothers.path("a b"), anothers.path("1")) == (
        "/users/a%20b/orders",
        "/users/1/orders",
        "/users/somebody-else/orders",
    )


def test_a_row_that_every_role_may_is_tried_by_a_caller_without_one() -> None:
    table = Table({("GET", "/items"): frozenset({"user"})})
    assert (NO_ROLE, Due.FORBIDDEN) in [(request.caller, request.due) for request in requests(table=table)]


def test_a_row_of_owners_alone_is_tried_by_a_caller_without_a_role() -> None:
    made = requests(table=Table({ORDERS: OWNER}))
    assert [(r.caller, r.whose, r.tampered) for r in made] == [
        (NO_ROLE, "own", False),
        (NO_ROLE, "another's", False),
        (None, "", False),
        (NO_ROLE, "", True),
    ]


def test_each_role_is_let_in_somewhere_if_a_safe_row_allows_it() -> None:
    allowed = {request.caller for request in requests() if request.is_allowed}
    assert allowed >= TABLE.roles


@pytest.mark.parametrize(
    ("due", "met", "not_met"),
    [
        (Due.SUCCESS, (200, 201, 204), (302, 401, 403, 404, 500)),
        (Due.UNAUTHORIZED, (401,), (200, 403, 404, 500)),
        (Due.FORBIDDEN, (403,), (200, 401, 404, 500)),
        (Due.ALLOWED, (200, 302, 400, 404), (401, 403, 500, 502)),
    ],
)
def test_a_status_meets_what_is_due_or_does_not(due: Due, met: tuple[int, ...], not_met: tuple[int, ...]) -> None:
    assert all(map(due.met_by, met))
    assert not any(map(due.met_by, not_met))


def test_a_made_up_path_needs_no_success_and_an_example_does() -> None:
    assert ("admin", Due.ALLOWED) in about("GET", "/items/{item_id}")
    assert ("admin", "2xx") in about("GET", "/items/{item_id}", ALL)


def test_a_request_that_must_be_refused_carries_no_body() -> None:
    made = [r for r in requests({"POST /items": {"body": {"key": "value"}}}) if str(r) == "POST /items"]
    assert [request.content() for request in made if request.is_allowed] == [b'{"key": "value"}']
    assert {request.content() for request in made if not request.is_allowed} == {None}


def test_a_body_of_another_media_type_is_sent_as_it_is() -> None:
    (sent,) = (r for r in requests({"POST /visits": {"body": "a=1", "content_type": "text/csv"}}) if r.content())
    assert (sent.content(), sent.headers(None)) == (b"a=1", {"Content-Type": "text/csv"})


def test_an_example_fills_path_and_query_and_both_are_encoded() -> None:
    made = requests({"GET /items/{item_id}": {"path": {"item_id": "a/b"}, "query": {"q": "x y&z"}}})
    assert {r.path() for r in made if r.template == "/items/{item_id}" and r.method == "GET"} == {
        "/items/a%2Fb?q=x%20y%26z"
    }


def test_a_curl_line_says_what_is_due_and_fits_a_shell() -> None:
    made = requests({"POST /items": {"body": {"it's": "$HOME"}}, "GET /items": {"query": {"a": "1", "b": "2"}}})
    lines = curl_lines(made, callers(made), {"admin": "ann"}).splitlines()
    at = lines.index("# 2xx: POST /items, admin")
    assert shlex.split(lines[at + 1]) == [
        *("curl", "-i", "-X", "POST", "-H", "Authorization: $ADMIN_TOKEN", "-H", "Content-Type: application/json"),
        *("-d", '{"it\'s": "$HOME"}', "$API/items"),
    ]
    assert 'curl -i -H "Authorization: ${ADMIN_TOKEN}x" "$API/items?a=1&b=2"' in lines
    assert 'curl -i -H "Authorization: $ADMIN_TOKEN" $API/users/ann/orders' in lines


def test_each_caller_has_a_variable_of_its_own_that_a_shell_takes() -> None:
    made = [Request("GET", "/", role, Due.SUCCESS) for role in ("ops-lead", "ops.lead", "1st", "/", NO_ROLE, None)]
    assert list(callers(made).values()) == [
        *("OPS_LEAD_TOKEN", "OPS_LEAD_2_TOKEN", "ROLE_1ST_TOKEN", "ROLE_TOKEN", "NO_ROLE_TOKEN"),
    ]


@pytest.mark.parametrize(("role", "subject"), [("ops/lead", "ops-lead"), ("..", "nobody"), (NO_ROLE, "nobody")])
def test_a_minted_callers_subject_can_be_part_of_a_path(role: str, subject: str) -> None:
    assert subject_of(role) == subject


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ('{"POST /item": {}}', "'POST /item', which is no row"),
        ('{"post /items": {}}', "'post /items', which is no row"),
        ('{"POST /items": 1}', "POST /items: an example is an object"),
        ('{"POST /items": {"json": 1}}', "POST /items: an example is an object"),
        ('{"POST /items": {"path": {"id": "7"}}}', "must name exactly nothing"),
        ('{"GET /items/{item_id}": {}}', "must name exactly item_id"),
        ('{"GET /items/{item_id}": {"path": {"item_id": 7}}}', "path is an object of texts"),
        ('{"GET /items/{item_id}": {"path": {"item_id": ""}}}', "path is an object of texts"),
        ('{"GET /items": {"query": "a=1"}}', "query is an object of texts"),
        ('{"POST /items": {"content_type": "a\\nb"}}', "content_type is a media type"),
    ],
)
def test_an_example_that_does_not_fit_is_named(text: str, named: str) -> None:
    with pytest.raises(Fault, match=r"\.chalice/examples\.json") as refused:
        read_examples(text, TABLE)
    assert named in str(refused.value)
