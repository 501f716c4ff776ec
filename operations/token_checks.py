"""What `tokens.verify` checks of a token, in its order, and what the token says to each.

A token's own words are unverified until its signature held. They are shown, and decide nothing here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chalicelib.guard import tokens
from chalicelib.guard.reason import Reason
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key, Requirements
from operations.mends import name

#: RFC 7519 section 4.1. Other claims are shown by their names only.
REGISTERED = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")


#: For which reasons each check refuses.
REASONS = {
    "shape": frozenset({Reason.BAD_SCHEME, Reason.TOO_LARGE, Reason.MALFORMED}),
    "algorithm": frozenset({Reason.CRITICAL_HEADER, Reason.WRONG_ALGORITHM}),
    "key": frozenset({Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE}),
    "claims": frozenset({Reason.MISSING_CLAIM, Reason.WRONG_CLAIM_TYPE}),
    "expires": frozenset({Reason.EXPIRED}),
    "not before": frozenset({Reason.NOT_YET_VALID}),
    "issued": frozenset({Reason.ISSUED_IN_FUTURE, Reason.LIFETIME_TOO_LONG}),
    "issuer": frozenset({Reason.WRONG_ISSUER}),
    "audience": frozenset({Reason.WRONG_AUDIENCE}),
}


@dataclass(frozen=True)
class Unverified:
    """What the token says of itself; empty where it cannot be read."""

    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    length: int = 0


@dataclass(frozen=True)
class Check:
    """`reasons` are those for which this check refuses."""

    name: str
    reasons: frozenset[Reason]
    found: str


def peek(authorization: str) -> Unverified:
    """Read the token with the verifier's own parser, and verify nothing."""
    header: Mapping[str, Any] = {}
    claims: Mapping[str, Any] = {}
    token = authorization.rpartition(" ")[2]
    with contextlib.suppress(tokens.InvalidToken):
        _, header_segment, payload_segment, _ = tokens._compact_jws(authorization)
        header = tokens._json_object(tokens._base64url(header_segment))
        claims = tokens._json_object(tokens._base64url(payload_segment))
    return Unverified(header, claims, len(token))


def signers(authorization: str, keys: Sequence[Key], settings: Settings, now: float) -> list[Key]:
    """Return the keys that the signature holds with, by asking `verify` with each alone."""
    unsigned = {reason for check in ("shape", "algorithm", "key") for reason in REASONS[check]}
    found = []
    for key in keys:
        try:
            tokens.verify(authorization, [key], settings.requirements, now)
        except tokens.InvalidToken as refusal:
            if refusal.reason in unsigned:
                continue
        found.append(key)
    return found


def checks(unverified: Unverified, wanted: Requirements, signed: str, now: float) -> Iterator[Check]:
    """Yield them in the order of `verify`; `signed` says with which key, or which were tried."""
    header, claims = unverified.header, unverified.claims
    kid = f", kid {name(header['kid'])}" if "kid" in header else ""
    others = [name(claim) for claim in claims if claim not in REGISTERED]
    found = {
        "shape": f"{unverified.length} bytes",
        "algorithm": f"{name(header['alg']) if 'alg' in header else 'not named'};"
        f" allowed: {', '.join(wanted.algorithms)}",
        "key": signed + kid,
        "claims": f"sub {_said(claims, 'sub')}; also {', '.join(others) or 'nothing else'}",
        "expires": _date(claims, "exp", now) + (f"; leeway {wanted.leeway} s" if wanted.leeway else ""),
        "not before": _date(claims, "nbf", now),
        "issued": _date(claims, "iat", now)
        + (f"; at most {wanted.max_lifetime} s before exp" * bool(wanted.max_lifetime)),
        "issuer": f"{_said(claims, 'iss')}; JWT_ISSUER {_set(wanted.issuer)}",
        "audience": f"{_said(claims, 'aud')}; JWT_AUDIENCE {_set(wanted.audience)}",
    }
    for check, reasons in REASONS.items():
        yield Check(check, reasons, found[check])


def _said(claims: Mapping[str, Any], claim: str) -> str:
    return name(claims[claim]) if claim in claims else "not given"


def _set(value: str | None) -> str:
    return "is not set" if value is None else f"is {name(value)}"


def _date(claims: Mapping[str, Any], claim: str, now: float) -> str:
    """Return a date in UTC and how long ago or ahead it is."""
    if claim not in claims:
        return "not given"
    try:
        seconds = tokens._numeric_date(dict(claims), claim)
    except tokens.InvalidToken:
        return f"no date: {name(claims[claim])}"
    when = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    ahead = seconds - now
    return f"{when}, {f'in {_long(ahead)}' if ahead > 0 else f'{_long(-ahead)} ago'}"


def _long(seconds: float) -> str:
    """Return a duration in its two largest units."""
    left, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
