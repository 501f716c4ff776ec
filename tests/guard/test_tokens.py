"""Which tokens are valid, and the reason for which each of the others is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from chalicelib.guard.decision import MAX_CLAIMS_BYTES, Caller, Reason
from chalicelib.guard.keys.source import hmac_keys
from chalicelib.guard.settings import Settings, from_environment
from chalicelib.guard.tokens import InvalidToken, Key, verify
from tests.support.tokens import SECRET, claims, forge, sign

HEADER = b'{"alg":"HS256","typ":"JWT"}'
OTHER_SECRET = "another-secret-of-sufficient-length-for-hs256"


def check(
    authorization: str,
    *,
    at: float | None = None,
    secrets: dict[str | None, str] | None = None,
    **wanted: Any,
) -> Caller:
    requirements = Settings(**wanted)
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


def refused_claim(authorization: str, **how: Any) -> tuple[Reason, str | None]:
    """Return the reason, and the claim or header parameter that it is about."""
    with pytest.raises(InvalidToken) as refused:
        check(authorization, **how)
    return refused.value.reason, refused.value.claim


def payload(**changes: Any) -> bytes:
    return json.dumps(claims(**changes)).encode()


# Valid tokens.


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer ", "BEARER "])
def test_a_good_token_makes_a_caller_bare_or_with_bearer(prefix: str) -> None:
    good = claims(sub="alice", roles=["user", "auditor"])
    caller = check(prefix + sign(good))
    assert caller == Caller("alice", frozenset({"user", "auditor"}), good["exp"], issued_at=good["iat"])


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
def test_roles_are_found_by_exact_name_or_else_along_a_path(claim: str, payload_claims: dict[str, Any]) -> None:
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
def test_a_path_to_roles_holds_objects_and_ends_in_a_list_of_text(value: Any) -> None:
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


def test_the_leeway_is_added_to_what_the_dates_allow() -> None:
    now = int(time.time())
    exp = now - 5
    assert check(sign(claims(exp=exp)), leeway=10).expires_at == exp + 10
    assert check(sign(claims(nbf=now + 5, iat=now + 5)), leeway=10)


def test_a_token_for_us_among_others_is_valid() -> None:
    assert check(sign(claims(aud=["them", "us"])), audiences=("us",))
    assert check(
        sign(claims(aud="us", iss="https://issuer.example")), audiences=("us",), issuer="https://issuer.example"
    )


def test_without_an_issuer_set_any_will_do() -> None:
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
    "change",
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
def test_what_is_more_or_less_than_a_compact_jws_is_refused(change: Any) -> None:
    assert refusal(change(sign(claims()))) in {Reason.MALFORMED, Reason.BAD_SCHEME}


def test_a_signature_has_one_spelling() -> None:
    good = sign(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]
    pad = "=" * (-len(good.rpartition(".")[2]) % 4)
    assert base64.urlsafe_b64decode(twin.rpartition(".")[2] + pad) == base64.urlsafe_b64decode(
        good.rpartition(".")[2] + pad
    )
    assert refusal(twin) == Reason.MALFORMED


def test_a_token_of_more_than_8_kb_is_refused_unread() -> None:
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
        b'{"alg":"HS256","kid":null}',
        b'{"alg":"HS256","kid":["a"]}',
        b'{"alg":"HS256","b64":false}',
        b'{"alg":"HS256","x":"\xff"}',
    ],
)
def test_a_header_that_is_no_plain_json_object_is_refused(header: bytes) -> None:
    assert refusal(forge(header, payload())) == Reason.MALFORMED


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"{}x", b'{"sub":"a"', b"{'sub':'a'}", b" "])
def test_a_signed_payload_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(forge(HEADER, body)) == Reason.MALFORMED


@pytest.mark.parametrize(
    "change",
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
def test_a_signed_payload_in_loose_json_is_refused(change: Any) -> None:
    assert refusal(forge(HEADER, change(payload()))) == Reason.MALFORMED


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
def test_a_token_in_a_signed_token_is_refused(content_type: str) -> None:
    assert refusal(sign(claims(), cty=content_type)) == Reason.MALFORMED
    assert check(sign(claims(), cty="JSON"))


# Algorithm, key and signature.


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "nOnE", "HS384", "HS512", "RS256", "ES256", "hs256", "", None, 1, ["HS256"], {}],
)
def test_an_algorithm_off_the_list_is_refused_unverified(algorithm: Any) -> None:
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


def test_a_public_key_is_not_tried_for_the_kid_of_another() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    published = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    keys, wanted = [Key("new", jwt.PyJWK(published, "ES256"))], Settings(("ES256",))

    def signed(kid: str) -> str:
        return jwt.encode(claims(), private, "ES256", {"kid": kid})

    assert verify(signed("new"), keys, wanted, time.time())
    with pytest.raises(InvalidToken) as refused:
        verify(signed("gone"), keys, wanted, time.time())
    assert (refused.value.reason, refused.value.unverified_kid) == (Reason.UNKNOWN_KEY, "gone")


@pytest.mark.parametrize("kid", ["", "gone", "NEW", "new "])
def test_with_secrets_a_kid_that_names_no_key_says_nothing(kid: str) -> None:
    for secret in (SECRET, OTHER_SECRET):
        assert check(sign(claims(), secret, kid=kid), secrets={"new": OTHER_SECRET, "old": SECRET})
    three = {"third": OTHER_SECRET, "second": OTHER_SECRET + "2", "first": SECRET}
    assert refusal(sign(claims(), kid=kid), secrets=three) == Reason.BAD_SIGNATURE


def test_a_kid_that_names_another_key_is_refused() -> None:
    assert refusal(sign(claims(), kid="new"), secrets={"new": OTHER_SECRET, "old": SECRET}) == Reason.BAD_SIGNATURE


def test_without_a_kid_no_more_than_two_keys_are_tried() -> None:
    keys = {"third": OTHER_SECRET, "second": OTHER_SECRET + "2", "first": SECRET}
    assert refusal(sign(claims()), secrets=keys) == Reason.BAD_SIGNATURE


def test_without_any_key_every_token_is_refused() -> None:
    with pytest.raises(InvalidToken, match=Reason.UNKNOWN_KEY):
        verify(sign(claims()), [], Settings(), time.time())


# Claims.


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ("exp", {}),
        ("sub", {}),
        ("iss", {"issuer": "https://issuer.example"}),
        ("aud", {"audiences": ("us",)}),
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


@pytest.mark.parametrize("subject", [None, "", 7, True, ["alice"], {}, "x" * 256, "\u00e9" * 128])
def test_a_subject_is_text_of_1_to_255_bytes(subject: Any) -> None:
    assert refused_claim(forge(HEADER, payload(sub=subject))) == (Reason.WRONG_CLAIM_TYPE, "sub")


#: A character of each category that is refused: two control, three format, a surrogate, line and paragraph separator.
NOT_SHOWN = ["\x00", "\n", "\u202e", "\u200b", "\U000e0041", "\ud800", "\u2028", "\u2029"]


@pytest.mark.parametrize("character", NOT_SHOWN, ids=ascii)
def test_a_subject_holds_no_control_format_or_separator_character(character: str) -> None:
    for subject in (character, f"a{character}b"):
        assert refused_claim(forge(HEADER, payload(sub=subject))) == (Reason.WRONG_CLAIM_TYPE, "sub")


#: Letters, marks, a space, a no-break space, an ideographic space, private use, and what no Python knows yet.
SHOWN = ["Zo\u00eb", "e\u0301", "\u738b 1", "a\xa0b", "\u3000", "\ue000", "\U0001fb00", "\U000fffff", "\u0378", "%*?/"]


@pytest.mark.parametrize("subject", SHOWN, ids=ascii)
def test_a_subject_may_hold_any_other_character(subject: str) -> None:
    assert check(forge(HEADER, payload(sub=subject))).subject == subject


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
    assert refusal(forge(HEADER, payload(aud=audience)), audiences=("us",)) == Reason.WRONG_CLAIM_TYPE


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


def test_a_token_that_lives_longer_than_the_setting_is_refused() -> None:
    now = int(time.time())
    assert check(sign(claims(iat=now, exp=now + 600)), max_lifetime=600)
    assert refusal(sign(claims(iat=now, exp=now + 601)), max_lifetime=600) == Reason.LIFETIME_TOO_LONG


@pytest.mark.parametrize(
    "issuer", ["https://issuer.example/", "HTTPS://issuer.example", "", "https://issuer.example.evil"]
)
def test_another_issuer_is_refused(issuer: str) -> None:
    assert refusal(sign(claims(iss=issuer)), issuer="https://issuer.example") == Reason.WRONG_ISSUER


@pytest.mark.parametrize("audience", ["them", "US", "", "us2", [], ["them"], ["us "]])
def test_a_token_that_was_made_for_others_is_refused(audience: Any) -> None:
    assert refusal(sign(claims(aud=audience)), audiences=("us",)) == Reason.WRONG_AUDIENCE


@pytest.mark.parametrize("audience", ["us", ["us"], ""])
def test_without_an_audience_set_any_token_with_one_is_refused(audience: Any) -> None:
    assert refusal(sign(claims(aud=audience))) == Reason.WRONG_AUDIENCE


# Several audiences, and Amazon Cognito's `client_id`.


@pytest.mark.parametrize("audience", ["us", "we", ["we"], ["them", "we"], ["us", "we"]])
def test_a_token_for_one_of_our_audiences_is_valid(audience: Any) -> None:
    assert check(sign(claims(aud=audience)), audiences=("us", "we"))


@pytest.mark.parametrize("audience", ["them", "us we", "us,we", ["us we"], "", []])
def test_a_token_for_none_of_our_audiences_is_refused(audience: Any) -> None:
    assert refused_claim(sign(claims(aud=audience)), audiences=("us", "we")) == (Reason.WRONG_AUDIENCE, "aud")


COGNITO = {"audiences": ("our-client",), "audience_claim": "client_id", "claims": {"token_use": "access"}}


def cognito(**changes: Any) -> str:
    return sign(claims(**{"client_id": "our-client", "token_use": "access", **changes}))


def test_another_claim_may_name_the_audience() -> None:
    assert check(cognito(), **COGNITO)


@pytest.mark.parametrize(
    ("changes", "reason", "claim"),
    [
        ({"client_id": ...}, Reason.MISSING_CLAIM, "client_id"),
        ({"client_id": ..., "aud": "our-client"}, Reason.MISSING_CLAIM, "client_id"),
        ({"client_id": "other-client"}, Reason.WRONG_AUDIENCE, "client_id"),
        ({"client_id": ["our-client"]}, Reason.WRONG_CLAIM_TYPE, "client_id"),
        ({"client_id": None}, Reason.WRONG_CLAIM_TYPE, "client_id"),
        ({"token_use": "id"}, Reason.WRONG_CLAIM_VALUE, "token_use"),
        ({"token_use": ...}, Reason.MISSING_CLAIM, "token_use"),
        # RFC 7519 section 4.1.3: who is not named in `aud`, where there is one, must reject.
        ({"aud": "other"}, Reason.WRONG_AUDIENCE, "aud"),
        ({"aud": []}, Reason.WRONG_AUDIENCE, "aud"),
        ({"aud": "our-client", "client_id": "other-client"}, Reason.WRONG_AUDIENCE, "client_id"),
    ],
)
def test_a_claim_instead_of_aud_is_one_text_and_aud_still_counts(
    changes: dict[str, Any], reason: Reason, claim: str
) -> None:
    assert refused_claim(cognito(**changes), **COGNITO) == (reason, claim)


def test_with_aud_beside_the_other_claim_both_name_us() -> None:
    both = {**COGNITO, "audiences": ("our-client", "https://api.example")}
    assert check(cognito(aud="https://api.example"), **both)
    assert check(cognito(aud=["other", "our-client"]), **both)


# The right kind of token.


@pytest.mark.parametrize("wanted", ["at+jwt", "AT+JWT", "application/at+jwt"])
@pytest.mark.parametrize("given", ["at+jwt", "at+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_a_type_is_compared_as_media_types_are(wanted: str, given: str) -> None:
    assert check(sign(claims(), typ=given), token_type=from_environment({"JWT_TOKEN_TYPE": wanted}).token_type)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"typ": "JWT"},
        {"typ": ""},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"typ": "at+jwt "},
        {"typ": "rt+jwt"},
        {"typ": "text/at+jwt"},
        {"typ": "application/application/at+jwt"},
    ],
)
def test_a_token_of_another_type_than_the_setting_is_refused(header: dict[str, Any]) -> None:
    forged = forge(json.dumps({"alg": "HS256", **header}).encode(), payload())
    assert refused_claim(forged, token_type="at+jwt") == (Reason.WRONG_TOKEN_TYPE, "typ")


@pytest.mark.parametrize("given", ["JWT", "at+jwt", "", None, 7])
def test_without_the_setting_any_type_will_do(given: Any) -> None:
    assert check(forge(json.dumps({"alg": "HS256", "typ": given}).encode(), payload()))


@pytest.mark.parametrize("wanted", [None, "dpop+jwt"])
@pytest.mark.parametrize("given", ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"])
def test_a_proof_of_possession_is_no_bearer_token(given: str, wanted: str | None) -> None:
    assert refused_claim(sign(claims(), typ=given), token_type=wanted) == (Reason.WRONG_TOKEN_TYPE, "typ")


@pytest.mark.parametrize("bound_to", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None, ""])
def test_a_token_that_is_bound_to_a_key_is_refused(bound_to: Any) -> None:
    assert refused_claim(forge(HEADER, payload(cnf=bound_to))) == (Reason.WRONG_TOKEN_TYPE, "cnf")


REQUIRED = {"token_use": "access", "tenant": "acme"}


def test_claims_that_are_required_must_be_that_very_text() -> None:
    assert check(sign(claims(**REQUIRED)), claims=REQUIRED)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["", "ACME", "acme ", "access ", ["access"], ["acme"], True, 1, None, {}])
def test_a_required_claim_with_any_other_value_is_refused(name: str, value: Any) -> None:
    forged = forge(HEADER, payload(**{**REQUIRED, name: value}))
    assert refused_claim(forged, claims=REQUIRED) == (Reason.WRONG_CLAIM_VALUE, name)


@pytest.mark.parametrize("name", REQUIRED)
def test_every_one_of_the_required_claims_must_be_there(name: str) -> None:
    assert refused_claim(sign(claims(**{**REQUIRED, name: ...})), claims=REQUIRED) == (Reason.MISSING_CLAIM, name)


@pytest.mark.parametrize("value", [1, True])
def test_a_number_or_a_boolean_is_not_the_text_of_itself(value: Any) -> None:
    wanted = {"level": json.dumps(value)}
    assert refusal(sign(claims(level=value)), claims=wanted) == Reason.WRONG_CLAIM_VALUE


# Claims for the views.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("acme", "acme"),
        ("", ""),
        ("\u00e9\n\u2028", "\u00e9\n\u2028"),
        (7, "7"),
        (-0.5, "-0.5"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        (False, "false"),
    ],
)
def test_a_claim_for_the_views_becomes_text(value: Any, text: str) -> None:
    caller = check(sign(claims(tenant=value, other="x")), caller_claims=("tenant", "email"))
    assert caller.claims == {"tenant": text}


def test_no_claim_reaches_the_views_unless_the_setting_names_it() -> None:
    assert check(sign(claims(tenant="acme"))).claims == {}


def test_an_absent_claim_is_absent_and_no_error() -> None:
    assert check(sign(claims()), caller_claims=("tenant",)).claims == {}


@pytest.mark.parametrize("value", [b"null", b"[]", b'["acme"]', b'{"a":1}', b"1e999", b"-1e999"])
def test_a_claim_for_the_views_that_is_no_scalar_is_refused(value: bytes) -> None:
    body = payload(tenant="VALUE").replace(b'"VALUE"', value)
    assert refused_claim(forge(HEADER, body), caller_claims=("tenant",)) == (Reason.WRONG_CLAIM_TYPE, "tenant")


def test_claims_for_the_views_are_bounded_all_together() -> None:
    room = MAX_CLAIMS_BYTES - len('{"a": "", "b": ""}')
    fits = {"a": "x" * 1000, "b": "y" * (room - 1000)}
    assert check(sign(claims(**fits)), caller_claims=("a", "b")).claims == fits
    longer = sign(claims(**fits | {"b": "y" * (room - 999)}))
    assert refused_claim(longer, caller_claims=("a", "b")) == (Reason.WRONG_CLAIM_TYPE, "a b")
    escaped = sign(claims(a="\u00e9" * (MAX_CLAIMS_BYTES // 6)))
    assert refusal(escaped, caller_claims=("a",)) == Reason.WRONG_CLAIM_TYPE


def test_the_repr_of_a_caller_shows_no_claim() -> None:
    assert "acme" not in repr(check(sign(claims(tenant="acme")), caller_claims=("tenant",)))


# What is said of a refused token, and of keys.


@pytest.mark.parametrize(
    ("changes", "wanted", "claim"),
    [
        ({"sub": ...}, {}, "sub"),
        ({"exp": 1}, {}, "exp"),
        ({"exp": "1"}, {}, "exp"),
        ({"nbf": 4102444800}, {}, "nbf"),
        ({"nbf": "1"}, {}, "nbf"),
        ({"iat": 4102444800}, {}, "iat"),
        ({"iat": ...}, {"max_lifetime": 60}, "iat"),
        ({}, {"max_lifetime": 60}, "exp"),
        ({"iss": 1}, {}, "iss"),
        ({"jti": 1}, {}, "jti"),
        ({"iss": "other"}, {"issuer": "us"}, "iss"),
        ({"roles": "admin"}, {}, "roles"),
        ({"groups": "admin"}, {"roles_claim": "groups"}, "groups"),
        ({"realm": []}, {"roles_claim": "realm.roles"}, "realm.roles"),
    ],
)
def test_a_refusal_names_the_claim_that_it_is_about(
    changes: dict[str, Any], wanted: dict[str, Any], claim: str
) -> None:
    assert refused_claim(forge(HEADER, payload(**changes)), **wanted)[1] == claim


@pytest.mark.parametrize(
    ("header", "parameter"),
    [
        ({"alg": "none"}, "alg"),
        ({"crit": ["exp"]}, "crit"),
        ({"cty": "JWT"}, "cty"),
        ({"b64": False}, "b64"),
        ({"kid": 1}, "kid"),
        ({"kid": None}, "kid"),
    ],
)
def test_a_refusal_names_the_header_parameter_that_it_is_about(header: dict[str, Any], parameter: str) -> None:
    assert refused_claim(forge(json.dumps({"alg": "HS256", **header}).encode(), payload()))[1] == parameter


def test_of_a_forged_token_nothing_else_is_looked_at() -> None:
    assert refusal(sign({"sub": 1}, OTHER_SECRET)) == Reason.BAD_SIGNATURE


def test_neither_the_key_nor_its_repr_shows_the_secret() -> None:
    (key,) = hmac_keys(SECRET, "v1", ["HS256"], "the test's secret")
    assert SECRET not in repr(key)
    assert base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=") not in repr(key)


@pytest.mark.parametrize(("algorithm", "octets"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
def test_no_key_is_shorter_than_its_algorithm_needs(algorithm: str, octets: int) -> None:
    jwk = {"kty": "oct", "alg": algorithm}
    with pytest.raises(jwt.InvalidKeyError, match="bytes"):
        Key(None, jwt.PyJWK({**jwk, "k": base64.urlsafe_b64encode(b"x" * octets).decode()}))
    assert Key(None, jwt.PyJWK({**jwk, "k": base64.urlsafe_b64encode(b"x" * (octets + 1)).decode()}))
