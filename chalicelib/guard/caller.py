"""Who calls: made by `tokens.verify`, handed from the authorizer to the views by API Gateway."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The claims that travel to the views, as JSON. API Gateway bounds the whole answer at 8 KB.
MAX_CLAIMS_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose token was verified."""

    subject: str
    roles: frozenset[str]
    expires_at: int  # the Unix second from which the caller is refused: the token's `exp`, plus the leeway
    claims: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # those of JWT_CALLER_CLAIMS
    # These do not reach the views: the token's `iat`, and the name of the key that verified it.
    issued_at: float | None = None
    key_id: str | None = None


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
