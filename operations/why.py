"""Why a request is answered as it is: what authorizer and middleware decide about it, and what to do."""

# Each verdict is the guard's own decision. What API Gateway does around them is done here: it knows routes, reads the
# policy as IAM does, and hands the context over as text.

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from chalicelib.guard import authorizer, middleware
from chalicelib.guard.access import METHODS, OWNER, PUBLIC, Route, Table, TableError
from chalicelib.guard.decision import Decision, Outcome, Reason
from chalicelib.guard.keys import source
from chalicelib.guard.keys.source import KeySet
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import MAX_NUMERIC_DATE, Key
from operations import minting, revocation, stage
from operations.fault import Fault
from operations.project import Project
from operations.reasons import TEXTS

#: Any stage will do: policy and request name the same one.
STAGE_ARN = "arn:aws:execute-api:eu-central-1:123456789012:api/stage"
STATUSES = {Outcome.ALLOW: 200, Outcome.DENY: 403, Outcome.UNAUTHORIZED: 401, Outcome.ERROR: 500}
NO_TOKEN = ["401", "the route needs a token", "send -H 'Authorization: Bearer ...'"]
UNKNOWN = ["500", "this version of operations/ does not know the reason", "upgrade it together with chalicelib/guard/"]
CACHE = "also after a change (aws apigateway flush-stage-authorizers-cache empties its cache)"
#: What is said of a token that cannot be read.
FORM = {Reason.BAD_SCHEME, Reason.TOO_LARGE, Reason.MALFORMED}
#: With these the guard refuses a token that the key it was given did not verify.
UNSIGNED = {Reason.MALFORMED, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE, Reason.UNEXPECTED}
#: What the token's header says; all else is a claim.
HEADER = {"alg", "typ", "kid", "crit", "cty", "b64"}


class Step(NamedTuple):
    check: str
    verdict: str  # ok, NO, - (not reached) or nothing: a fact
    name: str
    found: str


class Explanation(NamedTuple):
    status: int  # the answer's; 200 is whatever the view answers
    by: str
    reason: str | None
    steps: Sequence[Step]
    advice: Sequence[str]


@dataclass(frozen=True)
class Case:
    """What a request is judged with, and the request; `stage` None means this machine's settings and secret."""

    table: Table
    settings: Settings
    fetched: KeySet
    stage: str | None = None
    other_stages: tuple[str, ...] = ()
    authorization: str = ""
    now: float = 0.0
    row: Route | None = None  # the table's, that the path meets
    group: frozenset[str] = frozenset()  # who may call the route
    owner: str = ""  # the subject in the path


def judge(project: Project, stage_name: str | None) -> Case:
    """Return what a token is judged with; Fault, SettingsError or KeysUnavailable where there is none."""
    others = tuple(other for other in stage.names(project) if other != stage_name)
    settings = stage.local_settings(project) if stage_name is None else stage.load(project, stage_name).settings
    if stage_name is None and settings.jwks_url is None:
        settings = replace(settings, local_secret=minting.local_secret(project, settings, create=False))
    return Case(project.table, settings, source.fetch(settings), stage_name, others)


