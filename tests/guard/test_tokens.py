"""Which tokens stand, and the reason for which each of the others is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any

import jwt
import pytest

from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.reason import Reason
from chalicelib.guard.tokens import Caller, InvalidToken, Key, Requirements, verify
from tests.conftest import SECRET, claims, forge, sign

HEADER = b'{"alg":"HS256","typ":"JWT"}'
OTHER_SECRET = "another-secret-of-sufficient-length-for-hs256"


def check(
    authorization: str,
    *,
    at: float | None = None,
    secrets: dict[str | None, str] | None = None,
    **wanted: Any,
) -> Caller:
    requirements = Requirements(**wanted)
    keys = [
        key
        for name, secret in (secrets or {None: SECRET}).items()
        for key in hmac_keys(secret, name, requirements.algorithms, "the test's secret")
    ]
    return verify(authorization, keys, requirements, time.time() if at is None else at)


def refusal(authorization: str, **how: Any) -> Reason:
    with pytest.raises(InvalidToken) as refused:
        check(authorization, **how)
    return refused.value.reason


def payload(**changes: Any) -> bytes:
    return json.dumps(claims(**changes)).encode()


# Tokens that stand.


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer ", "BEARER "])
def test_a_good_token_makes_a_caller_bare_or_with_the_bearer_scheme_in_any_case(prefix: str) -> None:
    good = claims(sub="alice", roles=["user", "auditor"])
    caller = check(prefix + sign(good))
    assert caller == Caller("alice", frozenset({"user", "auditor"}), good["exp"])


def test_subject_and_expiry_are_all_that_a_token_needs() -> None:
    assert check(sign({"sub": "alice", "exp": 4102444800})).roles == frozenset()


def test_the_bounds_themselves_are_within_them() -> None:
    last = 253402300799
    assert check(sign(claims(nbf=0, iat=0, exp=last))).expires_at == last
    assert len(check(sign(claims(sub="x" * 255))).subject) == 255


def test_a_token_without_roles_makes_a_caller_without_roles() -> None:
    assert check(sign(claims(roles=...))).roles == frozenset()


def test_roles_come_from_the_claim_that_the_setting_names() -> None:
    assert check(sign(claims(groups=["admin"])), roles_claim="groups").roles == {"admin"}


@pytest.mark.parametrize(
    ("claim", "payload_claims"),
    [
        ("cognito:groups", {"cognito:groups": ["admin"]}),
        ("https://example.com/roles", {"https://example.com/roles": ["admin"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["admin"]}}),
        ("resource_access.my-client.roles", {"resource_access": {"my-client": {"roles": ["admin"]}}}),
        ("a.b", {"a.b": ["admin"], "a": {"b": ["user"]}}),
    ],
)
def test_roles_are_found_under_an_exact_name_or_else_along_a_path(claim: str, payload_claims: dict[str, Any]) -> None:
    assert check(sign(claims(**payload_claims)), roles_claim=claim).roles == {"admin"}


@pytest.mark.parametrize(
    "payload_claims",
    [
        {},
        {"realm_access": {}},
        {"realm_access": {"Roles": ["admin"]}},
        {"realm_access": {"roles": []}},
        {"realm_access.": {"roles": ["admin"]}},
    ],
)
def test_where_the_path_ends_early_there_are_no_roles(payload_claims: dict[str, Any]) -> None:
    assert check(sign(claims(**payload_claims)), roles_claim="realm_access.roles").roles == frozenset()


@pytest.mark.parametrize("value", [None, [], ["roles"], "roles", 1, {"roles": "admin"}, {"roles": {"admin": True}}])
def test_what_stands_along_the_path_must_be_objects_and_then_a_list_of_strings(value: Any) -> None:
    forged = forge(HEADER, payload(realm_access=value))
    assert refusal(forged, roles_claim="realm_access.roles") == Reason.WRONG_CLAIM_TYPE


def test_roles_in_a_text_are_taken_only_where_the_setting_says_so() -> None:
    scoped = sign(claims(scope="user  orders:read "))
    assert check(scoped, roles_claim="scope", roles_in_text=True).roles == {"user", "orders:read"}
    assert refusal(scoped, roles_claim="scope") == Reason.WRONG_CLAIM_TYPE
    assert check(sign(claims()), roles_claim="scope", roles_in_text=True).roles == frozenset()


def test_nothing_but_a_space_ends_a_role_in_a_text() -> None:
    scoped = sign(claims(scope="user\tadmin,auditor\nwriter"))
    assert check(scoped, roles_claim="scope", roles_in_text=True).roles == {"user\tadmin,auditor\nwriter"}


def test_a_signature_may_end_in_any_letter() -> None:
    made = [sign(claims(jti=str(number)), alg="HS384") for number in range(400)]
    assert len({good[-1] for good in made}) > 60
    for good in made:
        assert check(good, algorithms=("HS384",))


@pytest.mark.parametrize("scope", [None, 1, ["admin"], {"admin": True}])
def test_where_a_text_is_expected_nothing_else_is_taken(scope: Any) -> None:
    forged = forge(HEADER, payload(scope=scope))
    assert refusal(forged, roles_claim="scope", roles_in_text=True) == Reason.WRONG_CLAIM_TYPE


def test_a_date_may_have_a_fraction_and_is_rounded_down() -> None:
    assert check(sign(claims(exp=4102444800.9))).expires_at == 4102444800


def test_within_the_leeway_a_token_still_stands_and_the_caller_expires_after_it() -> None:
    now = int(time.time())
    exp = now - 5
    assert check(sign(claims(exp=exp)), leeway=10).expires_at == exp + 10
    assert check(sign(claims(nbf=now + 5, iat=now + 5)), leeway=10)


def test_a_token_for_us_among_others_stands() -> None:
    assert check(sign(claims(aud=["them", "us"])), audience="us")
    assert check(sign(claims(aud="us", iss="https://issuer.example")), audience="us", issuer="https://issuer.example")


def test_an_issuer_is_of_no_matter_where_none_is_set() -> None:
    assert check(sign(claims(iss="anyone")))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_longer_hash_is_taken_where_the_setting_lists_it(algorithm: str) -> None:
    assert check(sign(claims(), alg=algorithm), algorithms=("HS256", algorithm))


def test_the_kid_picks_the_key_and_the_caller_remembers_it() -> None:
    keys = {"new": OTHER_SECRET, "old": SECRET}
    assert check(sign(claims(), kid="old"), secrets=keys).key_id == "old"


def test_without_a_kid_the_previous_key_verifies_too() -> None:
    assert check(sign(claims()), secrets={"new": OTHER_SECRET, "old": SECRET}).key_id == "old"


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_header_that_names_a_key_is_not_followed(name: str) -> None:
    value: Any = {"jwk": {"kty": "oct", "k": "AAAA"}, "x5c": ["AAAA"]}.get(name, "http://127.0.0.1:9/keys")
    assert check(sign(claims(), **{name: value})).subject == "alice"
    assert refusal(sign(claims(), OTHER_SECRET, **{name: value})) == Reason.BAD_SIGNATURE


# The credential's shape.


@pytest.mark.parametrize("scheme", ["Basic", "Token", "JWT", "Bearer,", "Bear\u0435r", "Bearer\t"])
def test_another_scheme_is_refused(scheme: str) -> None:
    assert refusal(f"{scheme} {sign(claims())}") == Reason.BAD_SCHEME


@pytest.mark.parametrize("text", ["", " ", "Bearer", "Bearer ", "not-a-token", ".", "..", "...", "\x00"])
def test_what_is_no_token_at_all_is_refused(text: str) -> None:
    assert refusal(text) in {Reason.MALFORMED, Reason.BAD_SCHEME}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: f"Bearer  {good}",
        lambda good: f" {good}",
        lambda good: f"{good} ",
        lambda good: f"Bearer {good} ",
        lambda good: f"Bearer {good}\n",
        lambda good: f"Bearer {good}, Bearer {good}",
        lambda good: f"{good},{good}",
        lambda good: good + "=",
        lambda good: good + ".",
        lambda good: good.rpartition(".")[0],
        lambda good: "." + good,
        lambda good: good.replace(".", ".."),
        lambda good: good.replace(".", "\u00b7"),
        lambda good: good + "\u00e9",
        lambda good: "\ud800" + good,
        lambda good: good + "\x00",
        lambda good: good.replace(".", "+."),
        lambda good: "A" + good,
        lambda good: good.replace(".", ".A", 1),
        lambda good: good[:-2],
    ],
)
def test_what_is_no_compact_jws_and_nothing_but_that_is_refused(spoil: Any) -> None:
    assert refusal(spoil(sign(claims()))) in {Reason.MALFORMED, Reason.BAD_SCHEME}


def test_a_token_is_not_taken_in_a_second_spelling_of_its_signature() -> None:
    good = sign(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]
    pad = "=" * (-len(good.rpartition(".")[2]) % 4)
    assert base64.urlsafe_b64decode(twin.rpartition(".")[2] + pad) == base64.urlsafe_b64decode(
        good.rpartition(".")[2] + pad
    )
    assert refusal(twin) == Reason.MALFORMED


def test_a_token_of_more_than_8_kb_is_refused_and_one_below_is_read() -> None:
    big = sign(claims(filler="x" * 5000))
    assert len(big) < 8192
    assert check(big)
    assert refusal(sign(claims(filler="x" * 6200))) == Reason.TOO_LARGE
    assert refusal("Bearer " + sign(claims(filler="x" * 6200))) == Reason.TOO_LARGE
    assert refusal("Basic " + "x" * 8190) == Reason.BAD_SCHEME
    assert refusal("x" * 60_000) == Reason.TOO_LARGE
    for prefix in ("", "Bearer "):
        assert refusal(prefix + "x" * 8192) == Reason.MALFORMED
        assert refusal(prefix + "x" * 8193) == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b'"HS256"',
        b"",
        b"{",
        b'{"alg":"HS256"}}',
        b'\xef\xbb\xbf{"alg":"HS256"}',
        '{"alg":"HS256"}'.encode("utf-16"),
        b'{"alg":"HS256","x":NaN}',
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","kid":1}',
        b'{"alg":"HS256","kid":["a"]}',
        b'{"alg":"HS256","b64":false}',
        b'{"alg":"HS256","x":"\xff"}',
    ],
)
def test_a_header_that_is_no_plain_json_object_is_refused(header: bytes) -> None:
    assert refusal(forge(header, payload())) == Reason.MALFORMED


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"{}x", b'{"sub":"a"', b"{'sub':'a'}", b" "])
def test_a_payload_that_is_no_json_object_is_refused_though_it_is_signed(body: bytes) -> None:
    assert refusal(forge(HEADER, body)) == Reason.MALFORMED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: b"\xef\xbb\xbf" + good,
        lambda good: good.decode().encode("utf-16"),
        lambda good: good.decode().encode("utf-32"),
        lambda good: good.replace(b"}", b',"x":NaN}'),
        lambda good: good.replace(b"}", b',"x":-Infinity}'),
        lambda good: good.replace(b"}", b',"roles":["admin"]}'),
        lambda good: good.replace(b"}", b',"x":{"a":1,"a":2}}'),
        lambda good: good.replace(b"}", b',"x":' + b"9" * 5000 + b"}"),
        lambda good: good.replace(b"alice", b"al\xffice"),
    ],
)
def test_a_payload_in_json_of_a_looser_kind_is_refused_though_it_is_signed(spoil: Any) -> None:
    assert refusal(forge(HEADER, spoil(payload()))) == Reason.MALFORMED


def test_deep_nesting_is_refused_or_harmless() -> None:
    # How deep json reads is up to the version of Python; anything but an answer would be a defect.
    deep = b'"x":' + b"[" * 2500 + b"]" * 2500 + b"}"
    header, body = HEADER.replace(b"}", b"," + deep), payload().replace(b"}", b"," + deep)
    for forged in (forge(header, payload()), forge(HEADER, body)):
        with contextlib.suppress(InvalidToken):
            check(forged)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["http://example.com/ext"], [], "exp", None])
def test_a_token_that_insists_on_an_extension_is_refused(crit: Any) -> None:
    header = json.dumps({"alg": "HS256", "crit": crit, "b64": True, "exp": 1}).encode()
    assert refusal(forge(header, payload())) == Reason.CRITICAL_HEADER


@pytest.mark.parametrize("content_type", ["JWT", "jwt"])
def test_a_token_in_a_token_is_refused_though_it_is_signed(content_type: str) -> None:
    assert refusal(sign(claims(), cty=content_type)) == Reason.MALFORMED
    assert check(sign(claims(), cty="JSON"))


# Algorithm, key and signature.


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "nOnE", "HS384", "HS512", "RS256", "ES256", "hs256", "", None, 1, ["HS256"], {}],
)
def test_an_algorithm_off_the_list_is_refused_before_its_signature_is_looked_at(algorithm: Any) -> None:
    assert refusal(forge(json.dumps({"alg": algorithm}).encode(), payload())) == Reason.WRONG_ALGORITHM


def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode(claims(), None, algorithm="none")
    assert refusal(unsigned) == Reason.WRONG_ALGORITHM
    assert refusal(sign(claims()).rpartition(".")[0] + ".") == Reason.BAD_SIGNATURE


def test_a_header_without_an_algorithm_is_refused() -> None:
    assert refusal(forge(b'{"typ":"JWT"}', payload())) == Reason.WRONG_ALGORITHM


def test_a_signature_by_another_secret_is_refused() -> None:
    assert refusal(sign(claims(), OTHER_SECRET)) == Reason.BAD_SIGNATURE


def test_a_changed_payload_is_refused() -> None:
    head, _, signature = sign(claims()).split(".")
    admin = sign(claims(roles=["admin"]), OTHER_SECRET).split(".")[1]
    assert refusal(f"{head}.{admin}.{signature}") == Reason.BAD_SIGNATURE


def test_a_changed_header_is_refused() -> None:
    _, body, signature = sign(claims()).split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","x":1}').rstrip(b"=").decode()
    assert refusal(f"{head}.{body}.{signature}") == Reason.BAD_SIGNATURE


def test_a_truncated_signature_is_refused() -> None:
    assert refusal(sign(claims())[:-4]) in {Reason.BAD_SIGNATURE, Reason.MALFORMED}


def test_a_kid_that_names_no_key_is_refused_though_a_key_would_fit() -> None:
    with pytest.raises(InvalidToken) as refused:
        check(sign(claims(), kid="gone"), secrets={"new": SECRET})
    assert (refused.value.reason, refused.value.unverified_kid) == (Reason.UNKNOWN_KEY, "gone")


def test_a_kid_that_names_another_key_is_refused() -> None:
    assert refusal(sign(claims(), kid="new"), secrets={"new": OTHER_SECRET, "old": SECRET}) == Reason.BAD_SIGNATURE


def test_without_a_kid_no_more_than_two_keys_are_tried() -> None:
    keys = {"third": OTHER_SECRET, "second": OTHER_SECRET + "2", "first": SECRET}
    assert refusal(sign(claims()), secrets=keys) == Reason.BAD_SIGNATURE


def test_without_any_key_every_token_is_refused() -> None:
    with pytest.raises(InvalidToken, match=Reason.UNKNOWN_KEY):
        verify(sign(claims()), [], Requirements(), time.time())


# Claims.


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ("exp", {}),
        ("sub", {}),
        ("iss", {"issuer": "https://issuer.example"}),
        ("aud", {"audience": "us"}),
        ("iat", {"max_lifetime": 3600}),
    ],
)
def test_a_required_claim_must_be_there(missing: str, wanted: dict[str, Any]) -> None:
    assert refusal(sign(claims(**{missing: ...})), **wanted) == Reason.MISSING_CLAIM


NO_DATES = ["1", "", None, True, False, [], {}, -1, -0.5, 10**12, 10**400, 1e300, 253402300800]


@pytest.mark.parametrize("date", NO_DATES)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_date_must_be_a_json_number_in_a_sane_range(name: str, date: Any) -> None:
    assert refusal(forge(HEADER, payload(**{name: date}))) == Reason.WRONG_CLAIM_TYPE


@pytest.mark.parametrize("number", [b"1e999", b"-1e999"])
def test_a_date_must_be_finite(number: bytes) -> None:
    body = payload(exp=4102444800).replace(b"4102444800", number)
    assert refusal(forge(HEADER, body)) == Reason.WRONG_CLAIM_TYPE


@pytest.mark.parametrize(
    "subject",
    [None, "", 7, True, ["alice"], {}, "a\nb", "a\x00", "a\u2028b", "a\u202eb", "\ud800", "x" * 256, "\u00e9" * 128],
)
def test_the_subject_must_be_text_that_prints_of_255_bytes_at_most(subject: Any) -> None:
    assert refusal(forge(HEADER, payload(sub=subject))) == Reason.WRONG_CLAIM_TYPE


def test_a_subject_may_hold_any_letters_and_spaces() -> None:
    assert check(forge(HEADER, payload(sub="Zo\u00eb \u738b 1"))).subject == "Zo\u00eb \u738b 1"


@pytest.mark.parametrize(
    "roles",
    [None, "admin", "", {"admin": True}, 1, True, [["admin"]], ["admin", 1], ["admin", None], [{"a": 1}]],
)
def test_roles_must_be_a_list_of_strings(roles: Any) -> None:
    assert refusal(forge(HEADER, payload(roles=roles))) == Reason.WRONG_CLAIM_TYPE


@pytest.mark.parametrize("name", ["iss", "jti"])
@pytest.mark.parametrize("value", [1, None, ["https://issuer.example"], {}])
def test_issuer_and_token_id_must_be_text_where_they_are_given(name: str, value: Any) -> None:
    assert refusal(forge(HEADER, payload(**{name: value}))) == Reason.WRONG_CLAIM_TYPE


@pytest.mark.parametrize("audience", [None, 1, {"us": 1}, [1], ["us", None]])
def test_the_audience_must_be_text_or_a_list_of_texts(audience: Any) -> None:
    assert refusal(forge(HEADER, payload(aud=audience)), audience="us") == Reason.WRONG_CLAIM_TYPE


def test_a_token_is_refused_from_the_second_of_its_expiry_on() -> None:
    good = sign(claims(exp=2_000_000_000, iat=1))
    assert check(good, at=1_999_999_999.9)
    assert refusal(good, at=2_000_000_000) == Reason.EXPIRED
    assert refusal(good, at=2_000_000_000, leeway=0) == Reason.EXPIRED
    assert check(good, at=2_000_000_029.9, leeway=30)
    assert refusal(good, at=2_000_000_030, leeway=30) == Reason.EXPIRED


def test_a_token_is_refused_before_its_time() -> None:
    good = sign(claims(nbf=2_000_000_000, exp=2_000_000_100, iat=1))
    assert refusal(good, at=1_999_999_999) == Reason.NOT_YET_VALID
    assert refusal(good, at=1_999_999_969, leeway=30) == Reason.NOT_YET_VALID
    assert check(good, at=2_000_000_000)
    assert check(good, at=1_999_999_970, leeway=30)


def test_a_token_issued_in_the_future_is_refused() -> None:
    good = sign(claims(iat=2_000_000_000, exp=2_000_000_100))
    assert refusal(good, at=1_999_999_999) == Reason.ISSUED_IN_FUTURE
    assert refusal(good, at=1_999_999_969, leeway=30) == Reason.ISSUED_IN_FUTURE
    assert check(good, at=2_000_000_000)
    assert check(good, at=1_999_999_970, leeway=30)


def test_a_token_that_lives_longer_than_the_setting_allows_is_refused() -> None:
    now = int(time.time())
    assert check(sign(claims(iat=now, exp=now + 600)), max_lifetime=600)
    assert refusal(sign(claims(iat=now, exp=now + 601)), max_lifetime=600) == Reason.LIFETIME_TOO_LONG


@pytest.mark.parametrize(
    "issuer", ["https://issuer.example/", "HTTPS://issuer.example", "", "https://issuer.example.evil"]
)
def test_another_issuer_is_refused(issuer: str) -> None:
    assert refusal(sign(claims(iss=issuer)), issuer="https://issuer.example") == Reason.WRONG_ISSUER


@pytest.mark.parametrize("audience", ["them", "US", "", "us2", [], ["them"], ["us "]])
def test_a_token_made_out_to_somebody_else_is_refused(audience: Any) -> None:
    assert refusal(sign(claims(aud=audience)), audience="us") == Reason.WRONG_AUDIENCE


@pytest.mark.parametrize("audience", ["us", ["us"], ""])
def test_a_token_made_out_to_anybody_is_refused_where_no_audience_is_set(audience: Any) -> None:
    assert refusal(sign(claims(aud=audience))) == Reason.WRONG_AUDIENCE


def test_a_forged_token_is_never_told_what_else_is_wrong_with_it() -> None:
    assert refusal(sign({"sub": 1}, OTHER_SECRET)) == Reason.BAD_SIGNATURE


def test_neither_the_key_nor_its_repr_shows_the_secret() -> None:
    (key,) = hmac_keys(SECRET, "v1", ["HS256"], "the test's secret")
    assert SECRET not in repr(key)
    assert base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=") not in repr(key)


@pytest.mark.parametrize(("algorithm", "octets"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
def test_no_key_can_be_made_that_is_too_short_for_its_algorithm(algorithm: str, octets: int) -> None:
    jwk = {"kty": "oct", "alg": algorithm}
    with pytest.raises(jwt.InvalidKeyError, match="bytes"):
        Key(None, jwt.PyJWK({**jwk, "k": base64.urlsafe_b64encode(b"x" * octets).decode()}))
    assert Key(None, jwt.PyJWK({**jwk, "k": base64.urlsafe_b64encode(b"x" * (octets + 1)).decode()}))
