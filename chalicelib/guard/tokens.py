"""A bearer token becomes a Caller, or is refused with a reason. Pure: keys, settings and clock are passed in."""

# PyJWT does the cryptography, with a key that is bound to its algorithm. The form is read here, once and more
# strictly than PyJWT reads it, before any cryptography; PyJWT's `decode` would read it again and prepare the key
# again, which took two thirds of a decision. The claims are checked here, because PyJWT reads the wall clock itself,
# reports a future `nbf` and a future `iat` as one error, and takes `"exp": "1"` and `10**400` for dates.

import binascii
import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal
from unicodedata import category

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

_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
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
    signed, header_segment, payload_segment, signature_segment = _compact_jws(authorization).groups()
    algorithm, unverified_kid = _unverified_header(header_segment, wanted.algorithms, wanted.token_type)
    usable = fitting = [key for key in keys if key.jwk.algorithm_name == algorithm]
    if unverified_kid is not None:
        named = [key for key in fitting if key.id == unverified_kid]
        usable = named or [key for key in fitting if key.any_kid or key.id is None]
    _refuse(usable == [] and (Reason.UNKNOWN_KEY, "kid", unverified_kid))
    signature, payload = _base64url(signature_segment), _base64url(payload_segment)
    for key in usable[:MAX_KEYS_TRIED]:
        # The key's own algorithm, which is the one that the header names and the allow-list holds.
        if key.jwk.Algorithm.verify(signed.encode(), key.jwk.key, signature):
            return _caller(_json_object(payload), key.id, wanted, now)
    raise InvalidToken(Reason.BAD_SIGNATURE, None, unverified_kid)


@lru_cache(maxsize=16)  # an issuer's tokens have few headers; no refusal is kept
def _unverified_header(segment: str, algorithms: tuple[str, ...], token_type: str | None) -> tuple[str, str | None]:
    # Return `alg`, and `kid` or None.
    header = _json_object(_base64url(segment))
    found_type = str(header.get("typ", "")).lower().removeprefix("application/")
    _refuse(
        # RFC 7515 section 4.1.11: we understand no extension, so a token that insists on one is refused.
        # `jku`, `jwk`, `x5u` and `x5c` are ignored: keys come from `keys` alone.
        ("crit" in header and (Reason.CRITICAL_HEADER, "crit"))
        # RFC 7519 section 7.2, step 8: a token inside a token. RFC 7797 section 6: `b64` only together with `crit`.
        or (str(header.get("cty")).upper() == "JWT" and (Reason.MALFORMED, "cty"))
        or (header.get("b64") is False and (Reason.MALFORMED, "b64"))
        or (header.get("alg") not in algorithms and (Reason.WRONG_ALGORITHM, "alg"))
        # `dpop+jwt` is signed by the client itself (RFC 9449 section 4.2).
        or ((found_type == "dpop+jwt" or token_type not in (None, found_type)) and (Reason.WRONG_TOKEN_TYPE, "typ"))
        # null too: RFC 7515 section 4.1.4
        or (not isinstance(header.get("kid", ""), str) and (Reason.MALFORMED, "kid"))
    )
    return header["alg"], header.get("kid")


def _refuse(fault: Literal[False] | tuple[Any, ...]) -> None:
    # A fault is `found and (reason, ...)`: false, or what InvalidToken takes.
    if fault is not False:
        raise InvalidToken(*fault)


def _compact_jws(authorization: str) -> re.Match[str]:
    # Its groups are what is signed, and the three segments: header, payload, signature.
    # RFC 6750 section 2.1 gives `Bearer <token>`; the bare token is what the tutorial's curl lines send.
    *scheme, token = authorization.split(" ", 1)
    _refuse(scheme != [] and scheme[0].lower() != "bearer" and (Reason.BAD_SCHEME,))
    _refuse(len(token) > MAX_TOKEN_BYTES and (Reason.TOO_LARGE,))
    if match := _COMPACT_JWS.fullmatch(token):
        return match
    raise InvalidToken(Reason.MALFORMED)


