"""`manage.py why` says what both checks answer, and why, and shows nothing that it should not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from chalice.app import Chalice
from chalice.test import Client
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

import manage
from chalicelib.guard.decision import Decision, Outcome, Reason
from chalicelib.guard.keys.source import KeySet, Revocations, hmac_keys
from chalicelib.guard.settings import Settings, SettingsError, from_environment
from chalicelib.guard.tokens import Key
from operations import reasons
from operations.project import Project
from operations.why import STAGE_ARN, Case, Explanation, advice, explain, judge, read_as_iam
from tests.support import iam
from tests.support.changed_tokens import CHANGED, STRICT
from tests.support.owners import OWNERS
from tests.support.service import FOLDER, Service
from tests.support.tokens import SECRET, claims, forge, sign, token

Change = Callable[..., None]
OTHER_SECRET = "another-secret-of-sufficient-length-for-hs256"


def made_of(app: Chalice, jwt_authorizer: Any, rules: Any) -> Project:
    module = SimpleNamespace(app=app, jwt_authorizer=jwt_authorizer, RULES=rules)
    return Project(FOLDER, lambda _name: module)


@pytest.fixture
def why(project: Project) -> Callable[..., Result]:
    """Run the command on the engine's own service."""

    def run(credential: str, method: str = "GET", path: str = "/items", *more: str, given: str | None = None) -> Result:
        return CliRunner().invoke(manage.cli, ["why", credential, method, path, *more], input=given, obj=project)

    return run


@pytest.fixture
def refused(why: Callable[..., Result]) -> Callable[..., str]:
    """Return what `why` prints about a request that is refused."""

    def run(credential: str, method: str = "GET", path: str = "/items") -> str:
        result = why(credential, method, path)
        assert result.exit_code == 1, result.output
        assert "\nFix: " in result.output
        return re.sub(" +", " ", result.output)

    return run


def explained(project: Project, credential: str, method: str = "GET", path: str = "/items") -> Explanation:
    return explain(credential, method, path, project, judge(project, None), time.time())


# It agrees with the real answer.

CREDENTIALS: dict[str, Callable[[], str]] = {
    "user": lambda: token("user"),
    "admin": lambda: token("admin"),
    "support": lambda: token("support"),
    "both": lambda: token("user", "admin"),
    "bearer": lambda: f"Bearer {token('admin')}",
    "two spaces": lambda: f"Bearer  {token('admin')}",
    "basic": lambda: f"Basic {token('admin')}",
    "none": lambda: "",
    "no roles": token,
    "Admin": lambda: token("Admin"),
    "stranger": lambda: token("stranger"),
    "no roles claim": lambda: sign(claims(roles=...)),
    "roles text": lambda: sign(claims(roles="admin")),
    "roles object": lambda: sign(claims(roles={"admin": True})),
    "public role": lambda: token("(public)"),
    "owner role": lambda: token("(owner)"),
    "expired": lambda: token("admin", exp=1),
    "not yet": lambda: token("admin", nbf=4102444800),
    "future iat": lambda: token("admin", iat=4102444800),
    "no exp": lambda: token("admin", exp=...),
    "milliseconds": lambda: token("admin", exp=10**15),
    "endless": lambda: forge(b'{"alg":"HS256"}', b'{"sub":"alice","exp":1e999,"roles":["admin"]}'),
    "not a number": lambda: forge(b'{"alg":"HS256"}', b'{"sub":"alice","exp":NaN,"roles":["admin"]}'),
    "exp twice": lambda: forge(b'{"alg":"HS256"}', b'{"sub":"alice","exp":1,"exp":4102444800}'),
    "audience": lambda: token("admin", aud="somebody-else"),
    "bound": lambda: token("admin", cnf={"jkt": "x"}),
    "subject": lambda: forge(b'{"alg":"HS256"}', json.dumps(claims(sub=7)).encode()),
    "other key": lambda: sign(claims(), OTHER_SECRET),
    "unsigned": lambda: jwt.encode(claims(), None, algorithm="none"),
    "HS384": lambda: sign(claims(), alg="HS384"),
    "dpop": lambda: sign(claims(), typ="dpop+jwt"),
    "kid": lambda: sign(claims(), kid="some-version"),
    "kid number": lambda: forge(b'{"alg":"HS256","kid":7}', json.dumps(claims()).encode()),
    "crit": lambda: sign(claims(), crit=["exp"]),
    "not JSON": lambda: forge(b'{"alg":"HS256"}', b"nonsense"),
    "list": lambda: forge(b'{"alg":"HS256"}', b"[1]"),
    "garbage": lambda: "nonsense",
    "dots": lambda: "..",
}
REQUESTS = [
    *(("GET", path) for path in ("/items", "/reports/7", "/users/alice/orders", "/users/bob/orders", "/health")),
    ("POST", "/items"),
]
NO_ROUTE = [("PUT", "/items"), ("OPTIONS", "/items"), ("GET", "/"), ("GET", "/items/7"), ("GET", "/users//orders")]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
def test_the_status_is_the_one_that_a_client_gets(
    client: Client, project: Project, credential: Callable[[], str], method: str, path: str
) -> None:
    given = credential()
    headers = {"Content-Type": "application/json"} | ({"Authorization": given} if given else {})
    answer = client.http.request(method, path, headers=headers, body=b"{}")
    assert explained(project, given, method, path).status == answer.status_code


