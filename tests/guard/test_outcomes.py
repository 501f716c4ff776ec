"""The outcomes table, through the Chalice test client: both checks, the views, and the log of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from chalice.test import Client, HTTPResponse

from chalicelib.guard.decision import Reason
from tests.support import matrix, service
from tests.support.changed_tokens import CHANGED, STRICT, strict
from tests.support.client import as_caller
from tests.support.service import Service
from tests.support.tokens import SECRET, claims, forge, sign, token

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log(log: Log) -> Log:
    """Read the decisions alone: before the first of them a line says that there are keys."""
    return lambda: [line for line in log() if "check" in line]


def get(client: Client, authorization: str, path: str = "/items") -> HTTPResponse:
    return client.http.get(path, headers={"Authorization": authorization})


# The tutorial's requests.


@pytest.mark.parametrize("case", matrix.cases(service.load().rules), ids=str)
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    fixture_service: Service, client: Client, case: matrix.Case
) -> None:
    assert matrix.status_of(case, matrix.without_views(fixture_service.app), as_caller(client)) == case.status


def test_roles_add_up(client: Client) -> None:
    both = as_caller(client)("support", "admin")
    assert both.post("/items", {}).status_code == 200
    assert both.get("/users/bob/orders").status_code == 200


def test_a_user_gets_and_reads_who_it_is(client: Client) -> None:
    answer = get(client, token("user", sub="alice"))
    assert (answer.status_code, answer.json_body["subject"]) == (200, "alice")


def test_an_admin_posts_and_gets_the_body_back(client: Client) -> None:
    answer = as_caller(client)("admin").post("/items", {"key": "value"})
    assert (answer.status_code, answer.json_body) == (200, {"key": "value"})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_bearer_scheme_is_taken_too(client: Client, scheme: str) -> None:
    assert get(client, f"{scheme} {token('user')}").status_code == 200


def test_no_token_is_a_401(client: Client) -> None:
    answer = as_caller(client)(None).get("/items")
    assert (answer.status_code, answer.json_body) == (401, {"message": "Unauthorized"})


# Refusals.


@pytest.mark.parametrize("reason", CHANGED)
def test_a_bad_token_is_one_401_and_the_log_has_the_reason(
    client: Client, log: Log, environment: Callable[..., None], reason: Reason
) -> None:
    environment(**STRICT)
    assert get(client, sign(strict())).status_code == 200
    log()
    answer = get(client, CHANGED[reason](time.time()))
    assert (answer.status_code, answer.json_body) == (401, {"message": "Unauthorized"})
    (line,) = log()
    assert (line["check"], line["outcome"], line["reason"]) == ("authorizer", "unauthorized", reason)


def test_every_reason_to_refuse_a_token_has_a_changed_token() -> None:
    checks = {Reason.NO_PERMISSION, Reason.NOT_OWNER, Reason.NO_CALLER}
    ours = {Reason.BAD_SETTING, Reason.KEYS_UNAVAILABLE, Reason.ANSWER_TOO_LARGE, Reason.UNEXPECTED}
    # A secret's key is tried for any kid, and a list of ended sessions is in Secrets Manager: test_tokens.py and
    # keys/test_secrets_manager.py hold these two.
    assert set(Reason) == CHANGED.keys() | checks | ours | {Reason.UNKNOWN_KEY, Reason.REVOKED}


@pytest.mark.parametrize(
    ("settings", "changes", "claim"),
    [
        ({"JWT_AUDIENCE": "us, we"}, {"aud": ["them"]}, "aud"),
        ({"JWT_AUDIENCE": "us we"}, {"aud": "us we"}, "aud"),
        ({"JWT_REQUIRED_CLAIMS": "token_use=access tenant=acme"}, {"token_use": "id", "tenant": "acme"}, "token_use"),
        ({"JWT_TOKEN_TYPE": "at+jwt"}, {}, "typ"),
        ({}, {"cnf": {"jkt": "x"}}, "cnf"),
        ({"JWT_CALLER_CLAIMS": "tenant"}, {"tenant": ["acme"]}, "tenant"),
    ],
)
def test_a_claim_that_a_setting_wants_otherwise_is_named_in_the_log(
    client: Client, log: Log, environment: Callable[..., None], settings: dict[str, str], changes: Any, claim: str
) -> None:
    environment(**settings)
    assert get(client, sign(claims(**changes))).status_code == 401
    assert log()[0]["claim"] == claim


def test_cognitos_access_tokens_are_taken_and_its_id_tokens_not(
    client: Client, environment: Callable[..., None]
) -> None:
    environment(JWT_AUDIENCE="our-client", JWT_AUDIENCE_CLAIM="client_id", JWT_REQUIRED_CLAIMS="token_use=access")
    access = claims(client_id="our-client", token_use="access")
    assert get(client, sign(access)).status_code == 200
    assert get(client, sign({**access, "aud": "https://other.example"})).status_code == 401
    assert get(client, sign(claims(aud="our-client", token_use="id"))).status_code == 401


@pytest.mark.parametrize("kid", ["anything", "", "2026-11"])
def test_with_the_local_secret_a_kid_is_a_hint_that_says_nothing(client: Client, kid: str) -> None:
    assert get(client, sign(claims(), kid=kid)).status_code == 200


def test_a_kid_that_is_no_text_is_a_401(client: Client, log: Log) -> None:
    assert get(client, forge(b'{"alg":"HS256","kid":null}', b"{}")).status_code == 401
    (line,) = log()
    assert (line["reason"], line["claim"]) == (Reason.MALFORMED, "kid")


def test_a_valid_token_without_a_role_is_a_403_and_never_a_401(client: Client) -> None:
    for roles in ([], ["stranger"], ["Admin"], ["administrator"], ["(owner)"], ["(public)"]):
        assert get(client, token(*roles)).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_method_without_a_view_is_a_405(client: Client, method: str) -> None:
    assert as_caller(client)("admin").request(method, "/items").status_code == 405


def test_who_may_not_post_is_refused_before_the_body_is_read(client: Client) -> None:
    assert as_caller(client)("user").post("/items", b"not json").status_code == 403
    assert as_caller(client)("admin").post("/items", b"not json").status_code == 400


def test_another_media_type_is_a_415(client: Client) -> None:
    refused = as_caller(client)("admin").post("/items", b"{}", **{"Content-Type": "text/plain"})
    assert refused.status_code == 415


# The log.


def test_a_request_leaves_a_line_for_each_check(client: Client, log: Log) -> None:
    get(client, sign(claims(roles=["user", "stranger"])))
    first, second = log()
    for line, check in ((first, "authorizer"), (second, "middleware")):
        assert line.pop("time").endswith("+00:00")
        assert line.pop("duration_ms") >= 0
        assert check == "middleware" or line.pop("keys_age_s") >= 0
        assert line == {
            "check": check,
            "outcome": "allow",
            "subject": "alice",
            "roles": ["user"],
            "method": "GET",
            "route": "/items",
        }


def test_a_refusal_by_role_is_a_line_that_says_who_and_what(client: Client, log: Log) -> None:
    as_caller(client)("user", subject="alice").post("/items", {})
    (line,) = log()
    assert (line["check"], line["outcome"], line["reason"]) == ("authorizer", "deny", Reason.NO_PERMISSION)
    assert (line["subject"], line["roles"], line["method"], line["route"]) == ("alice", ["user"], "POST", "/items")


def test_a_refused_token_leaves_no_trace_of_itself(
    client: Client, capsys: pytest.CaptureFixture[str], environment: Callable[..., None]
) -> None:
    environment(JWT_AUDIENCE="us")
    leak = {"sub": "secret-subject", "email": "mail@example.com", "aud": "secret-audience"}
    for bad in (token("admin", **leak), sign(claims(**leak), SECRET[::-1]), "Bearer secret-nonsense"):
        get(client, bad)
        out = capsys.readouterr()
        for part in (*bad.split("."), *leak.values(), SECRET):
            assert part not in out.out + out.err


@pytest.mark.parametrize("path", ["/items", "/reports/7", "/users/bob/orders"])
def test_no_claim_for_the_views_is_ever_logged(
    client: Client, capsys: pytest.CaptureFixture[str], environment: Callable[..., None], path: str
) -> None:
    environment(JWT_CALLER_CLAIMS="tenant email", JWT_REQUIRED_CLAIMS="tenant=secret-tenant")
    for tenant in ("secret-tenant", "other-secret", ["secret-list"], "secret" * 400):
        get(client, token("user", tenant=tenant, email="mail@example.com"), path)
    out = capsys.readouterr()
    assert '"outcome"' in out.out
    assert not [leak for leak in ("secret", "mail@") if leak in out.out + out.err]


def test_a_route_in_the_log_is_the_templates_and_not_the_clients(client: Client, log: Log) -> None:
    get(client, token("user"), "/reports/a-name-of-somebody")
    get(client, token("admin"), "/reports/a-name-of-somebody")
    assert [line["route"] for line in log()] == ["/reports/{report_id}"] * 3


def test_a_kid_of_64_characters_is_still_logged(client: Client, log: Log) -> None:
    get(client, sign(claims(), SECRET[::-1], kid="k" * 64))
    assert log()[0]["kid"] == "k" * 64


@pytest.mark.parametrize("kid", ['x"}\n{"outcome": "allow"', "a\u2028b", "k" * 65])
def test_a_kid_cannot_forge_a_line_or_flood_the_log(client: Client, log: Log, kid: str) -> None:
    get(client, sign(claims(), SECRET[::-1], kid=kid))
    (line,) = log()
    assert "kid" not in line


@pytest.mark.parametrize("subject", ['x"}', "a\u3000b", "\u738b", '{"outcome":"allow"}', "\\n"])
def test_a_subject_cannot_forge_a_line(client: Client, log: Log, subject: str) -> None:
    get(client, token("user", sub=subject))
    assert [line["subject"] for line in log()] == [subject] * 2


def test_the_kid_of_a_refused_token_helps_to_find_the_key(client: Client, log: Log) -> None:
    get(client, sign(claims(), SECRET[::-1], kid="2026-11"))
    assert log()[0]["kid"] == "2026-11"