def _base64url(segment: str) -> bytes:
    padded = segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4)
    data = b"" if len(segment) % 4 == 1 else binascii.a2b_base64(padded)  # no bytes make so many characters
    # Unused bits are zero (RFC 4648 section 3.5), or one token could be written in many ways.
    _refuse(binascii.b2a_base64(data, newline=False) != padded.encode() and (Reason.MALFORMED,))
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
    _refuse(
        (not wanted.required <= claims.keys() and (Reason.MISSING_CLAIM, min(wanted.required - claims.keys())))
        # RFC 9449 section 7.2: taken as a bearer token, it would lose the proof of possession that it is bound to.
        or ("cnf" in claims and (Reason.WRONG_TOKEN_TYPE, "cnf"))
        or (not _is_subject(claims["sub"]) and (Reason.WRONG_CLAIM_TYPE, "sub"))
        or (not isinstance(claims.get("iss", ""), str) and (Reason.WRONG_CLAIM_TYPE, "iss"))
        or (not isinstance(claims.get("jti", ""), str) and (Reason.WRONG_CLAIM_TYPE, "jti"))
    )
    roles = _roles(claims, wanted)

    # Rounded down, so that authorizer and middleware refuse from the same second on.
    expires, latest_start = math.floor(_numeric_date(claims, "exp")), now + wanted.leeway
    issued = _numeric_date(claims, "iat") if "iat" in claims else None
    _refuse(
        (now >= expires + wanted.leeway and (Reason.EXPIRED, "exp"))
        or ("nbf" in claims and _numeric_date(claims, "nbf") > latest_start and (Reason.NOT_YET_VALID, "nbf"))
        or (issued is not None and issued > latest_start and (Reason.ISSUED_IN_FUTURE, "iat"))
        or (expires - (issued or 0) > (wanted.max_lifetime or math.inf) and (Reason.LIFETIME_TOO_LONG, "exp"))
        or (wanted.issuer not in (None, claims.get("iss")) and (Reason.WRONG_ISSUER, "iss"))
    )
    # RFC 7519 section 4.1.3: a token for others is refused, and so is any with `aud` if no audience is set.
    for name in ("aud", wanted.audience_claim):
        if name in claims:
            given = claims[name]
            listed = given if isinstance(given, list) and name == "aud" else [given]  # only `aud` may be a list
            _refuse(_texts(listed, name).isdisjoint(wanted.audiences) and (Reason.WRONG_AUDIENCE, name))
    for name, text in wanted.claims.items():
        _refuse(claims[name] != text and (Reason.WRONG_CLAIM_VALUE, name))
    passed = _caller_claims(claims, wanted) if wanted.caller_claims else {}
    return Caller(claims["sub"], roles, expires + wanted.leeway, passed, issued, key_id)


def _is_subject(text: Any) -> bool:
    # A log and a terminal can show it: no control, format, surrogate or line separator character.
    shown = isinstance(text, str) and (text.isprintable() or _UNSHOWN.isdisjoint(map(category, text)))
    return shown and 0 < len(text.encode()) <= MAX_SUBJECT_BYTES


def _roles(found: Any, wanted: Settings) -> frozenset[str]:
    # None if the claim is absent. What is there must have the form that is set.
    name = wanted.roles_claim
    for part in [name] if name in found else name.split("."):
        _refuse(not isinstance(found, dict) and (Reason.WRONG_CLAIM_TYPE, name))
        if part not in found:
            return frozenset()
        found = found[part]
    _refuse(wanted.roles_in_text and not isinstance(found, str) and (Reason.WRONG_CLAIM_TYPE, name))
    return frozenset(str(found).split(" ")) - {""} if wanted.roles_in_text else _texts(found, name)


def _caller_claims(claims: dict[str, Any], wanted: Settings) -> dict[str, str]:
    # Those that the token has, as text. One that is no text, number or boolean, or too long, is refused.
    found = {name: claims[name] for name in wanted.caller_claims if name in claims}
    for name, value in found.items():
        scalar = isinstance(value, str | int | float) and value not in {math.inf, -math.inf}  # 1e999 is JSON
        _refuse(not scalar and (Reason.WRONG_CLAIM_TYPE, name))
        found[name] = value if isinstance(value, str) else json.dumps(value)
    _refuse(found != {} and len(json.dumps(found)) > MAX_CLAIMS_BYTES and (Reason.WRONG_CLAIM_TYPE, " ".join(found)))
    return found


def _texts(value: Any, name: str) -> frozenset[str]:
    # A list of strings and nothing else: `"admin" in "administrator"` is true, and a dict iterates too.
    _refuse(not (isinstance(value, list) and set(map(type, value)) <= {str}) and (Reason.WRONG_CLAIM_TYPE, name))
    return frozenset(value)


def _numeric_date(claims: dict[str, Any], name: str) -> int | float:
    # RFC 7519 section 2: a JSON number, in seconds. `True` is an int to Python and no number to JSON.
    value = claims[name]
    _refuse(not (type(value) in {int, float} and 0 <= value <= MAX_NUMERIC_DATE) and (Reason.WRONG_CLAIM_TYPE, name))
    return value  # type: ignore[no-any-return]  # it was looked at
