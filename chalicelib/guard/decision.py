"""Who calls, and what is decided about it by the authorizer or by the middleware, as values. Pure."""

import json
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from chalicelib.guard.access import Route

#: The claims that travel to the views, as JSON. API Gateway bounds the whole answer at 8 KB.
MAX_CLAIMS_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose token was verified: made by `tokens.verify`, handed from the authorizer to the views."""

    subject: str
    roles: frozenset[str]
    expires_at: int  # the Unix second from which the caller is refused: the token's `exp`, plus the leeway
    claims: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # those of JWT_CALLER_CLAIMS
    # These do not reach the views: the token's `iat`, and the name of the key that verified it.
    issued_at: float | None = None
    key_id: str | None = None


#: 200, 403, 401 and 500.
Outcome = StrEnum("Outcome", ["ALLOW", "DENY", "UNAUTHORIZED", "ERROR"])

#: Fixed codes for the decision log. No client ever sees one. operations/reasons.py says what each means.
Reason = StrEnum(
    "Reason",
    # The form of the credential, checked before any cryptography; then the signature.
    "BAD_SCHEME TOO_LARGE MALFORMED CRITICAL_HEADER WRONG_TOKEN_TYPE WRONG_ALGORITHM UNKNOWN_KEY BAD_SIGNATURE "
    # The claims, read only after the signature was verified.
    "MISSING_CLAIM WRONG_CLAIM_TYPE EXPIRED NOT_YET_VALID ISSUED_IN_FUTURE LIFETIME_TOO_LONG WRONG_ISSUER "
    "WRONG_AUDIENCE WRONG_CLAIM_VALUE REVOKED "
    # The table, and what the authorizer handed over.
    "NO_PERMISSION NOT_OWNER NO_CALLER "
    # A failure of ours: a 500, never a refusal.
    "BAD_SETTING KEYS_UNAVAILABLE ANSWER_TOO_LARGE UNEXPECTED",
)


class Failure(Exception):
    """A failure of ours, a 500. Its text is ours and goes to the log; it names the fix and no secret's value."""

    reason = Reason.UNEXPECTED


class KeysUnavailable(Failure):
    """There are no keys."""

    reason = Reason.KEYS_UNAVAILABLE


def described(error: Exception) -> str:
    """Return what a log may say: of an unexpected error only its type and place, for its text may hold a secret."""
    if isinstance(error, Failure):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.name}, line {place.lineno}"


class Decision(NamedTuple):
    """What was decided about one request, and why."""

    outcome: Outcome
    reason: Reason | None = None
    caller: Caller | None = None
    route: Route | None = None  # the row that the request meets, never the client's path
    claim: str | None = None  # the claim or header parameter that `reason` is about
    detail: str | None = None  # text of our own
    kid: str | None = None  # the client's text
    keys_age: float | None = None  # seconds


def to_context(caller: Caller, known_roles: frozenset[str]) -> dict[str, Any]:
    """Return `principalId` and `context` of an authorizer's answer."""
    # API Gateway takes only scalars in `context` (a list is a 500) and bounds the whole answer, so only roles
    # that the table knows travel. No role's name holds a space (`access.Table`).
    context: dict[str, Any] = {"roles": " ".join(sorted(caller.roles & known_roles)), "exp": caller.expires_at}
    if caller.claims:
        context["caller_claims"] = json.dumps(caller.claims)  # not `claims`, which API Gateway reserves
    return {"principalId": caller.subject, "context": context}


def from_context(authorizer: object) -> Caller:
    """Return the caller in `requestContext.authorizer`; ValueError or RecursionError if it has another form."""
    context = authorizer if isinstance(authorizer, dict) else {}
    subject, roles, exp = (context.get(name) for name in ("principalId", "roles", "exp"))
    # API Gateway turns the context's values into strings; `chalice local` leaves `exp` a number.
    exp = int(exp) if isinstance(exp, str) and re.fullmatch("[0-9]{1,12}", exp) else exp
    text = context.get("caller_claims", "{}")
    claims: Any = json.loads(text) if isinstance(text, str) and len(text) <= MAX_CLAIMS_BYTES else None
    is_text = isinstance(claims, dict) and all(isinstance(value, str) for value in claims.values())
    # `True` is an int to Python.
    if not (isinstance(subject, str) and subject and isinstance(roles, str) and type(exp) is int and is_text):
        raise ValueError("no context from the authorizer, or one of another form")
    return Caller(subject, frozenset(roles.split()), exp, claims)