@pytest.mark.parametrize(("subject", "segment", "owns"), [case for case in OWNERS if case[1]])
def test_an_owner_is_recognised_as_the_middleware_does(
    project: Project, subject: str, segment: str, *, owns: bool
) -> None:
    said = explained(project, token(sub=subject), "GET", f"/users/{segment}/orders")
    assert said.reason == (None if owns else Reason.NOT_OWNER)


@pytest.mark.parametrize(("method", "path"), NO_ROUTE)
def test_no_route_is_a_404_without_a_look_at_the_token(refused: Callable[..., str], method: str, path: str) -> None:
    printed = refused(token("admin"), method, path)
    assert "Answer: 404 Not Found, by API Gateway" in printed
    assert "Authorizer" not in printed


@pytest.mark.parametrize("reason", CHANGED)
def test_a_refused_token_has_its_reason_its_step_and_its_fix(
    project: Project, environment: Change, reason: Reason
) -> None:
    environment(**STRICT)
    said = explained(project, CHANGED[reason](time.time()) or "x")
    assert (said.status, said.reason, said.by) == (401, reason, "the authorizer")
    (step,) = (step for step in said.steps if step.verdict == "NO")
    assert step.found.startswith(f"{reason}: ")
    status, meaning, fix = reasons.TEXTS[reason]
    assert status == "401"
    assert said.advice[:2] == [f"Why: {meaning}".replace("`", ""), f"Fix: {fix}".replace("`", "")]


@pytest.mark.parametrize(
    ("reason", "passed", "refused_at", "not_reached"),
    [
        (Reason.BAD_SCHEME, [], "form", ["alg", "typ", "signature", "sub", "exp"]),
        (Reason.WRONG_ALGORITHM, ["form"], "alg", ["signature", "sub", "exp"]),
        (Reason.CRITICAL_HEADER, ["form"], "crit", ["signature", "sub", "exp"]),
        (Reason.BAD_SIGNATURE, ["form", "alg", "typ"], "signature", ["sub", "exp", "iss", "aud"]),
        (Reason.WRONG_TOKEN_TYPE, ["form", "alg", "typ", "kid", "signature"], "cnf", []),
        (Reason.EXPIRED, ["form", "alg", "typ", "kid", "signature"], "exp", []),
        (Reason.WRONG_CLAIM_VALUE, ["form", "alg", "typ", "kid", "signature"], "tenant", []),
    ],
)
def test_what_is_before_the_refusal_passed_and_the_rest_was_not_reached(
    project: Project, environment: Change, reason: Reason, passed: list[str], refused_at: str, not_reached: list[str]
) -> None:
    environment(**STRICT)
    verdicts = {
        step.name: step.verdict
        for step in explained(project, CHANGED[reason](time.time())).steps
        if step.check == "Authorizer"
    }
    assert [name for name, verdict in verdicts.items() if verdict == "ok"] == passed
    assert verdicts[refused_at] == "NO"
    assert {verdicts[name] for name in not_reached} <= {"-"}
    assert not not_reached or "-" in verdicts.values()


@pytest.mark.parametrize("roles", [(), ("user",), ("admin",), ("support",), ("user", "support")])
@pytest.mark.parametrize(("method", "path"), [*REQUESTS, *NO_ROUTE])
def test_a_policy_is_read_as_another_reader_of_iam_does(
    fixture_service: Service, method: str, path: str, roles: tuple[str, ...]
) -> None:
    document = iam.policy_for(*roles, table=fixture_service.rules, stage=STAGE_ARN)
    theirs = iam.decision(document, method, path, STAGE_ARN)
    assert read_as_iam(document, f"{STAGE_ARN}/{method}{path}") == theirs.replace("ImplicitDeny", "neither")


