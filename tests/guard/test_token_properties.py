"""What holds for any header, any token: a search for counterexamples, compared with a second reading of the RFCs."""

from __future__ import annotations

import base64
import json
import unicodedata
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from chalicelib.guard.decision import Caller, Reason
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import MAX_TOKEN_BYTES, InvalidToken, Key, verify
from tests.support.rfc import judge
from tests.support.tokens import SECRET, forge, sign

NOW = 2_000_000_000.0
OLD_SECRET = "the-secret-before-the-secret-of-the-tests-" + "y" * 40
GOOD_CLAIMS = {"sub": "alice", "exp": 2_000_003_600, "iat": 2_000_000_000, "roles": ["user"]}
GOOD = sign(GOOD_CLAIMS)
OTHER_GOOD = sign({"sub": "bob", "exp": 2_000_000_060, "roles": ["admin"]})
# A search is no test of speed: what bounds the time is the size, and that has a test of its own.
SEARCH = settings(max_examples=300, deadline=None)

#: The ways in which a token can be asked for.
WANTED = st.sampled_from(
    [
        Settings(),
        Settings(leeway=30),
        Settings(issuer="https://issuer.example"),
        Settings(audiences=("us", "we")),
        Settings(issuer="https://issuer.example", audiences=("us",), max_lifetime=3600),
        Settings(audiences=("us",), audience_claim="client_id", claims={"token_use": "access"}),
        Settings(token_type="at+jwt", caller_claims=("tenant", "client_id")),
        Settings(roles_claim="realm.roles"),
        Settings(roles_claim="scope", roles_in_text=True),
    ]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
DATE = st.integers(1_999_999_960, 2_000_003_700) | st.floats(1_999_999_960, 2_000_000_040)
#: For each claim mostly what fits, so that the search gets past the first check.
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "sub": st.just("alice") | st.text() | VALUE,
        "exp": st.just(2_000_003_600) | DATE | VALUE,
        "nbf": DATE | VALUE,
        "iat": DATE | VALUE,
        "iss": st.sampled_from(["https://issuer.example", "https://other.example"]) | VALUE,
        "aud": st.sampled_from(["us", "them", "we", ["us"], ["them", "us"], ["we"], []]) | VALUE,
        "client_id": st.sampled_from(["us", "them", ["us"]]) | VALUE,
        "token_use": st.sampled_from(["access", "id", "Access"]) | VALUE,
        "tenant": st.sampled_from(["acme", 7, True, 0.5]) | VALUE,
        "cnf": VALUE,
        "jti": st.text(max_size=5) | VALUE,
        "roles": st.lists(st.sampled_from(["user", "admin"])) | VALUE,
        "realm": st.just({"roles": ["user"]}) | VALUE,
        "scope": st.just("user  admin") | VALUE,
    },
).map(lambda drawn: {"sub": "alice", "exp": 2_000_003_600} | drawn)
HEADERS = st.fixed_dictionaries(
    {"alg": st.just("HS256") | st.sampled_from(["none", "HS384", "hs256"]) | VALUE},
    optional={
        "typ": st.sampled_from(["JWT", "at+jwt", "application/AT+JWT", "dpop+jwt", "Application/DPoP+jwt"]) | VALUE,
        "cty": st.sampled_from(["JWT", "jwt", "JSON"]) | VALUE,
        "kid": st.sampled_from(["new", "old"]) | VALUE,
        "crit": VALUE,
        "b64": VALUE,
        "jwk": VALUE,
    },
)


def answer(authorization: str, wanted: Settings = Settings()) -> Caller | InvalidToken:  # noqa: B008  # frozen
    return judge(authorization, [SECRET], wanted, NOW)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# Any header.


@SEARCH
@given(st.binary() | st.binary(min_size=20, max_size=400), st.sampled_from(["", "Bearer "]))
@example(GOOD.encode(), "Bearer ")
def test_any_bytes_are_a_caller_by_the_rfcs_or_a_refusal(octets: bytes, scheme: str) -> None:
    for text in (octets.decode("latin-1"), octets.decode(errors="surrogateescape"), octets.decode("utf-16", "replace")):
        assert isinstance(answer(scheme + text), Caller) == (text == GOOD)


