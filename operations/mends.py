"""What to change, for each reason that a request was refused for: a sentence that names the mend."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalicelib import rules
from chalicelib.guard import tokens
from chalicelib.guard.reason import Reason
from chalicelib.guard.settings import Settings


@dataclass(frozen=True)
class Case:
    """A refused request. `header` and `claims` are what the token says of itself; `group` may call the route."""

    settings: Settings
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    roles: frozenset[str]
    group: frozenset[str] | None
    stage: str | None  # None: judged with this machine's local secret
    other_stages: tuple[str, ...]
    signed_locally: bool  # by this machine's local secret, where a stage's was wanted


def mend(reason: Reason, case: Case) -> list[str]:
    """Return the sentences, most useful first."""
    found = _MENDS[reason]
    return found(case) if callable(found) else [found]


def name(value: object) -> str:
    """Return a value of the token's for a terminal: quoted, one line, not too long, nothing that a terminal obeys."""
    try:
        text = repr(value)
    except RecursionError:
        return "something that is nested too deeply"
    return text if len(text) <= 120 else f"{text[:117]}..."


def _mint(case: Case) -> str:
    """Return the command that makes a token that stands here."""
    stage = () if case.stage is None else ("--stage", case.stage)
    may = (case.group or rules.ROLES) & rules.ROLES
    # The role that may the least of those that may this.
    least = sorted(may, key=lambda role: (len(rules.permitted({role})), role))
    roles = ("--role", least[0]) if least else ()
    return shlex.join(["manage.py", "token", *stage, *roles])


def no_token(case: Case) -> list[str]:
    """Return the mend for a request without a token."""
    return [f"Send one: -H 'Authorization: Bearer ...'. Where there is none, {_new_token(case)}."]


def _new_token(case: Case) -> str:
    if case.settings.jwks_url is not None:
        return f"get a new token from the identity provider {case.settings.requirements.issuer}"
    return f"mint a new one: {_mint(case)}"


def _wrong_algorithm(case: Case) -> list[str]:
    algorithm, allowed = case.header.get("alg"), ", ".join(case.settings.requirements.algorithms)
    if isinstance(algorithm, str) and algorithm.lower() == "none":
        return [f"An unsigned token never stands: have it signed with {allowed}."]
    told = f"The token names the algorithm {name(algorithm)}; JWT_ALGORITHMS allows {allowed}."
    if case.settings.jwks_url is not None:
        return [f"{told} Tokens come from the identity provider here: {_new_token(case)}."]
    if isinstance(algorithm, str) and algorithm[:2] in {"RS", "PS", "ES", "Ed"}:
        return [
            f"{told} That is an identity provider's token: set JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE to take them,"
            f" or {_new_token(case)}."
        ]
    return [f"{told} Have it signed with one of these; {_new_token(case)}."]


def _wrong_key(case: Case) -> list[str]:
    if case.settings.jwks_url is not None:
        return [
            "No key of JWT_JWKS_URL signed it: it comes from another provider, realm or environment, or it was changed"
            f" on the way. The mend: {_new_token(case)}."
        ]
    if case.stage is None:
        kid = " Its kid is that of a secret's version: it was made for a stage." if "kid" in case.header else ""
        return [
            f"This machine's secret did not sign it.{kid} For a stage's token add --stage"
            f" ({', '.join(case.other_stages)}); for this machine, {_new_token(case)}."
        ]
    if case.signed_locally:
        return [f"It is signed with this machine's local secret, not with the stage's: {_new_token(case)}."]
    told = [
        f"No version of the stage's secret that verifies signed it. If its key was rotated out (manage.py secret status"
        f" --stage {case.stage} lists the versions) or it was changed on the way, {_new_token(case)}."
    ]
    if case.other_stages:
        tries = " or ".join(f"--stage {stage}" for stage in case.other_stages)
        told.append(f"If it was made for another stage, it stands only there: try {tries}.")
    return told


def _missing_claim(case: Case) -> list[str]:
    wanted = case.settings.requirements
    needed = {
        "sub": "who calls",
        "exp": "when it ends",
        **({} if wanted.issuer is None else {"iss": f"JWT_ISSUER is {wanted.issuer}"}),
        **({} if wanted.audience is None else {"aud": f"JWT_AUDIENCE is {wanted.audience}"}),
        **({} if wanted.max_lifetime is None else {"iat": "JWT_MAX_LIFETIME_SECONDS counts from it"}),
    }
    missing = [f"{claim} ({why})" for claim, why in needed.items() if claim not in case.claims]
    return [f"The token lacks {', '.join(missing)}: have its issuer put that in; {_new_token(case)}."]


