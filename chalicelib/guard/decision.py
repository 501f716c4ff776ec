"""A decision of the authorizer or of the middleware, as a value, and the codes for why a request was refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chalicelib.guard.access import Route
from chalicelib.guard.caller import Caller


class Outcome(StrEnum):
    ALLOW = "allow"
    DENY = "deny"  # 403
    UNAUTHORIZED = "unauthorized"  # 401
    ERROR = "error"  # 500


class Reason(StrEnum):
    """Fixed codes for the decision log. No client ever sees one."""

    # The form of the credential, checked before any cryptography.
    BAD_SCHEME = "bad_scheme"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    CRITICAL_HEADER = "critical_header"
    WRONG_TOKEN_TYPE = "wrong_token_type"  # noqa: S105  # no password
    WRONG_ALGORITHM = "wrong_algorithm"
    # The signature.
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    # The claims, read only after the signature was verified.
    MISSING_CLAIM = "missing_claim"
    WRONG_CLAIM_TYPE = "wrong_claim_type"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_CLAIM_VALUE = "wrong_claim_value"
    REVOKED = "revoked"  # the caller's sessions were ended
    # The table.
    NO_PERMISSION = "no_permission"  # no role of the caller may do this
    NOT_OWNER = "not_owner"  # the caller may only do this to its own
    NO_CALLER = "no_caller"  # no valid context from the authorizer: invoked past the gateway
    # A failure of ours: a 500, never a refusal.
    BAD_SETTING = "bad_setting"
    KEYS_UNAVAILABLE = "keys_unavailable"
    ANSWER_TOO_LARGE = "answer_too_large"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one request, and why.

    `route` is the row that the request meets, never the client's path. `claim` names the claim or header parameter
    that `reason` is about. `detail` is text of our own. `kid` is the client's text. `keys_age` is in seconds.
    """

    outcome: Outcome
    reason: Reason | None = None
    caller: Caller | None = None
    route: Route | None = None
    claim: str | None = None
    detail: str | None = None
    kid: str | None = None
    keys_age: float | None = None
