"""A Guard in front of an app: what is not PUBLIC is guarded, and with an unsound table nothing starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Blueprint, Chalice
from chalice.test import Client

from chalicelib.guard import OWNER, PUBLIC, Guard, Rules, TableError
from tests.support import service
from tests.support.client import as_caller
from tests.support.events import context, request_event
from tests.support.service import Service
from tests.support.tokens import SECRET

USERS = frozenset({"user"})
#: What an event of EventBridge has beside its id.
EVENT_MEMBERS = ("version", "account", "region", "detail", "detail-type", "source", "time", "resources")


def guarded(rules: Rules, *, late: bool = False) -> Chalice:
    """Return an app with GET /a, GET /b in a Blueprint and, `late`, GET /c that comes after `protect`."""
    app = Chalice("other", configure_logs=False)
    guard = Guard(app, rules)
    jwt_authorizer = app.authorizer(name="jwt_authorizer")(guard.authorize)
    app.route("/a", methods=["GET"])(lambda: {"reached": "a"})
    parts = Blueprint("tests.guard.parts")
    parts.route("/b", methods=["GET"])(lambda: {"reached": "b"})
    app.register_blueprint(parts)
    guard.protect(jwt_authorizer)
    if late:
        app.route("/c", methods=["GET"])(lambda: {"reached": "c"})
    return app


def status(app: Chalice, path: str, *roles: str | None) -> int:
    """Return what the gateway and the view answer a caller with these roles; `None`: no token."""
    with Client(app, stage_name="local") as client:
        return int(as_caller(client)(*roles).get(path).status_code)


ALL_OPEN = {("GET", "/a"): USERS, ("GET", "/b"): USERS, ("GET", "/c"): USERS}


@pytest.mark.parametrize("path", ["/a", "/b"])
def test_every_route_gets_the_authorizer_a_blueprints_too(path: str) -> None:
    app = guarded(ALL_OPEN)
    assert app.routes[path]["GET"].authorizer.name == "jwt_authorizer"
    assert [status(app, path, *roles) for roles in ((None,), (), ("user",))] == [401, 403, 200]


def test_a_blueprint_of_the_service_is_guarded(client: Client) -> None:
    caller = as_caller(client)
    assert [caller(role).get("/reports/7").status_code for role in (None, "user", "admin")] == [401, 403, 200]
    assert caller("support", subject="ann").get("/reports/7").json_body == {"report": "7", "read_by": "ann"}


def test_a_public_route_gets_no_authorizer_and_needs_no_token() -> None:
    app = guarded({("GET", "/a"): PUBLIC, ("GET", "/b"): USERS})
    assert app.routes["/a"]["GET"].authorizer is None
    assert [status(app, "/a", *roles) for roles in ((None,), (), ("user",))] == [200] * 3


@pytest.mark.parametrize("path", ["/a", "/b"])
def test_a_route_without_a_row_is_closed(path: str) -> None:
    app = guarded({("GET", "/other"): USERS, ("POST", path): USERS, ("GET", f"{path}/x"): PUBLIC})
    assert [status(app, path, *roles) for roles in ((None,), (), ("user",))] == [401, 403, 403]
    everything = context(roles="user admin support")
    assert app(request_event(everything, path=path), None)["statusCode"] == 403


def test_a_route_that_is_registered_after_protect_is_closed() -> None:
    app = guarded(ALL_OPEN, late=True)
    assert app.routes["/c"]["GET"].authorizer is None  # so the gateway would let everybody in
    assert [status(app, "/c", *roles) for roles in ((None,), (), ("user",))] == [401] * 3


def test_a_route_in_front_of_a_guard_without_protect_is_closed() -> None:
    app = Chalice("other", configure_logs=False)
    Guard(app, {("GET", "/a"): USERS})
    app.route("/a", methods=["GET"])(lambda: {"reached": "a"})
    assert status(app, "/a", "user") == 401


def test_an_authorizer_that_a_route_names_itself_stays() -> None:
    app = Chalice("other", configure_logs=False)
    guard = Guard(app, {("GET", "/a"): USERS})
    own = app.authorizer(name="own")(guard.authorize)
    app.route("/a", methods=["GET"], authorizer=own)(lambda: {"reached": "a"})
    guard.protect(app.authorizer(name="jwt_authorizer")(guard.authorize))
    assert app.routes["/a"]["GET"].authorizer is own


def test_a_view_reads_its_caller(client: Client) -> None:
    answer = as_caller(client)("user", "stranger", subject="ann").get("/items")
    assert answer.json_body == {"subject": "ann", "roles": ["user"], "claims": {}}


def test_a_view_reads_the_claims_that_the_setting_names(client: Client, environment: Callable[..., None]) -> None:
    environment(JWT_CALLER_CLAIMS="tenant, email level")
    answer = as_caller(client)("user", tenant="acme", level=7, other="x").get("/items")
    assert answer.json_body["claims"] == {"tenant": "acme", "level": "7"}


def test_two_guards_do_not_share_what_they_read(environment: Callable[..., None]) -> None:
    first, second = service.load(), service.load()
    with Client(first.app, stage_name="local") as client:
        assert as_caller(client)("user").get("/items").status_code == 200
    environment(JWT_ISSUER="https://issuer.example")
    with Client(second.app, stage_name="local") as client:
        assert as_caller(client)("user").get("/items").status_code == 401


# An unsound table.

UNSOUND: list[Rules] = [
    {("GET", "/a"): frozenset({"user admin"})},
    {("GET", "/a*"): USERS},
    {("GET", "/users"): OWNER},
    {("GET", "/users/{sub}/notes/{note}"): OWNER},
    {("GET", "/a"): PUBLIC | USERS},
    {("GET", "/a"): "user"},  # type: ignore[dict-item]  # as somebody may write it
    {("GET", "/a"): frozenset()},
    {("get", "/a"): USERS},
    {("GET", "/a/{x}"): USERS, ("GET", "/a/{y}"): USERS},
]


@pytest.mark.parametrize("rules", UNSOUND)
def test_no_app_starts_with_an_unsound_table(rules: Rules) -> None:
    with pytest.raises(TableError, match=r"^(GET|get) /\S+ .*\.$"):
        guarded(rules)


def test_not_even_chalice_alone_can_load_a_service_with_one(tmp_path: Path) -> None:
    folder = shutil.copytree(service.FOLDER, tmp_path / "service")
    rules = folder / "chalicelib" / "rules.py"
    rules.write_text(rules.read_text().replace('"support"', '"support admin"'))
    with pytest.raises(TableError, match=r"names the role 'support admin'"):
        service.load(folder)


# What it adds to an app.


@pytest.mark.parametrize("status_code", [200, 401, 403])
def test_pages_of_the_allowed_origin_may_read_each_answer(environment: Callable[..., None], status_code: int) -> None:
    environment(CORS_ALLOWED_ORIGIN="https://app.example.com")
    app = service.load().app
    caller = {200: context(), 401: None, 403: context(roles="")}[status_code]
    answer = app(request_event(caller), None)
    assert answer["statusCode"] == status_code
    assert answer["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer["headers"]["Access-Control-Expose-Headers"] == "WWW-Authenticate"
    assert answer["headers"]["Access-Control-Max-Age"] == "3600"
    assert ("WWW-Authenticate" in answer["headers"]) == (status_code != 200)


@pytest.mark.parametrize("origin", [None, ""])
def test_without_an_allowed_origin_no_page_may_read_anything(
    environment: Callable[..., None], origin: str | None
) -> None:
    environment(CORS_ALLOWED_ORIGIN=origin)
    app = service.load().app
    for caller in (context(), None):
        assert "Access-Control-Allow-Origin" not in app(request_event(caller), None)["headers"]
    assert app.api.cors is False


@pytest.mark.parametrize(
    ("days", "declared"), [(None, []), ("", []), ("30", ["rotate_secret"]), ("soon", ["rotate_secret"])]
)
def test_the_rotation_is_a_function_of_stages_that_ask_for_it(
    environment: Callable[..., None], days: str | None, declared: list[str]
) -> None:
    environment(JWT_ROTATION_DAYS=days)
    assert [function.name for function in service.load().app.pure_lambda_functions] == declared


def test_the_authorizers_own_function_fetches_keys_while_it_starts(
    environment: Callable[..., None], log: Callable[[], list[dict[str, Any]]]
) -> None:
    environment(_HANDLER="app.jwt_authorizer")
    ready = service.load()
    assert [line["refresh_failures"] for line in log()] == [0]
    with Client(ready.app, stage_name="local") as client:
        assert as_caller(client)("user").get("/items").status_code == 200
    assert not any("refresh_failures" in line for line in log())


def test_after_a_start_without_keys_the_first_request_reads_all_again(environment: Callable[..., None]) -> None:
    environment(_HANDLER="app.jwt_authorizer", AUTHORIZER_SECRET="short")
    ready = service.load()
    environment(AUTHORIZER_SECRET=SECRET)
    with Client(ready.app, stage_name="local") as client:
        assert as_caller(client)("user").get("/items").status_code == 200


@pytest.mark.parametrize("handler", ["app.app", "app.rotate_secret", ""])
def test_another_function_fetches_no_keys_while_it_starts(
    environment: Callable[..., None], log: Callable[[], list[dict[str, Any]]], handler: str
) -> None:
    environment(_HANDLER=handler)
    service.load()
    assert log() == []


def test_a_schedule_of_the_app_runs_without_a_caller() -> None:
    app = Chalice("other", configure_logs=False)
    Guard(app, {("GET", "/a"): USERS})
    nightly = app.schedule("rate(1 day)", name="nightly")(lambda event: event.to_dict()["id"])
    assert nightly({"id": "an-id", **dict.fromkeys(EVENT_MEMBERS, "")}, None) == "an-id"


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_middleware_behind_the_guards_gets_the_request(fixture_service: Service, method: str) -> None:
    seen = []

    def behind(request: Any, get_response: Callable[[Any], Any]) -> Any:
        seen.append(request.method)
        return get_response(request)

    fixture_service.app.register_middleware(behind, "http")
    fixture_service.app(request_event(context(), method), None)
    assert seen == [method]


def test_a_function_that_cannot_get_ready_starts_all_the_same(environment: Callable[..., None], capsys: Any) -> None:
    environment(_HANDLER="app.jwt_authorizer", JWT_ALGORITHMS="none")
    ready = service.load()
    assert capsys.readouterr().out == ""
    environment(JWT_ALGORITHMS=None)
    with Client(ready.app, stage_name="local") as client:
        assert as_caller(client)("user").get("/items").status_code == 200


def test_on_a_public_route_there_is_no_caller(client: Client, log: Callable[[], list[dict[str, Any]]]) -> None:
    answer = as_caller(client)(None).get("/health")
    assert (answer.status_code, answer.json_body) == (200, {"up": True})
    (line,) = log()  # of the middleware: the gateway asks nobody
    assert (line["check"], line["outcome"], line["route"]) == ("middleware", "allow", "/health")