# What it says of each reason.


def test_each_reason_has_its_texts_and_nothing_else_has() -> None:
    assert list(reasons.TEXTS) == [reason.value for reason in Reason]
    assert {status for status, *_ in reasons.TEXTS.values()} == {"401", "403", "500"}


def case_of(settings: Settings, keys: Any, project: Project, *notes: str, **more: Any) -> Case:
    return Case(project.table, settings, KeySet(keys, Revocations(), notes), **more)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_reason_that_is_not_known_here_is_explained_all_the_same(project: Project, outcome: Outcome) -> None:
    later: Any = "a_reason_of_a_later_version"
    said = list(advice(Decision(outcome, later), judge(project, None)))
    assert said[0].startswith("Why: ")
    assert "upgrade" in said[1]


def test_a_failure_of_the_guard_itself_is_a_500_that_is_explained(project: Project) -> None:
    no_keys: Any = [SimpleNamespace(id=None, jwk=None)]  # any use of it fails
    broken = replace(judge(project, None), fetched=KeySet(no_keys, Revocations()))
    said = explain(token("user"), "GET", "/items", project, broken, time.time())
    assert (said.status, said.reason) == (500, Reason.UNEXPECTED)
    assert {step.verdict for step in said.steps if step.check == "Authorizer"} == {"ok", "-", "", "NO"}
    assert "AttributeError in " in said.steps[-1].found


def test_an_answer_that_api_gateway_would_not_take_is_a_500(fixture_service: Service) -> None:
    app, rules = Chalice("wide"), {}
    for number in range(400):
        template = f"/{number}-{'x' * 40}/{{id}}"
        app.route(template)(lambda **_: {})
        rules[("GET", template)] = frozenset({"user" if number % 2 else "admin"})
    for methods in app.routes.values():
        methods["GET"].authorizer = fixture_service.jwt_authorizer
    wide = made_of(app, fixture_service.jwt_authorizer, rules)
    said = explained(wide, token("user"), "GET", f"/1-{'x' * 40}/7")
    assert (said.status, said.reason, said.by) == (500, Reason.ANSWER_TOO_LARGE, "the authorizer")


def test_a_session_that_was_ended_is_refused_though_the_token_is_valid(project: Project) -> None:
    case = judge(project, None)
    ended = replace(case, fetched=case.fetched._replace(revocations=Revocations(subjects={"alice": int(time.time())})))
    said = explain(token("user"), "GET", "/items", project, ended, time.time())
    assert (said.status, said.reason, said.by) == (401, Reason.REVOKED, "the authorizer")
    assert [step.found for step in said.steps if step.verdict == "NO"] == ["revoked: the token itself is valid"]
    assert "signed with" in str(said.steps)
    assert explain(token("user", sub="bob"), "GET", "/items", project, ended, time.time()).status == 200


def test_the_version_of_the_secret_that_signed_is_named(project: Project) -> None:
    settings = from_environment({"JWT_SECRET_ID": "the-secret"})
    keys = [*hmac_keys(SECRET, "new", ["HS256"], "x"), *hmac_keys(OTHER_SECRET, "old", ["HS256"], "x")]
    both = case_of(settings, keys, project, "about the previous version", stage="dev", other_stages=("prod",))

    def said_of(step_name: str, credential: str) -> str:
        said = explain(credential, "GET", "/items", project, both, time.time())
        assert "Note: about the previous version" in said.advice
        return next(step.found for step in said.steps if step.name == step_name)

    new, old = "version new (AWSCURRENT) of secret the-secret", "version old (AWSPREVIOUS) of secret the-secret"
    assert said_of("signature", sign(claims())) == f"signed with {new}"
    assert said_of("signature", sign(claims(exp=1), OTHER_SECRET)) == f"signed with {old}"
    assert said_of("signature", sign(claims(), "x" * 40)) == f"bad_signature: {new}, {old}"
    assert said_of("kid", sign(claims(), "x" * 40)) == "not given (unverified)"
    assert said_of("kid", sign(claims(), "x" * 40, kid="gone")) == "'gone' (unverified)"
    assert "signed with" not in said_of("signature", sign(claims(), alg="HS384"))  # it was not tried