def explain(authorization: str, method: str, path: str, project: Project, case: Case, now: float) -> Explanation:
    """Return how a request with this Authorization header is answered; no header where it is empty."""
    declared, table = project.declared(), case.table
    try:
        routes = Table(dict.fromkeys(declared, PUBLIC))
    except TableError as error:
        raise Fault(f"app.py: {error}") from None
    route = routes.match(method, path)
    if route is None:
        return _without_route(method, path, routes, case)
    parts = zip(route[1].split("/"), path.split("/"), strict=True)
    parameters = {part[1:-1]: given for part, given in parts if part.startswith("{")}
    group, owner = table.rules.get(route, frozenset()), unquote(parameters.get("sub", ""))
    case = replace(case, authorization=authorization, now=now, row=table.match(method, path), group=group, owner=owner)
    steps = [Step("Route", "ok", "route", " ".join(route)), Step("Route", "", "row", _row(group))]
    notes = [f"Note: {note}" for note in case.fetched.notes]

    def answered(decision: Decision, by: str) -> Explanation:
        return Explanation(STATUSES[decision.outcome], by, decision.reason, steps, [*advice(decision, case), *notes])

    context = None
    if not declared[route]:
        steps.append(Step("API Gateway", "", "authorizer", "none in front of this route: nobody looks at the token"))
    elif not authorization:
        steps.append(Step("API Gateway", "NO", "token", "none: it answers without asking the authorizer"))
        return answered(Decision(Outcome.UNAUTHORIZED), "API Gateway")
    else:
        if (ttl := project.authorizer.config.ttl_seconds) != 0:
            notes.append(f"Note: API Gateway keeps the authorizer's answer for a token for {ttl or 300} s, {CACHE}")
        decision, answer = _authorize(case, case.fetched.keys)
        steps += _token_steps(decision, case)
        if answer is None:
            return answered(decision, "the authorizer")
        said = read_as_iam(answer["policyDocument"], f"{STAGE_ARN}/{method}{path}")
        steps.append(Step("API Gateway", "ok" if said == "Allow" else "NO", "policy", f"{said} for this request"))
        if said != "Allow":
            denied = decision._replace(outcome=Outcome.DENY, reason=Reason.NO_PERMISSION)
            return answered(denied, "API Gateway, by the authorizer's policy")
        # API Gateway hands the context over as text.
        context = {"principalId": answer["principalId"], **{key: str(text) for key, text in answer["context"].items()}}
    decision = middleware.decide(route, context, parameters, table, now)
    if decision.outcome is not Outcome.ALLOW:
        steps.append(Step("Middleware", "NO", "caller and row", f"{decision.reason}"))
        return answered(decision, "the middleware")
    steps.append(Step("Middleware", "ok", "caller and row", "passes it to the view"))
    return Explanation(200, "the view", None, steps, notes)


def show(explanation: Explanation) -> Iterator[str]:
    """Yield the lines to print. What a token says is not to command the terminal."""
    lines = [f"{check:<11} {verdict:<2} {name:<13} {found}" for check, verdict, name, found in explanation.steps]
    reason = f" ({explanation.reason})" if explanation.reason else ""
    answer = f"{explanation.status} {HTTPStatus(explanation.status).phrase}{reason}, by {explanation.by}"
    for line in [*lines, "", f"Answer: {answer}", *explanation.advice]:
        yield "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def read_as_iam(document: Mapping[str, Any], arn: str) -> str:
    """Return Allow, Deny or neither, as IAM reads a policy: a Deny beats an Allow; `*` crosses `/` as well."""
    fits = {its["Effect"] for its in document["Statement"] if any(fnmatchcase(arn, one) for one in its["Resource"])}
    return "Deny" if "Deny" in fits else "Allow" if fits else "neither"


def _without_route(method: str, path: str, routes: Table, case: Case) -> Explanation:
    """API Gateway has no such method on such a path; it asks nobody."""
    origin, stage_name, rest = case.settings.allowed_origin, *path[1:].partition("/")[::2]
    # Whether API Gateway drops a slash at the end is not documented; the ARN in the policy keeps it, so nothing opens.
    nearby = {path.rstrip("/"): "without the slash at the end it", path: "this path"}
    if stage_name in {case.stage, *case.other_stages, "api"}:
        nearby[f"/{rest}"] = f"leave the stage out: /{rest}"
    takes = {of: ", ".join(verb for verb in METHODS if routes.match(verb, of)) for of in nearby}
    fixes = [f"{said} takes {takes[of]}" for of, said in nearby.items() if takes[of]]
    fixes.append("manage.py rules lists the routes; paths are compared exactly, upper and lower case too")
    if method == "OPTIONS" and takes[path]:
        if origin is not None:
            found = f"a preflight, which needs no token; pages may come from {origin}"
            return Explanation(200, "API Gateway", None, [Step("API Gateway", "ok", "route", found)], [])
        fixes[0] += "; for a browser's preflight from another origin set CORS_ALLOWED_ORIGIN"
    step = Step("API Gateway", "NO", "route", f"app.py has no {method} on this path; nobody looks at the token")
    return Explanation(404, "API Gateway", None, [step], [f"Fix: {fixes[0]}"])


