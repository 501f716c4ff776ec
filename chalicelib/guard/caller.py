"""Who calls: made by `tokens.verify`, handed from the authorizer to the views by API Gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose token was verified.

    `expires_at` is the Unix second from which the caller is refused: the token's `exp`, plus the leeway.
    `key_id` names the key that verified the token, where it has a name; it does not travel to the views.
    """

    subject: str
    roles: frozenset[str]
    expires_at: int
    key_id: str | None = None


def to_context(caller: Caller, known_roles: frozenset[str]) -> dict[str, Any]:
    """Return `principalId` and `context` of an authorizer's answer.

    API Gateway takes only scalars in `context` (a list is a 500) and bounds the whole answer, so only roles
    that the table knows travel on. A role's name holds no space (`rules.faults` sees to it).
    """
    return {
        "principalId": caller.subject,
        "context": {"roles": " ".join(sorted(caller.roles & known_roles)), "exp": caller.expires_at},
    }


def from_context(authorizer: object) -> Caller:
    """Return the caller out of `requestContext.authorizer`; ValueError where it does not fit.

    API Gateway turns the context's values into strings; `chalice local` leaves `exp` a number.
    """
    if not isinstance(authorizer, dict):
        raise ValueError("no authorizer context")
    subject, roles, exp = (authorizer.get(name) for name in ("principalId", "roles", "exp"))
    if not (isinstance(subject, str) and subject and isinstance(roles, str)):
        raise ValueError("principalId or roles do not fit")
    # An explicit type test: int() alone would take True, 1.9, " 12 " and "1_2".
    if isinstance(exp, str) and exp.isascii() and exp.isdigit() and len(exp) <= 12:
        exp = int(exp)
    if type(exp) is not int:
        raise ValueError("exp does not fit")
    return Caller(subject, frozenset(roles.split()), exp)