def test_with_a_provider_nobody_is_sent_to_manage_py_for_a_token(project: Project) -> None:
    settings = from_environment(
        {"JWT_JWKS_URL": "https://issuer.example/jwks", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"}
    )
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = jwt.PyJWK({**jwt.get_algorithm_by_name("RS256").to_jwk(private.public_key(), as_dict=True), "alg": "RS256"})
    provider = case_of(settings, [Key("k1", jwk)], project, stage="dev", other_stages=("prod",))
    good = {"iss": "https://issuer.example", "aud": "us"}

    def said(credential: str, method: str = "GET") -> Explanation:
        return explain(credential, method, "/items", project, provider, time.time())

    signed = jwt.encode(claims(**good), private, algorithm="RS256", headers={"kid": "k1"})
    assert said(signed).status == 200
    assert "key 'k1' of JWT_JWKS_URL" in str(said(signed).steps)
    assert said(signed, "POST").status == 403
    later = jwt.encode(claims(**good), private, algorithm="RS256", headers={"kid": "k2"})
    assert [step[2:] for step in said(later).steps if step.verdict == "NO"] == [
        ("kid", "unknown_key: 'k2' (unverified)")
    ]
    for wrong in (
        "",
        sign(claims(**good)),
        later,
        jwt.encode(claims(**good, exp=1), private, algorithm="RS256"),
    ):
        assert said(wrong).status == 401
        assert "identity provider https://issuer.example" in str(said(wrong).advice)
        assert "manage.py token" not in str(said(wrong).advice)


def test_an_allowed_request_is_followed_through_both_checks(why: Callable[..., Result]) -> None:
    result = why(token("user", "stranger"))
    printed = re.sub(" +", " ", result.output)
    assert result.exit_code == 0
    for line in (
        "Route row open to admin, user",
        "Authorizer ok sub 'alice'",
        "Authorizer other claims 'roles'",
        "Authorizer roles 'stranger', 'user'; in the table: user",
        "API Gateway ok policy Allow for this request",
        "Middleware ok caller and row passes it to the view",
        "Answer: 200 OK, by the view",
    ):
        assert f"{line}\n" in printed
    assert "for 300 s" in printed  # API Gateway's cache


def test_a_public_route_is_allowed_and_nobody_looks_at_a_token(why: Callable[..., Result]) -> None:
    for credential in ("", "nonsense", token("user")):
        result = why(credential, "GET", "/health")
        assert result.exit_code == 0
        assert "public: it needs no token" in result.output
        assert "nobody looks at the token" in result.output
        assert "Authorizer " not in result.output


def test_an_owners_row_says_whose_it_is_and_whose_the_token_is(refused: Callable[..., str]) -> None:
    printed = refused(token("user"), "GET", "/users/b%20b/orders")
    assert "open to support, its owner, whose subject is {sub}" in printed
    assert "Middleware NO caller and row not_owner" in printed
    assert "Answer: 403 Forbidden (not_owner), by the middleware" in printed
    assert "Here: the path is of 'b b', the token of 'alice'" in printed


def test_a_token_for_an_owners_route_is_minted_for_its_owner(refused: Callable[..., str]) -> None:
    assert "manage.py token --sub 'b b'\n" in refused("", "GET", "/users/b%20b/orders")


def test_a_request_without_a_token_is_refused_by_api_gateway_alone(refused: Callable[..., str]) -> None:
    printed = refused("")
    assert "Answer: 401 Unauthorized, by API Gateway\n" in printed
    assert "Authorizer " not in printed
    assert "Fix: send -H 'Authorization: Bearer ...'" in printed


def test_what_the_policy_does_not_allow_is_refused_without_a_deny(fixture_service: Service) -> None:
    app, authorizer = Chalice("overlapping"), fixture_service.jwt_authorizer
    rules = {("GET", "/notes/{id}"): frozenset({"user"}), ("GET", "/notes/export"): frozenset({"admin"})}
    for _, template in rules:
        app.route(template)(lambda **_: {})
        app.routes[template]["GET"].authorizer = authorizer
    said = explained(made_of(app, authorizer, rules), token("admin"), "GET", "/notes/7")
    assert (said.status, said.reason, said.by) == (
        403,
        Reason.NO_PERMISSION,
        "API Gateway, by the authorizer's policy",
    )
    assert "neither for this request" in said.steps[-1].found


def test_a_route_without_the_authorizer_is_refused_without_a_caller(project: Project) -> None:
    project.app.routes["/items"]["GET"].authorizer = None
    said = explained(project, token("admin"))
    assert (said.status, said.reason, said.by) == (401, Reason.NO_CALLER, "the middleware")
    assert "guard.protect" in str(said.advice)
    assert "a new token" not in str(said.advice)


def test_a_route_in_no_row_is_closed_though_another_row_takes_its_path(fixture_service: Service) -> None:
    fixture_service.app.route("/reports/export")(dict)
    fixture_service.guard.protect(fixture_service.jwt_authorizer)
    project = made_of(fixture_service.app, fixture_service.jwt_authorizer, fixture_service.rules)
    said = explained(project, token("admin"), "GET", "/reports/export")
    assert (said.status, said.reason, said.by) == (403, Reason.NO_PERMISSION, "the middleware")
    assert "in no row of the table: closed" in str(said.steps)


def test_routes_that_no_table_can_hold_are_a_sentence(project: Project, why: Callable[..., Result]) -> None:
    project.app.route("/items/{one}")(lambda **_: {})
    project.app.route("/items/{other}")(lambda **_: {})
    result = why(token("user"))
    assert result.exit_code == 2
    assert result.output.startswith("Error: app.py: GET /items/{other} can never match")


@pytest.mark.parametrize(("ttl", "said"), [(None, "for 300 s"), (3600, "for 3600 s"), (0, None)])
def test_the_cache_is_the_one_that_app_py_asks_for(project: Project, ttl: int | None, said: str | None) -> None:
    project.authorizer.config.ttl_seconds = ttl
    notes = [line for line in explained(project, token("user")).advice if line.startswith("Note: API Gateway keeps")]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_an_expired_token_says_since_when_and_how_to_get_another(refused: Callable[..., str]) -> None:
    printed = refused(token("user", exp=int(time.time()) - 7200))
    assert re.search(r"NO exp expired: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, 2:0\d:\d\d ago\n", printed)
    assert "manage.py token --role user\n" in printed


def test_a_token_of_tomorrow_says_when_and_speaks_of_clocks(refused: Callable[..., str]) -> None:
    printed = refused(token("user", nbf=int(time.time()) + 7200))
    assert re.search(r"NO nbf not_yet_valid: .* UTC, 1:5\d:\d\d ahead\n", printed)
    assert "JWT_LEEWAY_SECONDS" in printed


def test_a_wrong_role_is_shown_which_roles_may(refused: Callable[..., str]) -> None:
    printed = refused(token("user"), "POST")
    assert "Answer: 403 Forbidden (no_permission), by API Gateway, by the authorizer's policy" in printed
    assert "Route row open to admin\n" in printed


@pytest.mark.parametrize(("role", "meant"), [("Admin", "'admin'"), ("amdin", "'admin'"), ("SUPPORT", "'support'")])
def test_a_role_that_is_nearly_one_is_shown_which(refused: Callable[..., str], role: str, meant: str) -> None:
    assert f"'{role}' is not {meant}" in refused(token(role))


def test_a_token_without_roles_says_in_which_claim_they_are_missing(refused: Callable[..., str]) -> None:
    printed = refused(sign(claims(roles=..., groups=["admin"])))
    assert "Authorizer other claims 'groups'\n" in printed
    assert "Authorizer roles no role in the claim 'roles' (JWT_ROLES_CLAIM); in the table: none\n" in printed


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"roles": "admin"}, "NO roles wrong_claim_type: given"),
        ({"exp": "4102444800"}, "NO exp wrong_claim_type: no date: '4102444800'"),
        ({"exp": True}, "NO exp wrong_claim_type: no date: True"),
        ({"nbf": [1]}, "NO nbf wrong_claim_type: no date: [1]"),
        ({"sub": ""}, "NO sub wrong_claim_type: ''"),
        ({"jti": 7}, "NO jti wrong_claim_type: given"),
        ({"aud": 7}, "NO aud wrong_claim_type: 7"),
        ({"exp": ..., "sub": ...}, "NO exp missing_claim: not given"),
        ({"cnf": "secret-thumbprint"}, "NO cnf wrong_token_type: given"),
    ],
)
def test_the_claim_at_fault_is_named(refused: Callable[..., str], change: dict[str, Any], line: str) -> None:
    assert f"{line}\n" in refused(forge(b'{"alg":"HS256"}', json.dumps(claims(**change)).encode()))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"iss": "https://evil.example"}, "wrong_issuer: 'https://evil.example'; wanted: https://issuer.example"),
        ({"aud": "them"}, "wrong_audience: 'them'; wanted: us"),
        ({"tenant": "private text"}, "wrong_claim_value: given; wanted: acme"),
        ({"exp": int(time.time()) + 900_000}, "ahead; wanted: at most 86400 s after iat"),
    ],
)
def test_what_is_given_is_shown_beside_what_is_wanted(
    refused: Callable[..., str], environment: Change, change: dict[str, Any], line: str
) -> None:
    environment(**STRICT)
    good = {"iss": "https://issuer.example", "aud": "us", "tenant": "acme"}
    assert f"{line}\n" in refused(token("user", **{**good, **change}))