def _authorize(case: Case, keys: Sequence[Key]) -> tuple[Decision, Mapping[str, Any] | None]:
    """Return the authorizer's decision with these keys, and its answer if there is one."""
    given, wanted = case.fetched._replace(keys=keys), case.settings
    try:
        decision = authorizer.decide(case.authorization, case.row, case.table, given, wanted, case.now)
        caller = decision.caller if decision.outcome is not Outcome.UNAUTHORIZED else None
        return decision, authorizer.answer(caller, case.table, STAGE_ARN) if caller else None
    except Exception as error:  # noqa: BLE001  # whatever it is, the authorizer answers 500, and `why` says so
        return authorizer.failed(error, case.row), None


def _token_steps(decision: Decision, case: Case) -> Iterator[Step]:
    """Yield what the token says, and what is wanted: `ok` before the part that was refused, `-` behind it."""
    # Within that part the refused row alone has a verdict: the decision names no other.
    rules, token = case.settings, case.authorization.rpartition(" ")[2]
    audience, longest = " or ".join(rules.audiences), f"at most {rules.max_lifetime} s after iat"
    wanted = {"form": None, "alg": " or ".join(rules.algorithms), "typ": rules.token_type, "kid": None}
    wanted |= {"signature": None, "sub": None, "exp": longest if rules.max_lifetime else None, "nbf": None, "iat": None}
    wanted |= {"iss": rules.issuer, "aud": audience, rules.audience_claim: audience}
    shown, wanted = wanted.keys() - rules.claims, {**wanted, **rules.claims}

    # Without a key the guard comes to the signature if all before it is right.
    reached = _authorize(case, ())[0].reason is Reason.UNKNOWN_KEY
    signers = [key for key in case.fetched.keys if reached and _authorize(case, [key])[0].reason not in UNSIGNED]
    keys = ", ".join(dict.fromkeys(_named(key.id, case) for key in signers or case.fetched.keys))
    header, claims = minting.unverified(token)
    said = {row: header[row] for row in HEADER & header.keys()} | {row: claims[row] for row in claims.keys() - HEADER}
    found = {row: _value(row, value, case.now) if row in shown else "given" for row, value in said.items()}
    found |= {"form": f"{len(token)} bytes", "signature": f"signed with {keys}" if signers else keys}

    refused = decision.claim or ("form" if decision.reason in FORM else None)
    if decision.reason is Reason.BAD_SIGNATURE:
        refused = "signature"
    at = sum([refused != "form", reached, bool(signers), decision.caller is not None])
    parts = {**dict.fromkeys(wanted, 3), "form": 0, "alg": 1, "typ": 1, "kid": 2, "signature": 2}
    if refused:
        parts[refused] = at
    for row, part in sorted(parts.items(), key=lambda item: item[1]):
        verdict = "ok" if part < at else "-" if part > at else "NO" if row == refused else ""
        because = f"{decision.reason}: " if verdict == "NO" else ""
        against = f"; wanted: {wanted[row]}" if wanted.get(row) else ""
        unverified = "" if signers or row in {"form", "signature"} else " (unverified)"
        yield Step("Authorizer", verdict, row, f"{because}{found.get(row, 'not given')}{against}{unverified}")
    others = ", ".join(name(claim) for claim in claims if claim not in parts)
    yield Step("Authorizer", "", "other claims", others or "none")
    if decision.caller is not None:
        held = ", ".join(map(name, sorted(decision.caller.roles)))
        known = ", ".join(sorted(decision.caller.roles & case.table.roles))
        none = f"no role in the claim {name(rules.roles_claim)} (JWT_ROLES_CLAIM)"
        yield Step("Authorizer", "", "roles", f"{held or none}; in the table: {known or 'none'}")
    if not refused and decision.reason not in {None, Reason.NO_PERMISSION}:
        yield Step("Authorizer", "NO", "answer", f"{decision.reason}: {decision.detail or 'the token itself is valid'}")


