"""A bearer token becomes a Caller, or is refused with a reason. Pure: keys, settings and clock are passed in."""

# PyJWT does the cryptography, with a key that is bound to its algorithm. The form is read here, once and more
# strictly than PyJWT reads it, before any cryptography; PyJWT's `decode` would read it again and prepare the key
# again, which took two thirds of a decision. The claims are checked here, because PyJWT reads the wall clock itself,
# reports a future `nbf` and a future `iat` as one error, and takes `"exp": "1"` and `10**400` for dates.

import binascii
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jwt

from chalicelib.guard.decision import MAX_CLAIMS_BYTES, Caller, Reason
from chalicelib.guard.settings import Settings

MAX_TOKEN_BYTES = 8192
#: OpenID Connect Core section 2 bounds `sub` at 255; it also keeps the authorizer's answer small.
MAX_SUBJECT_BYTES = 255
#: Without a `kid` the current key and the previous one are tried, never a list that grows.
MAX_KEYS_TRIED = 2
#: 9999-12-31T23:59:59Z. A larger date is a unit mistake (milliseconds) or an attack on the arithmetic.
MAX_NUMERIC_DATE = 253_402_300_799

# RFC 7515 section 7.1: base64url without padding. An empty signature is let through to the algorithm
# check, so that "alg": "none" is named for what it is.
_COMPACT_JWS = re.compile(r"(([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+))\.([A-Za-z0-9_-]*)")


