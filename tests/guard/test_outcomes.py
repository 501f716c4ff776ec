"""The outcomes table, through the Chalice test client: both locks, the views, and the log of each."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import BadRequestError, Chalice, Request
from chalice.test import Client, HTTPResponse

from app import app, jwt_authorizer
from chalicelib.body import json_body
from chalicelib.guard import authorizer, middleware
from chalicelib.guard.caller import from_context
from chalicelib.guard.reason import Reason
from chalicelib.rules import PUBLIC, READERS, RULES, Route
from tests.conftest import PATH, SECRET, claims, sign, token

ARN = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev/GET/protected-resource"
JSON = {"Content-Type": "application/json"}
Log = Callable[[], list[dict[str, Any]]]


def get(client: Client, authorization: str | None = None) -> HTTPResponse:
    return client.http.get(PATH, headers={} if authorization is None else {"Authorization": authorization})


def post(client: Client, authorization: str, body: bytes = b'{"key":"value"}', **headers: str) -> HTTPResponse:
    return client.http.post(PATH, headers={"Authorization": authorization, **JSON, **headers}, body=body)


def authorize(client: Client, authorization: str, arn: str = ARN) -> Any:
    event = {"type": "TOKEN", "authorizationToken": authorization, "methodArn": arn}
    return client.lambda_.invoke("jwt_authorizer", event).payload


def event(authorizer: Any, method: str = "GET", path: str = PATH) -> dict[str, Any]:
    """Return what API Gateway sends to the API function."""
    return {
        "requestContext": {
            "httpMethod": method,
            "resourcePath": path,
            "requestId": "request-1",
            "authorizer": authorizer,
        },
        "headers": {},
        "pathParameters": {},
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": None,
    }


def handed_over(**changes: Any) -> dict[str, Any]:
    """Return the authorizer's context as API Gateway hands it over: every value is text."""
    good = {
        "principalId": "alice",
        "roles": "user",
        "exp": str(int(time.time()) + 60),
        "integrationLatency": "7",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


# The tutorial's requests.


def test_a_user_may_get_and_is_told_who_it_is(client: Client) -> None:
    answer = get(client, token("user", sub="alice"))
    assert answer.status_code == 200
    assert answer.json_body == {"message": "You may read this.", "subject": "alice", "roles": ["user"]}


def test_an_admin_may_get(client: Client) -> None:
    assert get(client, token("admin")).status_code == 200


def test_a_user_may_not_post(client: Client) -> None:
    assert post(client, token("user")).status_code == 403


def test_an_admin_may_post_and_the_body_comes_back(client: Client) -> None:
    answer = post(client, token("admin"))
    assert (answer.status_code, answer.json_body) == (200, {"key": "value"})


def test_the_bearer_scheme_is_taken_too(client: Client) -> None:
    assert get(client, f"Bearer {token('user')}").status_code == 200


@pytest.mark.parametrize("roles", [(), ("user",), ("admin",), ("user", "admin"), ("stranger",), ("stranger", "user")])
@pytest.mark.parametrize("route", list(RULES))
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    client: Client, route: Route, roles: tuple[str, ...]
) -> None:
    method, path = route[0], re.sub(r"\{\w+\}", "7", route[1])
    headers = {"Authorization": token(*roles), **JSON}
    answer = client.http.request(method, path, headers=headers, body=b"{}")
    assert answer.status_code == (200 if RULES[route] & set(roles) else 403)


# Refusals by the gateway lock.


def test_no_token_is_a_401(client: Client) -> None:
    answer = get(client)
    assert (answer.status_code, answer.json_body) == (401, {"message": "Unauthorized"})


STRICT = {"JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us", "JWT_MAX_LIFETIME_SECONDS": "86400"}


def strict(**changes: Any) -> dict[str, Any]:
    """Return claims that satisfy STRICT, with changes."""
    return claims(**{"iss": "https://issuer.example", "aud": "us", **changes})