def _wrong_claim_type(case: Case) -> list[str]:
    claims, wanted = dict(case.claims), case.settings.requirements
    # The verifier's own checks, one claim at a time.
    roles_form = "one text, separated by spaces (JWT_ROLES_FORMAT)" if wanted.roles_in_text else "a list of strings"
    checks: list[tuple[str, str, Callable[[], object]]] = [
        *((claim, "text", partial(tokens._text, claims, claim)) for claim in ("sub", "iss", "jti")),
        *(
            (claim, "a number of seconds since 1970", partial(tokens._numeric_date, claims, claim))
            for claim in ("exp", "nbf", "iat")
            if claim in claims
        ),
        (wanted.roles_claim, roles_form, partial(tokens._roles, claims, wanted)),
    ]
    told = []
    for claim, form, check in checks:
        try:
            check()
        except tokens.InvalidToken:
            told.append(f"The claim {claim} must be {form}.")
    if not told:
        told = [f"The claim sub must be printable text of 1 to {tokens.MAX_SUBJECT_BYTES} bytes; aud text or a list."]
    roles = case.claims.get(wanted.roles_claim)
    if isinstance(roles, str) and not wanted.roles_in_text:
        told.append("If the issuer writes roles as one text separated by spaces, set JWT_ROLES_FORMAT=space-separated.")
    return told


def _expired(case: Case) -> list[str]:
    return [f"It has ended: {_new_token(case)} (--ttl says for how long)."] + (
        []
        if case.settings.requirements.leeway
        else ["If the clocks of issuer and verifier differ, mend them, or set JWT_LEEWAY_SECONDS (up to 120)."]
    )


def _ahead(case: Case) -> list[str]:
    return [
        f"It is not good yet: wait, or {_new_token(case)}.",
        "If the issuer's clock is ahead of this one, mend it, or allow for it with JWT_LEEWAY_SECONDS (up to 120).",
    ]


def _lifetime(case: Case) -> list[str]:
    most = case.settings.requirements.max_lifetime
    return [f"Have tokens live for {most} s at most, or raise JWT_MAX_LIFETIME_SECONDS; {_new_token(case)} (--ttl)."]


def _issuer(case: Case) -> list[str]:
    given, wanted = name(case.claims.get("iss")), name(case.settings.requirements.issuer)
    return [
        f"The token is from {given}, and JWT_ISSUER is {wanted}: {_new_token(case)}, or mend JWT_ISSUER. They are"
        " compared exactly, a slash at the end included."
    ]


def _audience(case: Case) -> list[str]:
    wanted, given = case.settings.requirements.audience, name(case.claims.get("aud"))
    if wanted is None:
        return [f"The token is made out to {given}, and no JWT_AUDIENCE is set here: set it, or leave aud out."]
    return [f"The token is made out to {given}, and JWT_AUDIENCE is {name(wanted)}: {_new_token(case)}, or mend it."]


def _no_permission(case: Case) -> list[str]:
    if case.group is None:
        return ["The route stands in no row of the table, so it is closed: put a row into chalicelib/rules.py."]
    told = [
        f"Only {', '.join(sorted(case.group))} may: have the issuer give the caller such a role, or put the caller's"
        " role into the row's group in chalicelib/rules.py."
    ]
    claim = case.settings.requirements.roles_claim
    if not case.roles:
        others = [
            name(other)
            for other, value in case.claims.items()
            if other != claim and isinstance(value, list) and rules.ROLES & {v for v in value if isinstance(v, str)}
        ]
        hint = f" {', '.join(others)} holds roles that the table knows: is JWT_ROLES_CLAIM right?" if others else ""
        told.append(f"The token holds no role at all in the claim {name(claim)} (JWT_ROLES_CLAIM).{hint}")
    for role in sorted(case.roles - rules.ROLES):
        folded = {known.casefold(): known for known in sorted(rules.ROLES)}
        close = difflib.get_close_matches(role.casefold(), folded, n=1)
        if close:
            told.append(f"{name(role)} is not {name(folded[close[0]])}: names are compared exactly.")
    return told


_OURS = "Nothing is wrong with the token: see docs/operating.md for this reason."
_MENDS: Mapping[Reason, str | Callable[[Case], list[str]]] = {
    Reason.BAD_SCHEME: "Send Bearer, one space and the token, or the token alone; nothing else is taken.",
    Reason.TOO_LARGE: f"Tokens of more than {tokens.MAX_TOKEN_BYTES} bytes are not taken: have claims left out of it.",
    Reason.MALFORMED: (
        "This is not a whole JSON Web Token (three parts of base64url joined by dots, JSON in the first two): copy it"
        " again, without quotes, spaces or line breaks in it."
    ),
    Reason.CRITICAL_HEADER: "Its header insists on an extension (crit); none is supported: have it issued without.",
    Reason.WRONG_ALGORITHM: _wrong_algorithm,
    Reason.UNKNOWN_KEY: _wrong_key,
    Reason.BAD_SIGNATURE: _wrong_key,
    Reason.MISSING_CLAIM: _missing_claim,
    Reason.WRONG_CLAIM_TYPE: _wrong_claim_type,
    Reason.EXPIRED: _expired,
    Reason.NOT_YET_VALID: _ahead,
    Reason.ISSUED_IN_FUTURE: _ahead,
    Reason.LIFETIME_TOO_LONG: _lifetime,
    Reason.WRONG_ISSUER: _issuer,
    Reason.WRONG_AUDIENCE: _audience,
    Reason.NO_PERMISSION: _no_permission,
    Reason.NO_CALLER: "The function was reached without the authorizer: add authorizer=jwt_authorizer to the route.",
    Reason.BAD_SETTING: _OURS,
    Reason.KEYS_UNAVAILABLE: _OURS,
    Reason.UNEXPECTED: _OURS,
}