class InvalidToken(Exception):
    """The token is invalid. `reason`, and `claim`, the claim or header parameter at fault, are for the log alone."""

    def __init__(self, reason: Reason, claim: str | None = None, unverified_kid: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason, self.claim, self.unverified_kid = reason, claim, unverified_kid


@dataclass(frozen=True, slots=True)
class Key:
    """A verification key, bound to one algorithm; jwt.InvalidKeyError for one that its algorithm does not take."""

    id: str | None
    jwk: jwt.PyJWK = field(repr=False)
    any_kid: bool = False  # tried for a `kid` of no key, as is a key without `id`

    def __post_init__(self) -> None:
        self.jwk.Algorithm.prepare_key(self.jwk.key)  # the curve: RFC 7518 section 3.4
        if too_short := self.jwk.Algorithm.check_key_length(self.jwk.key):  # sections 3.2 and 3.3
            raise jwt.InvalidKeyError(too_short)


def verify(authorization: str, keys: Sequence[Key], wanted: Settings, now: float) -> Caller:
    """Return the caller whom the `Authorization` header proves; raise InvalidToken for any fault of it."""
    # `keys` come newest first. `now` is Unix time in seconds. Any other exception is a fault of ours.
    signed, header_segment, payload_segment, signature_segment = _compact_jws(authorization)
    unverified_header = _unverified_header(header_segment)
    algorithm = unverified_header.get("alg")
    _require(algorithm in wanted.algorithms, Reason.WRONG_ALGORITHM, "alg")
    unverified_type = str(unverified_header.get("typ", "")).lower().removeprefix("application/")
    # `dpop+jwt` is signed by the client itself (RFC 9449 section 4.2).
    fits = unverified_type != "dpop+jwt" and wanted.token_type in (None, unverified_type)
    _require(fits, Reason.WRONG_TOKEN_TYPE, "typ")
    unverified_kid = unverified_header.get("kid", "")
    _require(isinstance(unverified_kid, str), Reason.MALFORMED, "kid")  # null too: RFC 7515 section 4.1.4
    usable = fitting = [key for key in keys if key.jwk.algorithm_name == algorithm]
    if "kid" in unverified_header:
        named = [key for key in fitting if key.id == unverified_kid]
        usable = named or [key for key in fitting if key.any_kid or key.id is None]
    _require(usable, Reason.UNKNOWN_KEY, "kid", unverified_kid)
    signature, payload = _base64url(signature_segment), _base64url(payload_segment)
    for key in usable[:MAX_KEYS_TRIED]:
        # The key's own algorithm, which is the one that the header names and the allow-list holds.
        if key.jwk.Algorithm.verify(signed.encode(), key.jwk.key, signature):
            return _caller(_json_object(payload), key.id, wanted, now)
    raise InvalidToken(Reason.BAD_SIGNATURE, None, unverified_kid)


@lru_cache(maxsize=16)  # an issuer's tokens have few headers; nobody changes one, and no refusal is kept
def _unverified_header(segment: str) -> Mapping[str, Any]:
    unverified_header = _json_object(_base64url(segment))
    # RFC 7515 section 4.1.11: we understand no extension, so a token that insists on one is refused.
    # `jku`, `jwk`, `x5u` and `x5c` are ignored: keys come from `keys` alone.
    _require("crit" not in unverified_header, Reason.CRITICAL_HEADER, "crit")
    # RFC 7519 section 7.2, step 8: a token inside a token. RFC 7797 section 6: `b64` only together with `crit`.
    _require(str(unverified_header.get("cty")).upper() != "JWT", Reason.MALFORMED, "cty")
    _require(unverified_header.get("b64") is not False, Reason.MALFORMED, "b64")
    return unverified_header


def _require(satisfied: object, reason: Reason, claim: str | None = None, unverified_kid: str | None = None) -> None:
    if not satisfied:
        raise InvalidToken(reason, claim, unverified_kid)


def _compact_jws(authorization: str) -> tuple[str, str, str, str]:
    # Return what is signed, and the three segments: header, payload, signature.
    # RFC 6750 section 2.1 gives `Bearer <token>`; the bare token is what the tutorial's curl lines send.
    *scheme, token = authorization.split(" ", 1)
    _require(not scheme or scheme[0].lower() == "bearer", Reason.BAD_SCHEME)
    _require(len(token) <= MAX_TOKEN_BYTES, Reason.TOO_LARGE)
    match = _COMPACT_JWS.fullmatch(token)
    if match is None:
        raise InvalidToken(Reason.MALFORMED)
    return match[1], match[2], match[3], match[4]


def _base64url(segment: str) -> bytes:
    _require(len(segment) % 4 != 1, Reason.MALFORMED)
    padded = segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4)
    data = binascii.a2b_base64(padded)
    # Unused bits are zero (RFC 4648 section 3.5), or one token could be written in many ways.
    _require(binascii.b2a_base64(data, newline=False) == padded.encode(), Reason.MALFORMED)
    return data


def _json_object(data: bytes) -> dict[str, Any]:
    # Parse strictly: UTF-8 without a byte order mark, no NaN, no name twice (RFC 7519 section 4).
    with suppress(ValueError, RecursionError):
        value = _STRICT_JSON.decode(data.decode())
        if isinstance(value, dict):
            return value
    raise InvalidToken(Reason.MALFORMED)


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


# `int` raises ValueError for NaN and Infinity, which JSON does not have.
_STRICT_JSON = json.JSONDecoder(parse_constant=int, object_pairs_hook=_unique_members)


