"""Why a request was refused: the fixed codes that the decision log carries and no client ever sees."""

from enum import StrEnum


class Reason(StrEnum):
    # The shape of the credential, checked before any cryptography.
    BAD_SCHEME = "bad_scheme"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    CRITICAL_HEADER = "critical_header"
    WRONG_ALGORITHM = "wrong_algorithm"
    # The signature.
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    # The claims, read only after the signature held.
    MISSING_CLAIM = "missing_claim"
    WRONG_CLAIM_TYPE = "wrong_claim_type"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    # The locks.
    NO_PERMISSION = "no_permission"  # no role of the caller may do this
    NO_CALLER = "no_caller"  # nothing that fits from the authorizer: invoked past the gateway
    # Our own trouble: a 500, never a refusal.
    BAD_SETTING = "bad_setting"
    KEYS_UNAVAILABLE = "keys_unavailable"
    UNEXPECTED = "unexpected"