@SEARCH
@given(st.text())
def test_no_text_that_was_not_signed_makes_a_caller(text: str) -> None:
    assert isinstance(answer(text), InvalidToken)


@SEARCH
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4), st.sampled_from(["", "Bearer "]))
def test_no_segments_that_were_not_signed_make_a_caller(segments: list[bytes], scheme: str) -> None:
    assert isinstance(answer(scheme + ".".join(map(base64url, segments))), InvalidToken)


@given(st.text(alphabet=st.characters(), min_size=1, max_size=3), st.integers(1, 3), st.sampled_from(["", "bEaReR "]))
@settings(max_examples=50, deadline=None)
def test_nothing_longer_than_8_kb_is_read(unit: str, times: int, scheme: str) -> None:
    # No segment is decoded, no JSON parsed and nothing hashed before this check.
    text = unit * (times * MAX_TOKEN_BYTES + 1)
    refused = answer(scheme + text)
    assert isinstance(refused, InvalidToken)
    scheme_given = scheme or " " in text
    assert refused.reason == Reason.TOO_LARGE or (scheme_given and refused.reason == Reason.BAD_SCHEME)


@pytest.mark.parametrize("nested", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("where", ["header", "payload"])
def test_the_deepest_json_that_fits_is_an_answer_too(nested: str, where: str) -> None:
    deep = (nested * 5000)[:5800].encode()
    header, payload = (deep, b"{}") if where == "header" else (b'{"alg":"HS256"}', deep)
    refused = answer(forge(header, payload))
    assert isinstance(refused, InvalidToken)
    assert refused.reason == Reason.MALFORMED


PRIVATE = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC = [
    Key(name, jwt.PyJWK({**get_default_algorithms()[name].to_jwk(key.public_key(), as_dict=True), "alg": name}))
    for name, key in PRIVATE.items()
]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=140) | st.binary(min_size=256, max_size=256), st.sampled_from(sorted(PRIVATE)))
def test_no_bytes_are_the_signature_of_a_providers_key(signature: bytes, algorithm: str) -> None:
    signed = jwt.encode(GOOD_CLAIMS, PRIVATE[algorithm], algorithm)
    wanted = Settings(tuple(PRIVATE))
    assert verify(signed, PUBLIC, wanted, NOW).subject == "alice"
    with pytest.raises(InvalidToken, match=Reason.BAD_SIGNATURE):
        verify(f"{signed.rpartition('.')[0]}.{base64url(signature)}", PUBLIC, wanted, NOW)


# Any JSON, signed.


@SEARCH
@given(HEADERS, CLAIMS, WANTED)
def test_any_signed_json_is_a_caller_by_the_rfcs_or_a_refusal(
    header: dict[str, Any], claims: dict[str, Any], wanted: Settings
) -> None:
    forged = forge(json.dumps(header).encode(), json.dumps(claims).encode())
    answer(forged, wanted)
    judge(forged, [OLD_SECRET, SECRET], replace(wanted, algorithms=("HS256", "HS384")), NOW, ["new", "old"])


@SEARCH
@given(VALUE, VALUE)
def test_any_json_at_all_signed_is_an_answer(header: Any, payload: Any) -> None:
    assert isinstance(answer(forge(json.dumps(header).encode(), b"{}")), InvalidToken)
    assert isinstance(answer(forge(b'{"alg":"HS256"}', json.dumps(payload).encode())), InvalidToken)


@SEARCH
@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 200))
def test_any_signed_bytes_are_a_caller_by_the_rfcs_or_a_refusal(one: bytes, other: bytes, place: int) -> None:
    header, payload = b'{"alg":"HS256"}', json.dumps(GOOD_CLAIMS).encode()
    answer(forge(one, other))
    answer(forge(header[:place] + one + header[place:], payload))
    answer(forge(header, payload[:place] + other + payload[place:]))


