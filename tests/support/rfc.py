"""A second reading of RFC 6750, 7515, 7519 and 9449 for HMAC signatures: whoever `verify` lets in must pass here too.

Written from the RFCs' text on the standard library alone, in their order of steps, with nothing of the product
or of PyJWT in it. It asks for no more than the RFCs do: that `verify` is stricter is no fault of `verify`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import string
import unicodedata
from collections import Counter
from typing import Any

from chalicelib.guard.decision import MAX_CLAIMS_BYTES, Caller
from chalicelib.guard.keys.source import hmac_keys
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import InvalidToken, Key, verify

UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
BASE64URL = (string.ascii_letters + string.digits + "-_").encode()


def claims_of(authorization: str, secrets: list[str], wanted: Settings, now: float) -> dict[str, Any] | None:
    """Return the claims of a token that the RFCs accept, made with one of the secrets; else None."""
    try:
        return _claims_of(authorization.encode("ascii"), secrets, wanted, now)
    except (_Rejected, UnicodeError, binascii.Error, ValueError, RecursionError):
        return None


class _Rejected(Exception):
    pass


def _must(holds: object) -> None:
    if not holds:
        raise _Rejected


def _claims_of(credentials: bytes, secrets: list[str], wanted: Settings, now: float) -> dict[str, Any]:
    # RFC 6750 section 2.1, with a scheme in any case (RFC 9110 section 11.1); or the token alone.
    if credentials[:7].upper() == b"BEARER ":
        credentials = credentials[7:]

    # RFC 7519 section 7.2, steps 1 to 4; RFC 7515 section 5.2, steps 1 to 3 and 6.
    segments = credentials.split(b".")
    _must(len(segments) == 3)
    _must(not any(segment.strip(BASE64URL) for segment in segments))
    header = _object(segments[0])

    # Step 5: what is not understood and not to be ignored. RFC 7515 section 4.1.11: no extension is known here.
    _must("crit" not in header)
    # Steps 6 and 7: a JWS; RFC 7515 section 5.2, step 8, with an algorithm that is expected (section 10.1).
    hashes = {f"HS{bits}": f"sha{bits}" for bits in (256, 384, 512)}
    _must(isinstance(header["alg"], str) if "alg" in header else False)
    _must(header["alg"] in wanted.algorithms)
    signed = b".".join(segments[:2])
    macs = [hmac.digest(secret.encode(), signed, hashes[header["alg"]]) for secret in secrets]
    _must(segments[2] in [base64.urlsafe_b64encode(mac).strip(b"=") for mac in macs])
    # Step 8: a nested token, whose claims are not these.
    _must(str(header.get("cty")).upper() != "JWT")
    # RFC 7515 section 4.1.4: a string, where it is given.
    _must("kid" not in header or isinstance(header["kid"], str))
    # RFC 8725 section 3.11: the type that is expected. RFC 9449 section 4.2: a proof is no token.
    _must(wanted.token_type is None or _media_type(header.get("typ")) == _media_type(wanted.token_type))
    _must(_media_type(header.get("typ")) != "application/dpop+jwt")
    # Step 10.
    claims = _object(segments[1])

    # RFC 7519 section 4.1, each claim by itself where it is given.
    for name in ("iss", "sub", "jti"):
        _must(name not in claims or isinstance(claims[name], str))
    for name in ("exp", "nbf", "iat"):
        _must(name not in claims or type(claims[name]) in {int, float})
    if "exp" in claims:
        _must(now < claims["exp"] + wanted.leeway)  # 4.1.4: MUST be before
    if "nbf" in claims:
        _must(now >= claims["nbf"] - wanted.leeway)  # 4.1.5: MUST be after or equal
    if "aud" in claims:  # 4.1.3: who does not find itself in it MUST reject
        audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        _must(isinstance(audience, list) and all(isinstance(one, str) for one in audience))
        _must(any(ours in audience for ours in wanted.audiences))
    # RFC 8725 section 3.8 and 3.9, where the settings name them.
    _must(wanted.issuer is None or claims.get("iss") == wanted.issuer)
    _must(not wanted.audiences or wanted.audience_claim in claims)
    if wanted.audience_claim != "aud" and wanted.audiences:
        _must(claims[wanted.audience_claim] in wanted.audiences)
    # RFC 9449 section 7.2, with RFC 7800 section 3.1: bound to a key, it is no bearer token.
    _must("cnf" not in claims)
    # What the settings ask for too.
    for name, text in wanted.claims.items():
        _must(isinstance(claims.get(name), str) and claims[name] == text)
    # What can be shown and logged: no control, format, surrogate, line or paragraph separator.
    _must(not {unicodedata.category(character) for character in claims.get("sub", "")} & UNSHOWN)
    return claims


def _media_type(text: object) -> str | None:
    """RFC 7515 section 4.1.9: in any letter case (RFC 2045), and `application/` may be left out."""
    if not isinstance(text, str):
        return None
    lower = text.lower()
    return lower if "/" in lower else f"application/{lower}"


def _object(segment: bytes) -> dict[str, Any]:
    """RFC 7515 section 2, base64url without padding; then UTF-8 and an object of RFC 8259, each name once."""
    text = base64.b64decode(segment.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(segment) % 4))
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return dict(pairs)

    value = json.loads(text.decode("utf-8"), object_pairs_hook=members, parse_constant=lambda _: repeated.append("NaN"))
    _must(not repeated)
    _must(isinstance(value, dict))
    return value  # type: ignore[no-any-return]  # json's Any


def keys(secrets: list[str], wanted: Settings, ids: list[str] | None = None) -> list[Key]:
    """Return the keys that the product makes of the secrets, named by `ids` or nameless."""
    named = ids or [None] * len(secrets)
    pairs = zip(secrets, named, strict=True)
    return [key for secret, name in pairs for key in hmac_keys(secret, name, wanted.algorithms, "a test's secret")]


def judge(
    authorization: str, secrets: list[str], wanted: Settings, now: float, ids: list[str] | None = None
) -> Caller | InvalidToken:
    """Return what `verify` makes of the header; AssertionError where the RFCs would not let that caller in.

    Anything but a Caller or InvalidToken comes out as the exception that it is.
    """
    try:
        caller = verify(authorization, keys(secrets, wanted, ids), wanted, now)
    except InvalidToken as refused:
        return refused
    claims = claims_of(authorization, secrets, wanted, now)
    assert claims is not None, "verify lets a token in that the RFCs reject"
    assert type(caller) is Caller
    assert caller.subject == claims["sub"]
    assert claims["exp"] - 1 < caller.expires_at - wanted.leeway <= claims["exp"]
    assert now < caller.expires_at
    granted = claims
    for part in [wanted.roles_claim] if wanted.roles_claim in claims else wanted.roles_claim.split("."):
        granted = granted.get(part, {})
    if isinstance(granted, str):
        assert wanted.roles_in_text
        granted = [role for role in granted.split(" ") if role]
    assert sorted(caller.roles) == sorted(set(granted))
    assert caller.claims == {name: _as_text(claims[name]) for name in wanted.caller_claims if name in claims}
    assert len(json.dumps(caller.claims)) <= MAX_CLAIMS_BYTES
    return caller


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    assert isinstance(value, bool | int | float), "only scalars go to the views"
    return str(value).lower() if isinstance(value, bool) else repr(value)
