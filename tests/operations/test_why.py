"""`manage.py why`: it predicts what both locks answer, names the mend, and shows nothing that it should not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from chalice.test import Client
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

import manage
from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.reason import Reason
from chalicelib.guard.settings import from_environment
from chalicelib.guard.tokens import Key
from operations import mends
from operations.why import Explanation, Judge, explain, judge, read_as_iam
from tests.conftest import PATH, SECRET, claims, forge, sign, token
from tests.guard.test_outcomes import SPOILED, STRICT
from tests.support.iam import PATHS, ROLE_SETS, STAGE, decision, policy_for

Change = Callable[..., None]
OTHER_SECRET = "another-secret-of-sufficient-length-for-hs256"


def why(credential: str, method: str = "GET", path: str = PATH, *more: str, given: str | None = None) -> Result:
    return CliRunner().invoke(manage.cli, ["why", credential, method, path, *more], input=given)


def refused(credential: str, method: str = "GET", path: str = PATH) -> str:
    """Return what `why` prints of a request that is refused."""
    result = why(credential, method, path)
    assert result.exit_code == 1, result.output
    assert "Mend: " in result.output
    return result.output


# It agrees with the real answer.

CREDENTIALS: dict[str, Callable[[], str]] = {
    "user": lambda: token("user"),
    "admin": lambda: token("admin"),
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
    "expired": lambda: token("admin", exp=1),
    "not yet": lambda: token("admin", nbf=4102444800),
    "future iat": lambda: token("admin", iat=4102444800),
    "no exp": lambda: token("admin", exp=...),
    "milliseconds": lambda: token("admin", exp=10**15),
    "audience": lambda: token("admin", aud="somebody-else"),
    "subject": lambda: forge(b'{"alg":"HS256"}', json.dumps(claims(sub=7)).encode()),
    "other key": lambda: sign(claims(), OTHER_SECRET),
    "unsigned": lambda: jwt.encode(claims(), None, algorithm="none"),
    "HS384": lambda: sign(claims(), alg="HS384"),
    "kid": lambda: sign(claims(), kid="some-version"),
    "crit": lambda: sign(claims(), crit=["exp"]),
    "not JSON": lambda: forge(b'{"alg":"HS256"}', b"nonsense"),
    "garbage": lambda: "nonsense",
}
ROUTES = [("GET", PATH), ("POST", PATH), ("PUT", PATH), ("OPTIONS", PATH), ("GET", "/"), ("GET", f"{PATH}/7")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
def test_the_status_is_the_one_that_the_test_client_gets(
    client: Client, credential: Callable[[], str], method: str, path: str
) -> None:
    given = credential()
    told = explain(given, method, path, judge(None), time.time())
    if told.status == 404:  # which Chalice's local gateway says in its own ways; OPTIONS ends its test client
        return
    headers = {"Content-Type": "application/json"} | ({"Authorization": given} if given else {})
    assert client.http.request(method, path, headers=headers, body=b"{}").status_code == told.status


@pytest.mark.parametrize(("method", "path"), ROUTES[2:])
def test_what_no_route_has_is_a_404_without_a_look_at_the_token(method: str, path: str) -> None:
    assert "Answer: 404 Not Found, by API Gateway" in refused(token("admin"), method, path)


@pytest.mark.parametrize("reason", list(SPOILED))
def test_each_refusal_of_a_token_has_its_reason_its_step_and_its_mend(environment: Change, reason: Reason) -> None:
    environment(**STRICT)
    told = explain(SPOILED[reason](time.time()) or "x", "GET", PATH, judge(None), time.time())
    assert (told.status, told.reason) == (401, reason)
    (step,) = (step for step in told.steps if step.verdict == "NO")
    assert step.found.startswith(f"{reason}: ")
    behind = told.steps[list(told.steps).index(step) + 1 :]
    assert {other.verdict for other in behind} <= {"-"}  # not reached
    assert all(told.mends)


def test_each_reason_has_a_mend() -> None:
    assert set(mends._MENDS) == set(Reason)


@pytest.mark.parametrize("roles", ROLE_SETS)
@pytest.mark.parametrize("route", [*PATHS])
def test_the_policy_is_read_as_another_reader_of_iam_does(route: tuple[str, str], roles: tuple[str, ...]) -> None:
    document = policy_for(*roles)
    said = read_as_iam(document, f"{STAGE}/{route[0]}{PATHS[route]}")
    assert said == decision(document, route[0], PATHS[route]).replace("ImplicitDeny", "neither")


# What it says.


def test_the_version_of_the_secret_that_signed_is_named_and_those_that_did_not_are_listed() -> None:
    kept = from_environment({"JWT_SECRET_ID": "the-secret"})
    keys = [*hmac_keys(SECRET, "new", ["HS256"], "x"), *hmac_keys(OTHER_SECRET, "old", ["HS256"], "x")]
    both = Judge(kept, keys, "dev", ("prod",))

    def found(credential: str) -> str:
        told = explain(credential, "GET", PATH, both, time.time())
        return next(step.found for step in told.steps if step.name == "key")

    assert found(sign(claims())) == "signed with version new (AWSCURRENT) of secret the-secret"
    assert found(sign(claims(exp=1), OTHER_SECRET)) == "signed with version old (AWSPREVIOUS) of secret the-secret"
    assert found(sign(claims(), "x" * 40)).startswith(
        "bad_signature: none fits: version new (AWSCURRENT) of secret the-secret, version old (AWSPREVIOUS)"
    )
    assert found(sign(claims(), kid="gone")).startswith("unknown_key: none fits: ")


def test_where_a_provider_makes_the_tokens_nobody_is_told_to_mint_one() -> None:
    kept = from_environment(
        {"JWT_JWKS_URL": "https://issuer.example/jwks", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"}
    )
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = jwt.PyJWK({**jwt.get_algorithm_by_name("RS256").to_jwk(private.public_key(), as_dict=True), "alg": "RS256"})
    provider = Judge(kept, [Key("k1", jwk)], "dev", ("prod",))
    good = {"iss": "https://issuer.example", "aud": "us"}

    def told(credential: str, method: str = "GET") -> Explanation:
        return explain(credential, method, PATH, provider, time.time())

    signed = jwt.encode(claims(**good), private, algorithm="RS256", headers={"kid": "k1"})
    assert told(signed).status == 200
    assert "key 'k1' of JWT_JWKS_URL" in str(told(signed).steps)
    assert told(signed, "POST").status == 403
    for refused in (
        sign(claims(**good)),
        jwt.encode(claims(**good), private, algorithm="RS256", headers={"kid": "k2"}),
        jwt.encode(claims(**good, exp=1), private, algorithm="RS256"),
    ):
        assert told(refused).status == 401
        assert "identity provider https://issuer.example" in str(told(refused).mends)
        assert "manage.py token" not in str(told(refused).mends)


def test_a_signature_that_was_not_tried_is_not_said_to_fail() -> None:
    assert "not tried" in refused(sign(claims(), alg="HS384"))


@pytest.mark.parametrize("depth", [300, 900, 2000])
def test_a_claim_that_is_nested_deeply_is_no_traceback(depth: int) -> None:
    body = b'{"sub":"alice","exp":4102444800,"aud":' + b"[" * depth + b"]" * depth + b"}"
    result = why(forge(b'{"alg":"HS256"}', body))
    assert result.exit_code == 1
    assert "Mend: " in result.output


def test_a_preflight_is_told_where_an_origin_is_allowed() -> None:
    open_to = Judge(from_environment({"CORS_ALLOWED_ORIGIN": "https://app.example"}), [])
    assert explain("", "OPTIONS", PATH, open_to, 0).status == 200
    assert explain("", "OPTIONS", "/unknown", open_to, 0).status == 404
    assert "CORS_ALLOWED_ORIGIN" in refused("x", "OPTIONS")


def test_a_request_that_is_allowed_is_walked_through_both_locks() -> None:
    result = why(token("user", "stranger"))
    assert result.exit_code == 0
    for said in ("open to admin, user", "known to the table: user", "unknown, granting nothing: 'stranger'"):
        assert said in result.output
    for said in ("Allow GET /protected-resource", "lets it through to the view", "Answer: 200 allowed"):
        assert said in result.output
    assert "sub 'alice'; also 'roles'\n" in re.sub(" +\n", "\n", result.output)
    assert "300 s" in result.output  # API Gateway's cache


def test_an_expired_token_is_told_since_when_and_how_to_get_another() -> None:
    printed = refused(token("user", exp=int(time.time()) - 7200))
    assert re.search(r"expires +expired: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, 2 h( \d s)? ago", printed)
    assert "manage.py token --role user" in printed


def test_a_token_of_tomorrow_is_told_when_and_of_clocks() -> None:
    assert "JWT_LEEWAY_SECONDS" in refused(token("user", nbf=int(time.time()) + 60))


def test_a_wrong_role_is_told_which_roles_may() -> None:
    assert "Mend: Only admin may" in refused(token("user"), "POST")


@pytest.mark.parametrize(("role", "meant"), [("Admin", "'admin'"), ("amdin", "'admin'"), ("USER", "'user'")])
def test_a_role_that_is_nearly_one_is_told_which(role: str, meant: str) -> None:
    assert f"'{role}' is not {meant}" in refused(token(role))


def test_roles_in_another_claim_are_pointed_at() -> None:
    printed = refused(sign(claims(roles=..., groups=["admin"])))
    assert "no role at all in the claim 'roles'" in printed
    assert "'groups' holds roles that the table knows" in printed


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ({"roles": "admin"}, "The claim roles must be a list of strings"),
        ({"exp": "4102444800"}, "The claim exp must be a number of seconds"),
        ({"sub": ""}, "The claim sub must be printable text"),
        ({"aud": 7}, "aud text or a list"),
        ({"sub": ..., "exp": ...}, "lacks sub (who calls), exp (when it ends)"),
    ],
)
def test_the_claim_at_fault_is_named(spoil: dict[str, Any], named: str) -> None:
    assert named in refused(forge(b'{"alg":"HS256"}', json.dumps(claims(**spoil)).encode()))


def test_issuer_and_audience_are_told_beside_what_is_wanted(environment: Change) -> None:
    environment(**STRICT)
    now = int(time.time())
    good = {"iss": "https://issuer.example", "aud": "us", "exp": now + 60, "iat": now}
    assert "'https://evil.example', and JWT_ISSUER is 'https://issuer.example'" in refused(
        token("user", **{**good, "iss": "https://evil.example"})
    )
    assert "'them', and JWT_AUDIENCE is 'us'" in refused(token("user", **{**good, "aud": "them"}))


def test_an_unsigned_token_and_one_of_a_provider_are_told_apart() -> None:
    assert "unsigned token never stands" in refused(jwt.encode(claims(), None, algorithm="none"))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert "set JWT_JWKS_URL" in refused(jwt.encode(claims(), key, algorithm="RS256"))


def test_a_stages_token_judged_with_the_local_secret_is_told_to_name_the_stage() -> None:
    printed = refused(sign(claims(), OTHER_SECRET, kid="a-version"))
    assert "it was made for a stage" in printed
    assert "add --stage (dev, prod)" in printed


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f"/dev{PATH}", "Leave the stage out"),
        (f"{PATH}/", "Without the slash at the end it takes GET, POST"),
        ("/Protected-Resource", "compared exactly"),
    ],
)
def test_a_path_that_is_nearly_one_is_told_what_is_wrong_with_it(path: str, named: str) -> None:
    assert named in refused(token("user"), "GET", path)


def test_another_method_is_told_which_ones_the_path_takes() -> None:
    assert "This path takes GET, POST" in refused(token("admin"), "DELETE")


def test_a_query_is_no_part_of_the_path() -> None:
    assert why(token("user"), "get", f"{PATH}?page=2").exit_code == 0


# Where the token comes from, and where it never goes.


@pytest.mark.parametrize("form", ["{}", "{}\n", "Bearer {}\r\n", "  {}  \n"])
def test_a_token_may_come_on_standard_input(form: str) -> None:
    assert why("-", given=form.format(token("user"))).exit_code == 0


@pytest.mark.parametrize("given", ["", "\n"])
def test_nothing_on_standard_input_is_a_sentence(given: str) -> None:
    result = why("-", given=given)
    assert (result.exit_code, result.output) == (2, "Error: There is no token on standard input.\n")


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
def test_neither_token_nor_secret_nor_other_claims_values_are_printed(credential: Callable[[], str]) -> None:
    printed = why(credential(), "POST").output
    for part in credential().rpartition(" ")[2].split("."):
        assert len(part) < 10 or part not in printed
    assert SECRET not in printed
    private = why(token("user", email="alice@example.com", **{"https://x/y": "private"})).output
    assert "'email'" in private
    assert "alice@example.com" not in private
    assert "private" not in private


@pytest.mark.parametrize(
    "words",
    ["GET {} /x", "GET /x {}", "GET /x Bearer {}", "Bearer {} GET", "Bearer {} GET /x", "{} GET x", "{} /x GET"],
)
def test_a_token_in_the_wrong_place_is_not_repeated(words: str) -> None:
    good = token("user")
    result = CliRunner().invoke(manage.cli, ["why", *words.format(good).split()])
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert good not in result.output


def test_what_a_token_says_cannot_command_the_terminal() -> None:
    nasty = "\x1b[2J[red]x[/red]\u202e"
    printed = why(token(nasty, "user", sub="alice", jti=nasty, **{nasty: 1})).output
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "[red]x[/red]" in printed  # as it stands, not as markup


def test_a_wrong_setting_or_no_secret_cannot_be_told(environment: Change) -> None:
    environment(JWT_LEEWAY_SECONDS="x")
    with pytest.raises(Exception, match="JWT_LEEWAY_SECONDS"):
        judge(None)
    result = why("x", "GET", PATH, "--stage", "no-such-stage")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