#: Every character that a subject may hold: unassigned ones, private ones and all spaces too.
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1, max_size=60)


@SEARCH
@given(
    TEXT,
    st.integers(2_000_000_001, 253_402_300_799) | st.floats(2_000_000_001, 4e9),
    st.lists(TEXT, max_size=4),
    st.integers(0, 2_000_000_000),
    st.dictionaries(st.text().map("x-".__add__), VALUE.filter(lambda value: value == value), max_size=3),
)
def test_any_good_token_makes_its_caller(
    subject: str, exp: float, roles: list[str], start: int, more: dict[str, Any]
) -> None:
    claims = {**more, "sub": subject, "exp": exp, "roles": roles, "nbf": start, "iat": start}
    try:
        payload = json.dumps(claims, allow_nan=False).encode()
    except ValueError:  # an infinity deep in `more`, which JSON does not know
        return
    caller = answer("Bearer " + forge(b'{"typ":"JWT","alg":"HS256"}', payload))
    assert caller == Caller(subject, frozenset(roles), int(exp), issued_at=start)


@SEARCH
@given(st.text(max_size=20))
@example("a\xa0b")
@example("\u202e")
@example("\U0001fb00")
def test_a_subject_is_refused_for_its_characters_alone(subject: str) -> None:
    answered = answer(forge(b'{"alg":"HS256"}', json.dumps({"sub": subject, "exp": 2_000_003_600}).encode()))
    shown = not {unicodedata.category(character) for character in subject} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert isinstance(answered, Caller) == (shown and subject != "")


@SEARCH
@given(st.dictionaries(st.sampled_from(["tenant", "email", "level"]), VALUE | st.text(min_size=700)))
def test_claims_for_views_are_bounded_scalars_or_a_refusal(claims: dict[str, Any]) -> None:
    wanted = Settings(caller_claims=("tenant", "email"))
    answer(forge(b'{"alg":"HS256"}', json.dumps({"sub": "alice", "exp": 2_000_003_600} | claims).encode()), wanted)


# Any mutation of a good token.


@SEARCH
@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_no_good_token_is_valid_with_another_character_in_it(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    assert isinstance(answer(changed), Caller) == (changed == GOOD)


@SEARCH
@given(st.text(min_size=1, max_size=8), st.sampled_from(["", "Bearer ", "bearer "]), st.booleans())
def test_a_good_token_is_valid_with_nothing_before_or_behind_it(extra: str, scheme: str, before: bool) -> None:
    text = f"{scheme}{extra}{GOOD}" if before else f"{scheme}{GOOD}{extra}"
    assert isinstance(answer(scheme + GOOD), Caller)
    assert isinstance(answer(text), Caller) == (before and scheme == "" and extra.lower() == "bearer ")


@SEARCH
@given(st.data())
def test_no_good_token_is_valid_cut_repeated_or_spliced(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        piece = data.draw(st.sampled_from(["", text[start:end] * 2, OTHER_GOOD[start:end], text[start:end].swapcase()]))
        text = text[:start] + piece + text[end:]
    assert isinstance(answer(text), Caller) == (text in {GOOD, OTHER_GOOD})


@SEARCH
@given(st.integers(0, 2), st.integers(0, 300), st.integers(0, 7))
def test_no_good_token_is_valid_with_a_bit_of_it_flipped(segment: int, place: int, bit: int) -> None:
    segments = GOOD.split(".")
    octets = bytearray(base64.urlsafe_b64decode(segments[segment] + "=="))
    octets[place % len(octets)] ^= 1 << bit
    segments[segment] = base64url(bytes(octets))
    assert isinstance(answer(".".join(segments)), InvalidToken)


@pytest.mark.parametrize("order", ["021", "102", "120", "201", "210", "000", "011", "0122"])
def test_no_good_token_is_valid_with_its_segments_reordered(order: str) -> None:
    segments = GOOD.split(".")
    assert isinstance(answer(".".join(segments[int(place)] for place in order)), InvalidToken)
