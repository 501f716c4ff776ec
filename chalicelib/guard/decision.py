"""A decision of the authorizer or of the middleware, as a value, and the codes for why a request was refused."""

import traceback
from enum import StrEnum
from typing import NamedTuple

from chalicelib.guard.access import Route
from chalicelib.guard.caller import Caller

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