def test_a_header_parameter_at_fault_is_named(refused: Callable[..., str]) -> None:
    for parameter in ('"kid":7', '"cty":"JWT"', '"b64":false'):
        name = parameter.split('"')[1]
        printed = refused(forge(b'{"alg":"HS256",%s}' % parameter.encode(), json.dumps(claims()).encode()))
        assert f"NO {name} malformed: " in printed


def test_a_signature_that_cannot_be_read_is_nobodys(refused: Callable[..., str]) -> None:
    printed = refused(f"{token('user').rpartition('.')[0]}.A")
    assert "NO form malformed: " in printed
    assert "- signature this machine's secret\n" in printed
    assert "- sub 'alice' (unverified)\n" in printed


def test_the_algorithm_is_shown_beside_those_that_are_allowed(refused: Callable[..., str]) -> None:
    printed = refused(jwt.encode(claims(), None, algorithm="none"))
    assert "NO alg wrong_algorithm: 'none'; wanted: HS256 (unverified)\n" in printed
    assert "none is never accepted" in printed


def test_what_a_token_says_is_marked_until_its_signature_is_verified(refused: Callable[..., str]) -> None:
    assert "- sub 'alice' (unverified)\n" in refused(sign(claims(), OTHER_SECRET))
    assert "unverified" not in refused(token("user", exp=1))


