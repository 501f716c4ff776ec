"""Who calls: made by `tokens.verify`, handed from the authorizer to the views by API Gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The claims that travel to the views, as JSON. API Gateway bounds the whole answer at 8 KB.
MAX_CLAIMS_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose token was verified.

    `expires_at` is the Unix second from which the caller is refused: the token's `exp`, plus the leeway.
    `claims` holds those that JWT_CALLER_CLAIMS names and the token has, as text.
    `issued_at` (the token's `iat`) and `key_id` (the key that verified it, if that has a name) do not reach the views.
    """

    subject: str
    roles: frozenset[str]
    expires_at: int
    claims: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    issued_at: float | None = None
    key_id: str | None = None


def to_context(caller: Caller, known_roles: frozenset[str]) -> dict[str, Any]:
    """Return `principalId` and `context` of an authorizer's answer.

    API Gateway takes only scalars in `context` (a list is a 500) and bounds the whole answer, so only roles
    that the table knows travel. No role's name holds a space (`access.faults`).
    """
    context: dict[str, Any] = {"roles": " ".join(sorted(caller.roles & known_roles)), "exp": caller.expires_at}
    if caller.claims:
        context["caller_claims"] = json.dumps(caller.claims)  # not `claims`, which API Gateway reserves
    return {"principalId": caller.subject, "context": context}


def from_context(authorizer: object) -> Caller:
    """Return the caller in `requestContext.authorizer`; ValueError if it has another form.

    API Gateway turns the context's values into strings; `chalice local` leaves `exp` a number.
    """
    if not isinstance(authorizer, dict):
        raise ValueError("no authorizer context")
    subject, roles, exp = (authorizer.get(name) for name in ("principalId", "roles", "exp"))
    if not (isinstance(subject, str) and subject and isinstance(roles, str)):
        raise ValueError("principalId or roles has another form")
    # An explicit type test: int() alone would take True, 1.9, " 12 " and "1_2".
    if isinstance(exp, str) and exp.isascii() and exp.isdigit() and len(exp) <= 12:
        exp = int(exp)
    if type(exp) is not int:
        raise ValueError("exp has another form")
    text = authorizer.get("caller_claims", "{}")
    claims = json.loads(text) if isinstance(text, str) and len(text) <= MAX_CLAIMS_BYTES else None
    if not (isinstance(claims, dict) and all(isinstance(value, str) for value in claims.values())):
        raise ValueError("caller_claims has another form")
    return Caller(subject, frozenset(roles.split()), exp, claims)
