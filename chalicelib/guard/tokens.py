"""A bearer token becomes a Caller, or is refused with a reason. Pure: keys and clock are passed in."""

# PyJWT does the cryptography, with a key that is bound to its algorithm. The form is read here, once and more
# strictly than PyJWT reads it, before any cryptography; PyJWT's `decode` would read it again and prepare the key
# again, which took two thirds of a decision. The claims are checked here, because PyJWT reads the wall clock itself,
# reports a future `nbf` and a future `iat` as one error, and takes `"exp": "1"` and `10**400` for dates.

from __future__ import annotations

import base64
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jwt

from chalicelib.guard.caller import MAX_CLAIMS_BYTES, Caller
from chalicelib.guard.decision import Reason

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


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#: By the length modulo 4; no octets are written in 4n + 1 characters.
_LAST_CHARACTERS = (_ALPHABET, "", _ALPHABET[::16], _ALPHABET[::4])


class InvalidToken(Exception):
    """The token is invalid. `reason`, and `claim`, the claim or header parameter at fault, are for the log alone."""

    def __init__(self, reason: Reason, claim: str | None = None, unverified_kid: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.claim = claim
        self.unverified_kid = unverified_kid


@dataclass(frozen=True, slots=True)
class Key:
    """A verification key, bound to one algorithm. With `any_kid` or without an `id` it is tried for a `kid` of no key.

    jwt.InvalidKeyError for one that its algorithm does not take (another curve than RFC 7518 section 3.4 names), or
    that is shorter than it needs (sections 3.2 and 3.3). Whatever `verify` meets has passed both.
    """

    id: str | None
    jwk: jwt.PyJWK = field(repr=False)
    any_kid: bool = False

    def __post_init__(self) -> None:
        self.jwk.Algorithm.prepare_key(self.jwk.key)
        too_short = self.jwk.Algorithm.check_key_length(self.jwk.key)
        if too_short:
            raise jwt.InvalidKeyError(too_short)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a token must satisfy beside a good signature. Times are seconds.

    `roles_claim` is a claim's name or, where no claim has that very name, a path of names joined by dots.
    `roles_in_text`: the roles are one text, separated by spaces, as in `scope` (RFC 8693 section 4.2).
    `audiences`: the token must be for one of them. `audience_claim` is `aud`, or a text claim to compare instead.
    `token_type`: what `typ` must be (RFC 8725 section 3.11). `claims`: these must be exactly this text.
    `caller_claims`: what views get as `caller.claims`.
    """

    algorithms: tuple[str, ...] = ("HS256",)
    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    audience_claim: str = "aud"
    token_type: str | None = None
    claims: Mapping[str, str] = field(default_factory=dict)
    caller_claims: tuple[str, ...] = ()
    roles_claim: str = "roles"
    roles_in_text: bool = False
    leeway: int = 0
    max_lifetime: int | None = None


def verify(authorization: str, keys: Sequence[Key], requirements: Requirements, now: float) -> Caller:
    """Return the caller whom the `Authorization` header proves; raise InvalidToken for any fault of it.

    `keys` come newest first. `now` is Unix time in seconds. Any other exception is a fault of ours.
    """
    signed, header_segment, payload_segment, signature_segment = _compact_jws(authorization)
    unverified_header = _json_object(_base64url(header_segment))
    if "crit" in unverified_header:
        # RFC 7515 section 4.1.11: we understand no extension, so a token that insists on one is refused.
        # `jku`, `jwk`, `x5u` and `x5c` are ignored: keys come from `keys` alone.
        raise InvalidToken(Reason.CRITICAL_HEADER, "crit")
    if str(unverified_header.get("cty")).upper() == "JWT":
        raise InvalidToken(Reason.MALFORMED, "cty")  # RFC 7519 section 7.2, step 8: a token inside a token
    if unverified_header.get("b64") is False:
        raise InvalidToken(Reason.MALFORMED, "b64")  # RFC 7797 section 6: only together with `crit`
    algorithm = unverified_header.get("alg")
    if algorithm not in requirements.algorithms:
        raise InvalidToken(Reason.WRONG_ALGORITHM, "alg")
    _check_type(unverified_header, requirements)
    unverified_kid = unverified_header.get("kid")
    if not (isinstance(unverified_kid, str) or (unverified_kid is None and "kid" not in unverified_header)):
        raise InvalidToken(Reason.MALFORMED, "kid")  # null too: RFC 7515 section 4.1.4
    usable = fitting = [key for key in keys if key.jwk.algorithm_name == algorithm]
    if unverified_kid is not None:
        named = [key for key in fitting if key.id == unverified_kid]
        usable = named or [key for key in fitting if key.any_kid or key.id is None]
    if not usable:
        raise InvalidToken(Reason.UNKNOWN_KEY, "kid", unverified_kid)
    signature, payload = _base64url(signature_segment), _base64url(payload_segment)
    for key in usable[:MAX_KEYS_TRIED]:
        # The key's own algorithm, which is the one that the header names and the allow-list holds.
        if key.jwk.Algorithm.verify(signed.encode(), key.jwk.key, signature):
            return _caller(_json_object(payload), key.id, requirements, now)
    raise InvalidToken(Reason.BAD_SIGNATURE, None, unverified_kid)


def _check_type(unverified_header: Mapping[str, object], requirements: Requirements) -> None:
    """Compare `typ`, as media types are: in any letter case, `application/` left out (RFC 7515 section 4.1.9)."""
    unverified_type = str(unverified_header.get("typ", "")).lower().removeprefix("application/")
    wanted = (requirements.token_type or unverified_type).lower().removeprefix("application/")
    # A DPoP proof is signed by the client itself (RFC 9449 section 4.2).
    if unverified_type != wanted or unverified_type == "dpop+jwt":
        raise InvalidToken(Reason.WRONG_TOKEN_TYPE, "typ")


def _compact_jws(authorization: str) -> tuple[str, str, str, str]:
    """Return what is signed, and the three segments: header, payload, signature.

    RFC 6750 section 2.1 gives `Bearer <token>`; the bare token is what the tutorial's curl lines send.
    """
    if len(authorization) > MAX_TOKEN_BYTES + len("Bearer "):
        raise InvalidToken(Reason.TOO_LARGE)
    scheme, space, token = authorization.partition(" ")
    if not space:
        token = scheme
    elif scheme.lower() != "bearer":
        raise InvalidToken(Reason.BAD_SCHEME)
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(Reason.TOO_LARGE)
    match = _COMPACT_JWS.fullmatch(token)
    if match is None:
        raise InvalidToken(Reason.MALFORMED)
    return match[1], match[2], match[3], match[4]


def _base64url(segment: str) -> bytes:
    # The last character's unused bits are zero (RFC 4648 section 3.5), or one token could be written in many ways.
    if segment and segment[-1] not in _LAST_CHARACTERS[len(segment) % 4]:
        raise InvalidToken(Reason.MALFORMED)
    return base64.urlsafe_b64decode(segment + "==")  # which reads no more padding than it needs


def _json_object(data: bytes) -> dict[str, object]:
    """Parse strictly: UTF-8 without a byte order mark, no NaN, no name twice (RFC 7519 section 4)."""
    try:
        value = _STRICT_JSON.decode(data.decode())
    except (ValueError, RecursionError):
        raise InvalidToken(Reason.MALFORMED) from None
    if not isinstance(value, dict):
        raise InvalidToken(Reason.MALFORMED)
    return value


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


_STRICT_JSON = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_unique_members)


def _caller(claims: dict[str, object], key_id: str | None, requirements: Requirements, now: float) -> Caller:
    required = ["exp", "sub", *requirements.claims]
    required += ["iss"] if requirements.issuer is not None else []
    required += [requirements.audience_claim] if requirements.audiences else []
    required += ["iat"] if requirements.max_lifetime is not None else []  # without it the lifetime is unknown
    for name in required:
        if name not in claims:
            raise InvalidToken(Reason.MISSING_CLAIM, name)
    if "cnf" in claims:
        # RFC 9449 section 7.2: taken as a bearer token, it would lose the proof of possession that it is bound to.
        raise InvalidToken(Reason.WRONG_TOKEN_TYPE, "cnf")

    subject, issuer, _ = (_text(claims, name) for name in ("sub", "iss", "jti"))
    if not _is_subject(subject):
        raise InvalidToken(Reason.WRONG_CLAIM_TYPE, "sub")
    roles = _roles(claims, requirements)
    issued = _check_dates(claims, requirements, now)
    if requirements.issuer is not None and issuer != requirements.issuer:
        raise InvalidToken(Reason.WRONG_ISSUER, "iss")
    _check_audience(claims, requirements)
    for name, value in requirements.claims.items():
        if claims[name] != value:
            raise InvalidToken(Reason.WRONG_CLAIM_VALUE, name)
    # Rounded down, so that authorizer and middleware refuse from the same second on.
    expires = math.floor(_numeric_date(claims, "exp")) + requirements.leeway
    return Caller(subject, roles, expires, _caller_claims(claims, requirements.caller_claims), issued, key_id)


def _is_subject(text: str) -> bool:
    """Whether a log and a terminal can show it: no control, format, surrogate or line separator character."""
    plain = text.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
    return plain and 0 < len(text.encode()) <= MAX_SUBJECT_BYTES


def _check_dates(claims: dict[str, object], requirements: Requirements, now: float) -> float | None:
    """Return `iat`, if it is there."""
    expires = math.floor(_numeric_date(claims, "exp"))
    latest_start = now + requirements.leeway
    if now >= expires + requirements.leeway:
        raise InvalidToken(Reason.EXPIRED, "exp")
    if "nbf" in claims and _numeric_date(claims, "nbf") > latest_start:
        raise InvalidToken(Reason.NOT_YET_VALID, "nbf")
    issued = None
    if "iat" in claims:
        issued = _numeric_date(claims, "iat")
        if issued > latest_start:
            raise InvalidToken(Reason.ISSUED_IN_FUTURE, "iat")
        if requirements.max_lifetime is not None and expires - issued > requirements.max_lifetime:
            raise InvalidToken(Reason.LIFETIME_TOO_LONG, "exp")
    return issued


def _check_audience(claims: dict[str, object], requirements: Requirements) -> None:
    """RFC 7519 section 4.1.3: a token for others is refused, and so is any with `aud` if no audience is set."""
    for name in ("aud", requirements.audience_claim):
        if name in claims:
            given = claims[name]
            # Only `aud` may be a list.
            listed = given if isinstance(given, list) and name == "aud" else [given]
            if not _texts(listed, name) & set(requirements.audiences):
                raise InvalidToken(Reason.WRONG_AUDIENCE, name)


def _roles(claims: dict[str, object], requirements: Requirements) -> frozenset[str]:
    """Return the roles; none if the claim is absent. What is there must have the form that is set."""
    name = requirements.roles_claim
    found: object = claims
    for part in [name] if name in claims else name.split("."):
        if not isinstance(found, dict):
            raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
        if part not in found:
            return frozenset()
        found = found[part]
    if requirements.roles_in_text:
        return _texts(found.split(" ") if isinstance(found, str) else None, name) - {""}
    return _texts(found, name)


def _caller_claims(claims: dict[str, object], names: Sequence[str]) -> dict[str, str]:
    """Return those that the token has, as text. One that is no text, number or boolean, or too long, is refused."""
    found: dict[str, str] = {}
    for name in names:
        if name in claims:
            value = claims[name]
            if not isinstance(value, str | int | float) or value in {math.inf, -math.inf}:  # 1e999 is JSON
                raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
            found[name] = value if isinstance(value, str) else json.dumps(value)
            if len(json.dumps(found)) > MAX_CLAIMS_BYTES:
                raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
    return found


def _text(claims: dict[str, object], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
    return value


def _texts(value: object, name: str) -> frozenset[str]:
    """A list of strings and nothing else: `"admin" in "administrator"` is true, and a dict iterates too."""
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
    return frozenset(value)


def _numeric_date(claims: dict[str, object], name: str) -> int | float:
    """RFC 7519 section 2: a JSON number, in seconds. `True` is an int to Python and no number to JSON."""
    value = claims[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_NUMERIC_DATE:
        raise InvalidToken(Reason.WRONG_CLAIM_TYPE, name)
    return value