def test_a_token_that_another_key_signed_is_sent_to_the_other_keys(project: Project) -> None:
    stages = hmac_keys(OTHER_SECRET, "v1", ["HS256"], "x")
    for_stage = case_of(from_environment({}), stages, project, stage="dev", other_stages=("prod",))
    advice = explain(token("user"), "GET", "/items", project, for_stage, time.time()).advice
    assert "Here: if it was made elsewhere, try --stage prod" in advice
    assert "Here: if it was made elsewhere, try without --stage" in advice
    assert "Here: a new token: manage.py token --stage dev --role user" in advice
    here = explained(project, sign(claims(), OTHER_SECRET)).advice
    assert [line.partition("try ")[2] for line in here if "elsewhere" in line] == ["--stage dev", "--stage prod"]


# Paths.


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dev/items", "leave the stage out: /items takes GET, POST"),
        ("/items/", "without the slash at the end it takes GET, POST"),
        ("/Items", "compared exactly"),
        ("/dev/nothing", "manage.py rules lists the routes"),
        ("/", "manage.py rules lists the routes"),
    ],
)
def test_a_path_that_is_nearly_one_is_said_what_is_wrong_with_it(
    refused: Callable[..., str], path: str, said: str
) -> None:
    assert said in refused(token("user"), "GET", path)


def test_another_method_is_shown_which_ones_the_path_takes(refused: Callable[..., str]) -> None:
    assert "Fix: this path takes GET, POST" in refused(token("admin"), "DELETE")


def test_a_query_is_no_part_of_the_path(why: Callable[..., Result]) -> None:
    assert why(token("user"), "get", "/items?page=2").exit_code == 0


def test_a_preflight_is_answered_where_an_origin_is_allowed(project: Project, refused: Callable[..., str]) -> None:
    open_to = case_of(from_environment({"CORS_ALLOWED_ORIGIN": "https://app.example"}), [], project)
    assert explain("", "OPTIONS", "/items", project, open_to, 0).status == 200
    assert explain("", "OPTIONS", "/unknown", project, open_to, 0).status == 404
    assert "CORS_ALLOWED_ORIGIN" in refused("x", "OPTIONS")