def _caller(claims: dict[str, Any], key_id: str | None, wanted: Settings, now: float) -> Caller:
    # Without `iat` the lifetime is unknown.
    asked = (wanted.issuer, "iss"), (wanted.audiences, wanted.audience_claim), (wanted.max_lifetime, "iat")
    for name in ("exp", "sub", *wanted.claims, *[name for setting, name in asked if setting]):
        _require(name in claims, Reason.MISSING_CLAIM, name)
    # RFC 9449 section 7.2: taken as a bearer token, it would lose the proof of possession that it is bound to.
    _require("cnf" not in claims, Reason.WRONG_TOKEN_TYPE, "cnf")
    for name in ("sub", "iss", "jti"):
        _require(isinstance(claims.get(name, ""), str), Reason.WRONG_CLAIM_TYPE, name)
    _require(_is_subject(claims["sub"]), Reason.WRONG_CLAIM_TYPE, "sub")
    roles = _roles(claims, wanted)

    # Rounded down, so that authorizer and middleware refuse from the same second on.
    expires, latest_start = math.floor(_numeric_date(claims, "exp")), now + wanted.leeway
    _require(now < expires + wanted.leeway, Reason.EXPIRED, "exp")
    _require("nbf" not in claims or _numeric_date(claims, "nbf") <= latest_start, Reason.NOT_YET_VALID, "nbf")
    issued = _numeric_date(claims, "iat") if "iat" in claims else None
    if issued is not None:
        _require(issued <= latest_start, Reason.ISSUED_IN_FUTURE, "iat")
        lifetime = expires - issued
        _require(wanted.max_lifetime is None or lifetime <= wanted.max_lifetime, Reason.LIFETIME_TOO_LONG, "exp")

    _require(wanted.issuer in (None, claims.get("iss")), Reason.WRONG_ISSUER, "iss")
    # RFC 7519 section 4.1.3: a token for others is refused, and so is any with `aud` if no audience is set.
    for name in ("aud", wanted.audience_claim):
        if name in claims:
            given = claims[name]
            listed = given if isinstance(given, list) and name == "aud" else [given]  # only `aud` may be a list
            _require(_texts(listed, name) & set(wanted.audiences), Reason.WRONG_AUDIENCE, name)
    for name, text in wanted.claims.items():
        _require(claims[name] == text, Reason.WRONG_CLAIM_VALUE, name)
    return Caller(claims["sub"], roles, expires + wanted.leeway, _caller_claims(claims, wanted), issued, key_id)


def _is_subject(text: str) -> bool:
    # A log and a terminal can show it: no control, format, surrogate or line separator character.
    plain = text.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
    return plain and 0 < len(text.encode()) <= MAX_SUBJECT_BYTES


def _roles(claims: dict[str, Any], wanted: Settings) -> frozenset[str]:
    # None if the claim is absent. What is there must have the form that is set.
    name, found = wanted.roles_claim, claims
    for part in [name] if name in claims else name.split("."):
        _require(isinstance(found, dict), Reason.WRONG_CLAIM_TYPE, name)
        if part not in found:
            return frozenset()
        found = found[part]
    _require(isinstance(found, str) or not wanted.roles_in_text, Reason.WRONG_CLAIM_TYPE, name)
    return frozenset(str(found).split(" ")) - {""} if wanted.roles_in_text else _texts(found, name)


def _caller_claims(claims: dict[str, Any], wanted: Settings) -> dict[str, str]:
    # Those that the token has, as text. One that is no text, number or boolean, or too long, is refused.
    found = {name: claims[name] for name in wanted.caller_claims if name in claims}
    for name, value in found.items():
        scalar = isinstance(value, str | int | float) and value not in {math.inf, -math.inf}  # 1e999 is JSON
        _require(scalar, Reason.WRONG_CLAIM_TYPE, name)
        found[name] = value if isinstance(value, str) else json.dumps(value)
    _require(not found or len(json.dumps(found)) <= MAX_CLAIMS_BYTES, Reason.WRONG_CLAIM_TYPE, " ".join(found))
    return found


def _texts(value: Any, name: str) -> frozenset[str]:
    # A list of strings and nothing else: `"admin" in "administrator"` is true, and a dict iterates too.
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    _require(is_list, Reason.WRONG_CLAIM_TYPE, name)
    return frozenset(value)


def _numeric_date(claims: dict[str, Any], name: str) -> int | float:
    # RFC 7519 section 2: a JSON number, in seconds. `True` is an int to Python and no number to JSON.
    value = claims[name]
    _require(type(value) in {int, float} and 0 <= value <= MAX_NUMERIC_DATE, Reason.WRONG_CLAIM_TYPE, name)
    return value  # type: ignore[no-any-return]  # it was looked at