def _named(key_id: str | None, case: Case) -> str:
    """Return what to call a key; never its value."""
    if case.settings.jwks_url is not None:
        return f"key {name(key_id)} of JWT_JWKS_URL"
    if case.settings.local_secret is not None:
        return "this machine's secret"
    label = "AWSCURRENT" if key_id == case.fetched.keys[0].id else "AWSPREVIOUS"
    return f"version {key_id} ({label}) of secret {case.settings.secret_id}"


def _value(row: str, value: object, now: float) -> str:
    if row not in {"exp", "nbf", "iat"}:
        return name(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_NUMERIC_DATE:
        return f"no date: {name(value)}"
    since = f"{timedelta(seconds=abs(int(value - now)))} {'ahead' if value > now else 'ago'}"
    return f"{datetime.fromtimestamp(int(value), UTC):%Y-%m-%d %H:%M:%S} UTC, {since}"


def advice(decision: Decision, case: Case) -> Iterator[str]:
    """Yield why it was refused, what to do, and what there is to say about this request."""
    reason, caller = decision.reason, decision.caller
    _, meaning, fix = NO_TOKEN if reason is None else TEXTS.get(reason, UNKNOWN)
    yield from (f"Why: {meaning}", f"Fix: {fix}")
    if reason in {Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE}:
        elsewhere = [*(f"--stage {other}" for other in case.other_stages), *(["without --stage"] if case.stage else [])]
        yield from (f"Here: if it was made elsewhere, try {option}" for option in elsewhere)
    elif reason is Reason.NO_PERMISSION and caller:
        known = {role.casefold(): role for role in sorted(case.table.roles)}
        for role in sorted(caller.roles - case.table.roles):
            for close in get_close_matches(role.casefold(), known, n=1):
                yield f"Here: {name(role)} is not {name(known[close])}: names are compared exactly"
    elif reason is Reason.REVOKED and caller:
        yield f"Here: {_about_the_list(caller.subject, case)}"
    elif reason is Reason.NOT_OWNER and caller:
        yield f"Here: the path is of {name(case.owner)}, the token of {name(caller.subject)}"
    if decision.outcome is Outcome.UNAUTHORIZED and reason is not Reason.NO_CALLER:
        yield f"Here: {_new_token(case)}"


def _about_the_list(subject: str, case: Case) -> str:
    own, of_all = case.fetched.revocations.subjects.get(subject, -1), case.fetched.revocations.everyone
    whose, options = f"tokens of {name(subject)}", ["--forget", subject]
    if own < of_all:
        whose, options = "everyone's tokens", ["--forget-everyone"]
    undo = shlex.join(["manage.py", "revoke", "--stage", case.stage or "STAGE", *options])
    return f"{whose} that were issued up to {revocation.moment(max(own, of_all))} are refused; {undo} takes it back"


def _new_token(case: Case) -> str:
    """Return where a token comes from that this route accepts."""
    if case.settings.jwks_url is not None:
        return f"tokens come from the identity provider {case.settings.issuer}"
    words = ["manage.py", "token", *(("--stage", case.stage) if case.stage else ())]
    if case.group >= OWNER:
        words += ["--sub", case.owner]
    elif may := sorted(case.group & case.table.roles):  # of those that may this, the role that may the least
        words += ["--role", min(may, key=lambda role: len(case.table.permitted({role})))]
    return f"a new token: {shlex.join(words)}"


def _row(group: frozenset[str]) -> str:
    """Return to whom a row of the table is open."""
    if group == PUBLIC:
        return "public: it needs no token, and no authorizer in app.py"
    whose = ["its owner, whose subject is {sub}"] if group >= OWNER else []
    return f"open to {', '.join([*sorted(group - OWNER), *whose])}" if group else "in no row of the table: closed"


def name(value: object) -> str:
    """Return a value in quotes, on one line and not too long."""
    shown = repr(value)  # what could be parsed is not nested too deeply for it
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