SPOILED: dict[Reason, Callable[[float], str]] = {
    Reason.BAD_SCHEME: lambda _: f"Basic {sign(strict())}",
    Reason.TOO_LARGE: lambda _: "Bearer " + "x" * 60_000,
    Reason.MALFORMED: lambda _: "",
    Reason.CRITICAL_HEADER: lambda _: sign(strict(), crit=["exp"]),
    Reason.WRONG_ALGORITHM: lambda _: sign(strict(), alg="HS384"),
    Reason.BAD_SIGNATURE: lambda _: sign(strict(), SECRET[::-1]),
    Reason.MISSING_CLAIM: lambda _: sign(strict(exp=...)),
    Reason.WRONG_CLAIM_TYPE: lambda _: sign(strict(roles="admin")),
    Reason.EXPIRED: lambda now: sign(strict(exp=int(now))),
    Reason.NOT_YET_VALID: lambda now: sign(strict(nbf=now + 60)),
    Reason.ISSUED_IN_FUTURE: lambda now: sign(strict(iat=now + 60)),
    Reason.LIFETIME_TOO_LONG: lambda now: sign(strict(exp=now + 90_000)),
    Reason.WRONG_ISSUER: lambda _: sign(strict(iss="https://other.example")),
    Reason.WRONG_AUDIENCE: lambda _: sign(strict(aud="them")),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_a_spoiled_token_is_the_same_401_whatever_is_wrong_and_the_log_has_the_reason(
    client: Client, log: Log, environment: Callable[..., None], reason: Reason
) -> None:
    environment(**STRICT)
    assert get(client, sign(strict())).status_code == 200
    log()
    answer = get(client, SPOILED[reason](time.time()))
    assert (answer.status_code, answer.json_body) == (401, {"message": "Unauthorized"})
    (line,) = log()
    assert (line["lock"], line["outcome"], line["reason"]) == ("gateway", "unauthorized", reason)


def test_every_reason_to_refuse_a_token_has_a_test_of_its_outcome() -> None:
    locks = {Reason.NO_PERMISSION, Reason.NO_CALLER}
    ours = {Reason.BAD_SETTING, Reason.KEYS_UNAVAILABLE, Reason.UNEXPECTED}
    # A key without a name, as the local secret is, fits any kid; test_tokens.py holds UNKNOWN_KEY.
    assert set(Reason) == SPOILED.keys() | locks | ours | {Reason.UNKNOWN_KEY}


def test_lambda_tells_api_gateway_unauthorized_by_that_very_text(client: Client) -> None:
    with pytest.raises(authorizer.Unauthorized) as refused:
        authorize(client, "nonsense")
    assert str(refused.value) == "Unauthorized"


def test_a_valid_token_without_a_role_is_a_403_and_never_a_401(client: Client) -> None:
    for roles in ([], ["stranger"], ["Admin"], ["administrator"]):
        assert get(client, token(*roles)).status_code == 403


def test_one_answer_covers_the_whole_api_whatever_was_asked_for(client: Client) -> None:
    good = token("user")
    answers = [authorize(client, good, ARN.replace("GET/protected-resource", path)) for path in ("GET/x", "POST/y")]
    assert answers[0] == answers[1]


def test_the_answer_carries_scalars_and_only_roles_that_the_table_knows(client: Client) -> None:
    good = claims(roles=["user", "x" * 3000, "admin", "user"])
    answer = authorize(client, sign(good))
    assert answer["principalId"] == "alice"
    assert {statement["Action"] for statement in answer["policyDocument"]["Statement"]} == {"execute-api:Invoke"}
    assert answer["context"] == {"roles": "admin user", "exp": good["exp"]}


# Our own trouble.


@pytest.mark.parametrize(
    ("variables", "reason", "named"),
    [
        ({"AUTHORIZER_SECRET": None}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET"),
        ({"AUTHORIZER_SECRET": "too-short"}, Reason.KEYS_UNAVAILABLE, "32 bytes"),
        ({"AUTHORIZER_SECRET": "x" * 31}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET"),
        ({"AUTHORIZER_SECRET": "\udcff" * 40}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET is not text"),
        ({"AUTHORIZER_SECRET": "ssh-rsa " + "A" * 64}, Reason.KEYS_UNAVAILABLE, "AUTHORIZER_SECRET holds a public"),
        ({"AUTHORIZER_SECRET": '{"kty": "oct", "k": "' + "A" * 64 + '"}'}, Reason.KEYS_UNAVAILABLE, "or a JWK"),
        ({"AUTHORIZER_SECRET": "x" * 40, "JWT_ALGORITHMS": "HS512"}, Reason.KEYS_UNAVAILABLE, "64 bytes"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, Reason.BAD_SETTING, "JWT_SECRET_ID"),
        ({"JWT_ALGORITHMS": "none"}, Reason.BAD_SETTING, "JWT_ALGORITHMS"),
    ],
)
def test_our_own_trouble_is_a_500_and_one_log_line_that_names_the_mend(
    client: Client,
    log: Log,
    environment: Callable[..., None],
    variables: dict[str, str | None],
    reason: Reason,
    named: str,
) -> None:
    environment(**variables)
    answer = get(client, token("admin"))
    assert (answer.status_code, answer.json_body) == (500, {"message": "Internal Server Error"})
    (line,) = [line for line in log() if "outcome" in line]  # beside it, that keys could not be fetched
    assert (line["outcome"], line["reason"]) == ("error", reason)
    assert named in line["detail"]
    assert SECRET not in str(line)


def test_an_event_that_api_gateway_never_sends_is_a_500_and_no_policy(client: Client, log: Log) -> None:
    with pytest.raises(authorizer.AuthorizerFailure):
        authorize(client, token("admin"), "arn:aws:execute-api:*:*:*/*/GET/x")
    (line,) = log()
    assert line["reason"] == Reason.UNEXPECTED
    assert line["lock"] == "gateway"
    assert re.fullmatch(r"ValueError in \w*parse_method_arn\w*, line \d+", line["detail"])


def test_lambda_tells_its_own_trouble_without_what_it_was(client: Client) -> None:
    with pytest.raises(authorizer.AuthorizerFailure) as failed:
        authorize(client, token("admin"), "nonsense")
    assert str(failed.value) == "The authorizer failed; its log says why"


@pytest.mark.parametrize(
    ("authorization", "secret", "error_type", "challenge"),
    [
        ("nonsense", SECRET, "UnauthorizedException", 'Bearer error="invalid_token"'),
        (token("user"), "short", "AuthorizerConfigurationException", None),
    ],
    ids=["unauthorized", "failure"],
)
def test_a_refusal_under_chalice_local_has_the_headers_that_api_gateway_would_give_it(
    client: Client,
    environment: Callable[..., None],
    authorization: str,
    secret: str,
    error_type: str,
    challenge: str | None,
) -> None:
    environment(AUTHORIZER_SECRET=secret)
    answer = get(client, authorization)
    assert answer.headers["x-amzn-ErrorType"] == error_type
    assert answer.headers.get("WWW-Authenticate") == challenge
    assert "Access-Control-Allow-Origin" not in answer.headers
    environment(CORS_ALLOWED_ORIGIN="https://app.example.com")
    assert get(client, authorization).headers["Access-Control-Allow-Origin"] == "https://app.example.com"


def test_it_recovers_when_the_trouble_ends(client: Client, environment: Callable[..., None]) -> None:
    environment(AUTHORIZER_SECRET="short")
    assert get(client, token("user")).status_code == 500
    environment(AUTHORIZER_SECRET=SECRET)
    assert get(client, token("user")).status_code == 200


# The handler lock, past the gateway.


def test_what_api_gateway_hands_over_lets_the_caller_in() -> None:
    answer = app(event(handed_over()), None)
    assert (answer["statusCode"], json.loads(answer["body"])["roles"]) == (200, ["user"])


@pytest.mark.parametrize(
    "authorizer",
    [
        None,
        {},
        "alice",
        [],
        handed_over(principalId=...),
        handed_over(principalId=""),
        handed_over(principalId=7),
        handed_over(roles=...),
        handed_over(roles=["user"]),
        handed_over(roles=None),
        handed_over(exp=...),
        handed_over(exp=None),
        handed_over(exp=""),
        handed_over(exp="soon"),
        handed_over(exp="1e10"),
        handed_over(exp="-1"),
        handed_over(exp=" 4102444800"),
        handed_over(exp="4_102_444_800"),
        handed_over(exp="4102444800.5"),
        handed_over(exp="\u0664\u0661\u0660\u0662\u0664\u0664\u0664\u0668\u0660\u0660"),
        handed_over(exp="9" * 13),
        handed_over(exp="9" * 5000),
        handed_over(exp=True),
        handed_over(exp=4102444800.5),
    ],
)
def test_a_caller_that_does_not_fit_is_a_401_at_the_view(log: Log, authorizer: Any) -> None:
    answer = app(event(authorizer), None)
    assert (answer["statusCode"], answer["body"]) == (401, '{"message":"Unauthorized"}')
    assert answer["headers"]["WWW-Authenticate"] == 'Bearer realm="api"'
    line = log()[-1]
    assert (line["lock"], line["outcome"], line["reason"]) == ("handler", "unauthorized", Reason.NO_CALLER)
    assert (line["method"], line["route"], line["request_id"]) == ("GET", PATH, "request-1")


@pytest.mark.parametrize(
    ("authorizer", "told"),
    [
        (None, "no authorizer context"),
        (handed_over(roles=None), "principalId or roles do not fit"),
        (handed_over(exp="soon"), "exp does not fit"),
    ],
)
def test_a_caller_that_does_not_fit_is_an_error_that_says_what_does_not(authorizer: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}$"):
        from_context(authorizer)


def test_the_last_second_that_a_token_can_name_travels() -> None:
    assert from_context(handed_over(exp="253402300799")).expires_at == 253402300799


def test_a_view_answers_until_the_second_of_the_expiry_and_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expires = event(handed_over(exp="2000000000"))
    monkeypatch.setattr(time, "time", lambda: 1_999_999_999.9)
    assert app(expires, None)["statusCode"] == 200
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert app(expires, None)["statusCode"] == 401


def test_a_request_that_no_view_is_for_is_handed_on_as_it_is() -> None:
    request = Request(event(None, path="/nowhere"))
    assert middleware.guard(app.routes, request, lambda handed: handed) is request
    public = {("GET", PATH): PUBLIC}
    request = Request(event(None))
    assert middleware.guard(app.routes, request, lambda handed: handed, public) is request
    request = Request(event(handed_over()))
    assert middleware.guard(app.routes, request, lambda handed: handed) is request


def test_an_event_without_a_route_is_refused(log: Log) -> None:
    assert app({}, None)["statusCode"] == 401
    (line,) = log()
    assert (line["lock"], line["reason"]) == ("handler", Reason.NO_CALLER)
    assert app({"requestContext": {}}, None)["statusCode"] == 401


@pytest.mark.parametrize("as_text", [str, int])
def test_an_answer_from_the_cache_does_not_outlive_the_token(log: Log, as_text: Callable[[int], Any]) -> None:
    answer = app(event(handed_over(exp=as_text(int(time.time())))), None)
    assert (answer["statusCode"], answer["body"]) == (401, '{"message":"Unauthorized"}')
    line = log()[-1]
    assert (line["outcome"], line["reason"], line["subject"]) == ("unauthorized", Reason.EXPIRED, "alice")


def test_the_view_is_closed_to_a_role_that_may_not_though_the_gateway_let_it_through(log: Log) -> None:
    answer = app(event(handed_over(), "POST"), None)
    assert (answer["statusCode"], answer["body"]) == (403, '{"message":"Forbidden"}')
    line = log()[-1]
    assert (line["lock"], line["outcome"], line["reason"]) == ("handler", "deny", Reason.NO_PERMISSION)
    assert (line["subject"], line["roles"]) == ("alice", ["user"])
    assert (line["method"], line["route"], line["request_id"]) == ("POST", PATH, "request-1")


@pytest.mark.parametrize("roles", ["", " ", "User", "administrator", "user,admin", "(public)"])
def test_roles_are_compared_exactly_at_the_view(roles: str) -> None:
    assert app(event(handed_over(roles=roles)), None)["statusCode"] == 403


def test_a_guarded_route_that_stands_in_no_row_is_closed_to_everyone() -> None:
    other = Chalice("other", configure_logs=False)
    other.register_middleware(lambda request, proceed: middleware.guard(other.routes, request, proceed), "http")
    other.route("/unlisted", methods=["GET"], authorizer=jwt_authorizer)(lambda: "reached")
    answer = other(event(handed_over(roles="admin user"), path="/unlisted"), None)
    assert answer["statusCode"] == 403


def test_a_public_route_needs_no_caller_and_has_none(log: Log) -> None:
    other = Chalice("other", configure_logs=False)
    table = {("GET", "/health"): PUBLIC, ("GET", "/who"): PUBLIC}
    other.register_middleware(lambda request, proceed: middleware.guard(other.routes, request, proceed, table), "http")
    other.route("/health", methods=["GET"])(lambda: {"well": True})
    other.route("/who", methods=["GET"])(lambda: middleware.caller_of(other.current_request).subject)
    answer = other(event(None, path="/health"), None)
    assert (answer["statusCode"], answer["body"]) == (200, '{"well":true}')
    line = log()[-1]
    assert (line["lock"], line["outcome"], line["route"]) == ("handler", "allow", "/health")
    assert other(event(handed_over(), path="/who"), None)["statusCode"] == 500


def test_a_method_without_a_view_is_a_405(client: Client) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert client.http.request(method, PATH, headers={"Authorization": token("admin")}).status_code == 405


def test_a_view_of_a_public_route_has_no_caller() -> None:
    with pytest.raises(LookupError, match=r"^this request has no caller: .* public$"):
        middleware.caller_of(None)


def test_a_view_may_still_make_a_plain_dict_of_its_request() -> None:
    other = Chalice("other", configure_logs=False)
    table = {("GET", "/echo"): READERS}
    other.register_middleware(lambda request, proceed: middleware.guard(other.routes, request, proceed, table), "http")

    @other.route("/echo", methods=["GET"], authorizer=jwt_authorizer)
    def echo() -> Any:
        return other.current_request.to_dict()

    answer = other(event(handed_over(), path="/echo"), None)
    assert (answer["statusCode"], json.loads(answer["body"])["method"]) == (200, "GET")


# The body.


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b'{"key":', 400),
        (b"\xff\xfe", 400),
        ('{"key":1}'.encode("utf-16"), 400),
        (b'"' + b"x" * (1024 * 1024 - 1) + b'"', 413),
        (b'{"key":NaN}', 400),
        (b'{"key":1e999}', 400),
        (b'{"key":' + b"9" * 5000 + b"}", 400),
        (b'"' + b"x" * 1024 * 1024 + b'"', 413),
        (b" " * 12_000_000, 413),
    ],
)
def test_a_bad_body_is_told_what_is_wrong_with_it(client: Client, body: bytes, status: int) -> None:
    answer = post(client, token("admin"), body)
    assert answer.status_code == status
    assert answer.json_body["Message"].startswith("The body is ")


def test_a_body_of_exactly_a_megabyte_is_read(client: Client) -> None:
    largest = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    assert post(client, token("admin"), largest).status_code == 200


def test_where_there_is_no_request_there_is_no_body() -> None:
    with pytest.raises(BadRequestError, match="The body is empty"):
        json_body(None)


def test_a_body_of_deep_nesting_does_no_harm(client: Client) -> None:
    assert post(client, token("admin"), b"[" * 500_000).status_code == 400


@pytest.mark.parametrize("value", [None, 0, "", [], {"\u00e9": "\u2028"}, {"a": {"b": [1.5, True]}}])
def test_any_json_value_comes_back(client: Client, value: Any) -> None:
    answer = post(client, token("admin"), json.dumps(value).encode())
    assert (answer.status_code, json.loads(answer.body)) == (200, value)


def test_another_media_type_is_a_415(client: Client) -> None:
    answer = post(client, token("admin"), **{"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_who_may_not_post_is_refused_before_the_body_is_read(client: Client) -> None:
    assert post(client, token("user"), b"not json").status_code == 403


# The log.


def test_a_request_leaves_a_line_for_each_lock(client: Client, log: Log) -> None:
    get(client, sign(claims(roles=["user", "stranger"])))
    gateway, handler = log()
    for line, lock in ((gateway, "gateway"), (handler, "handler")):
        assert line.pop("time").endswith("+00:00")
        assert line.pop("duration_ms") >= 0
        assert lock == "handler" or line.pop("keys_age_s") >= 0
        assert line == {
            "lock": lock,
            "outcome": "allow",
            "subject": "alice",
            "roles": ["user"],
            "method": "GET",
            "route": PATH,
        }


def test_a_refusal_by_role_is_a_line_that_says_who_and_what(client: Client, log: Log) -> None:
    post(client, token("user", sub="alice"))
    (line,) = log()
    assert (line["lock"], line["outcome"], line["reason"]) == ("gateway", "deny", Reason.NO_PERMISSION)
    assert (line["subject"], line["roles"], line["method"], line["route"]) == ("alice", ["user"], "POST", PATH)


def test_the_handler_lock_logs_the_request_id_of_the_gateway(log: Log) -> None:
    app(event(handed_over()), None)
    assert log()[-1]["request_id"] == "request-1"


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


def test_a_kid_of_64_characters_is_still_logged(client: Client, log: Log) -> None:
    get(client, sign(claims(), SECRET[::-1], kid="k" * 64))
    assert log()[0]["kid"] == "k" * 64


@pytest.mark.parametrize("kid", ['x"}\n{"outcome": "allow"', "a\u2028b", "k" * 65])
def test_a_kid_cannot_forge_a_line_or_flood_the_log(client: Client, log: Log, kid: str) -> None:
    get(client, sign(claims(), SECRET[::-1], kid=kid))
    (line,) = log()
    assert "kid" not in line


def test_the_kid_of_a_refused_token_helps_to_find_the_key(client: Client, log: Log) -> None:
    get(client, sign(claims(), SECRET[::-1], kid="2026-11"))
    assert log()[0]["kid"] == "2026-11"