# Where the token comes from, and where it never goes.


@pytest.mark.parametrize("form", ["{}", "{}\n", "Bearer {}\r\n", "  {}  \n"])
def test_a_token_may_come_on_standard_input(why: Callable[..., Result], form: str) -> None:
    assert why("-", given=form.format(token("user"))).exit_code == 0


@pytest.mark.parametrize("given", ["", "\n"])
def test_nothing_on_standard_input_is_a_sentence(why: Callable[..., Result], given: str) -> None:
    result = why("-", given=given)
    assert (result.exit_code, result.output) == (2, "Error: There is no token on standard input.\n")


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
def test_neither_token_nor_secret_is_printed(why: Callable[..., Result], credential: Callable[[], str]) -> None:
    given = credential()
    printed = why(given, "POST").output
    for part in given.rpartition(" ")[2].split("."):
        assert len(part) < 10 or part not in printed
    assert SECRET not in printed


def test_the_value_of_another_claim_is_not_printed(environment: Change, why: Callable[..., Result]) -> None:
    environment(JWT_REQUIRED_CLAIMS="tenant=acme", JWT_CALLER_CLAIMS="email")
    more = {"email": "private@example.com", "https://x/y": "private", "jti": "private", "tenant": "private"}
    more |= {"kid": "private", "alg": "private", "typ": "private"}  # of the claims, not of the header
    for change in ({}, {"tenant": "acme"}, {"exp": 1}, {"email": ["private"]}, {"jti": ["private"]}):
        for secret in (SECRET, OTHER_SECRET):
            printed = why(sign(claims(**{**more, **change}), secret)).output
            assert "'https://x/y'" in printed
            assert "private" not in printed


@pytest.mark.parametrize(
    "words",
    [
        "GET {} /x",
        "GET /x {}",
        "GET /x Bearer {}",
        "Bearer {} GET",
        "Bearer {} GET /x",
        "{} GET x",
        "{} /x GET",
        "{} GET /items {}",
    ],
)
def test_a_token_in_the_wrong_place_is_not_repeated(project: Project, words: str) -> None:
    good = token("user")
    result = CliRunner().invoke(manage.cli, ["why", *words.format(good, good).split()], obj=project)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert good not in result.output


NASTY = "\x1b[2J\u202e\x07\n\ud800"


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        ({}, {"roles": [NASTY, "user"], "jti": NASTY, NASTY: 1}),
        ({}, {"sub": NASTY}),
        ({}, {"iss": NASTY, "exp": 1}),
        ({}, {"aud": [NASTY], "exp": NASTY}),
        ({"kid": NASTY, "typ": NASTY}, {}),
        ({"alg": NASTY}, {}),
    ],
)
def test_what_a_token_says_cannot_command_the_terminal(
    why: Callable[..., Result], header: Mapping[str, Any], payload: Mapping[str, Any]
) -> None:
    made = forge(json.dumps({"alg": "HS256", **header}).encode(), json.dumps(claims(**payload)).encode())
    printed = why(made).output
    assert "\\x1b[2J\\u202e\\x07\\n\\ud800" in printed
    assert all(character.isprintable() for line in printed.split("\n") for character in line)


def test_a_path_cannot_command_the_terminal_either(why: Callable[..., Result]) -> None:
    for path in ("/users/\x1b[2J%1b/orders", "/dev/reports/\x1b[2J", "/\x1b"):
        printed = why("", "GET", path).output
        assert "\x1b" not in printed
        assert "Answer: " in printed


@pytest.mark.parametrize("claim", [b"aud", b"exp", b"roles", b"sub"])
def test_a_claim_that_is_nested_deeply_is_no_traceback(project: Project, claim: bytes) -> None:
    for depth in (300, *range(850, 1000), 2000):  # somewhere there it can be parsed, and cannot be printed
        body = b'{"sub":"alice","exp":4102444800,"%s":' % claim + b"[" * depth + b"]" * depth + b"}"
        assert explained(project, forge(b'{"alg":"HS256"}', body)).status == 401


def test_what_cannot_be_said_is_a_sentence(environment: Change, why: Callable[..., Result], project: Project) -> None:
    result = why("x", "GET", "/items", "--stage", "no-such-stage")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    environment(JWT_LEEWAY_SECONDS="x")
    with pytest.raises(SettingsError, match="JWT_LEEWAY_SECONDS"):
        judge(project, None)
    result = why("x")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
