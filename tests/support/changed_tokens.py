"""A good token with one thing changed, for each reason to refuse a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.guard.decision import Reason
from tests.support.tokens import SECRET, claims, sign

#: Settings under which each of the tokens below is refused, and one with the claims of `strict` is valid.
STRICT = {
    "JWT_ISSUER": "https://issuer.example",
    "JWT_AUDIENCE": "us",
    "JWT_MAX_LIFETIME_SECONDS": "86400",
    "JWT_REQUIRED_CLAIMS": "tenant=acme",
}


def strict(**changes: Any) -> dict[str, Any]:
    """Return claims that satisfy STRICT, with changes."""
    return claims(**{"iss": "https://issuer.example", "aud": "us", "tenant": "acme", **changes})


#: What makes the token, out of the time that it is.
CHANGED: dict[Reason, Callable[[float], str]] = {
    Reason.BAD_SCHEME: lambda _: f"Basic {sign(strict())}",
    Reason.TOO_LARGE: lambda _: "Bearer " + "x" * 60_000,
    Reason.MALFORMED: lambda _: "",
    Reason.CRITICAL_HEADER: lambda _: sign(strict(), crit=["exp"]),
    Reason.WRONG_TOKEN_TYPE: lambda _: sign(strict(cnf={"jkt": "thumbprint"})),
    Reason.WRONG_ALGORITHM: lambda _: sign(strict(), alg="HS384"),
    Reason.BAD_SIGNATURE: lambda _: sign(strict(), SECRET[::-1]),
    Reason.MISSING_CLAIM: lambda _: sign(strict(exp=...)),
    Reason.WRONG_CLAIM_TYPE: lambda _: sign(strict(roles="admin")),
    Reason.EXPIRED: lambda now: sign(strict(exp=int(now))),
    Reason.NOT_YET_VALID: lambda now: sign(strict(nbf=now + 60)),
    Reason.ISSUED_IN_FUTURE: lambda now: sign(strict(iat=now + 60)),
    Reason.LIFETIME_TOO_LONG: lambda now: sign(strict(exp=now + 90_000)),
    Reason.WRONG_ISSUER: lambda _: sign(strict(iss="https://other.example")),
    Reason.WRONG_AUDIENCE: lambda _: sign(strict(aud="them")),
    Reason.WRONG_CLAIM_VALUE: lambda _: sign(strict(tenant="other")),
}
