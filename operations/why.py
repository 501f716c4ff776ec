"""Why a request is answered as it is: a walk through both locks.

Each verdict is the product's own: `tokens.verify`, the table, the policy that the gateway lock would answer with,
and the handler lock itself. What API Gateway does beside them is said here: it knows routes, reads the policy as
IAM does, and hands the context over as text.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalice.app import Request, Response

from chalicelib import rules
from chalicelib.guard import middleware, policy, settings, tokens
from chalicelib.guard.caller import Caller, to_context
from chalicelib.guard.keys import cache as keys
from chalicelib.guard.keys import sources
from chalicelib.guard.reason import Reason
from chalicelib.guard.settings import Settings
from operations import matrix, mends, minting, stage, token_checks
from operations.fault import Fault

#: Any stage will do: policy and request name the same one.
STAGE_ARN = "arn:aws:execute-api:eu-central-1:123456789012:api/stage"


@dataclass(frozen=True)
class Step:
    """`verdict` is `ok`, `NO`, `-` (not reached) or empty (a fact, nothing to judge)."""

    lock: str
    verdict: str
    name: str
    found: str


@dataclass(frozen=True)
class Explanation:
    """`status` is the answer's; 200 stands for whatever the view answers."""

    status: int
    by: str
    reason: Reason | None
    steps: Sequence[Step]
    mends: Sequence[str]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Judge:
    """The settings and keys, newest first, that a token is judged with; `stage` None: this machine's."""

    settings: Settings
    keys: Sequence[tokens.Key]
    stage: str | None = None
    other_stages: tuple[str, ...] = ()
    local_keys: Sequence[tokens.Key] = ()
    local_name: str = "AUTHORIZER_SECRET"
    notes: tuple[str, ...] = ()

    def named(self, key_id: str | None) -> str:
        """Return what to call a key; never its value."""
        if self.settings.jwks_url is not None:
            return f"key {mends.name(key_id)} of JWT_JWKS_URL"
        if self.settings.local_secret is not None:
            return f"this machine's secret ({self.local_name})"
        ids = list(dict.fromkeys(key.id for key in self.keys))
        label = ("AWSCURRENT", "AWSPREVIOUS")[min(ids.index(key_id), 1)]
        return f"version {key_id} ({label}) of secret {self.settings.secret_id}"


def judge(stage_name: str | None) -> Judge:
    """Return a stage's judge, or this machine's; Fault or KeysUnavailable where there is no key."""
    if stage_name is None:
        wanted = settings.current()
        where = "AUTHORIZER_SECRET" if wanted.local_secret else minting.LOCAL_SECRET.name
        if wanted.jwks_url is None:
            wanted = replace(wanted, local_secret=minting.local_secret(wanted, create=False))
        return Judge(wanted, sources.fetch(wanted), other_stages=stage.names(), local_name=where)
    chosen = stage.load(stage_name)
    with contextlib.redirect_stdout(io.StringIO()) as log:  # the decision log is not what was asked for
        found = sources.fetch(chosen.settings)
    notes = tuple(json.loads(line)["detail"] for line in log.getvalue().splitlines())
    others = tuple(other for other in stage.names() if other != stage_name)
    return Judge(chosen.settings, found, stage_name, others, _local_keys(), notes=notes)


def explain(authorization: str, method: str, path: str, judge: Judge, now: float) -> Explanation:
    """Return how a request with this Authorization header is answered; no header where it is empty."""
    declared = matrix.declared_routes()
    route = rules.match(method, path, rules.tree(dict.fromkeys(declared, rules.PUBLIC)))
    if route is None:
        return _without_route(method, path, judge)
    told = _through_both_locks(authorization, (method, path), route, judge, now, guarded=declared[route])
    return replace(told, notes=[*judge.notes, *(_about_the_cache() if declared[route] and authorization else ())])


def _about_the_cache() -> Iterator[str]:
    from app import AUTHORIZER_TTL  # here, as in matrix

    if AUTHORIZER_TTL:
        yield (
            f"API Gateway keeps the gateway lock's answer for a token for {AUTHORIZER_TTL} s: so long after a change of"
            " table, keys or settings it may still go by an older one (aws apigateway flush-stage-authorizers-cache)."
        )


def _through_both_locks(
    authorization: str, request: tuple[str, str], route: rules.Route, judge: Judge, now: float, *, guarded: bool
) -> Explanation:
    group = rules.RULES.get(route)
    open_to = "in no row of the table: closed" if group is None else f"open to {', '.join(sorted(group))}"
    steps = [Step("Route", "ok", "route", f"{route[0]} {route[1]}"), Step("Route", "", "row", open_to)]
    unverified = token_checks.peek(authorization)
    case = mends.Case(
        settings=judge.settings,
        header=unverified.header,
        claims=unverified.claims,
        roles=frozenset(),
        group=group,
        stage=judge.stage,
        other_stages=judge.other_stages,
        signed_locally=bool(token_checks.signers(authorization, judge.local_keys, judge.settings, now)),
    )
    context = None
    if guarded:
        if not authorization:
            steps.append(Step("API Gateway", "NO", "token", "none: it answers without asking the authorizer"))
            return Explanation(401, "API Gateway", None, steps, mends.no_token(case))
        reason, caller = _verified(authorization, judge, now)
        steps += _token_steps(authorization, judge, unverified, reason, now)
        if caller is None:
            return Explanation(401, "the gateway lock", reason, steps, mends.mend(reason or Reason.UNEXPECTED, case))
        case = replace(case, roles=caller.roles)
        answer = to_context(caller, rules.ROLES)
        document = policy.document(STAGE_ARN, policy.patterns(rules.permitted(caller.roles), rules.RULES))
        said = read_as_iam(document, f"{STAGE_ARN}/{''.join(request)}")
        steps += _permission_steps(caller, document, said)
        if said != "Allow":
            told = mends.mend(Reason.NO_PERMISSION, case)
            return Explanation(403, "API Gateway, by the gateway lock's policy", Reason.NO_PERMISSION, steps, told)
        # API Gateway hands the context over as text.
        values = {name: str(value) for name, value in answer["context"].items()}
        context = {"principalId": answer["principalId"], **values}
    else:
        steps.append(Step("API Gateway", "", "authorizer", "none in front of this route"))
    status, reason = _handler_lock(route, context)
    found = f"{status}, {reason}" if reason else "lets it through to the view"
    steps.append(Step("Handler lock", "NO" if reason else "ok", "caller and row", found))
    if reason:
        return Explanation(status, "the handler lock", reason, steps, mends.mend(reason, case))
    return Explanation(status, "the view", None, steps, [])


def read_as_iam(document: dict[str, Any], arn: str) -> str:
    """Return Allow, Deny or neither, as IAM reads a policy: a Deny beats an Allow; `*` crosses `/` as well."""
    effects = {
        statement["Effect"]
        for statement in document["Statement"]
        if any(_wildcards(resource).fullmatch(arn) for resource in statement["Resource"])
    }
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else "neither"


def _wildcards(resource: str) -> re.Pattern[str]:
    return re.compile(re.escape(resource).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _without_route(method: str, path: str, judge: Judge) -> Explanation:
    """API Gateway has no such method on such a path; it asks nobody."""
    routes = rules.tree(dict.fromkeys(matrix.declared_routes(), rules.PUBLIC))

    def methods(of: str) -> list[str]:
        return sorted(verb for verb in rules.METHODS if rules.match(verb, of, routes))

    there, prefix = methods(path), path[1:].partition("/")[0]
    if method == "OPTIONS" and there and judge.settings.allowed_origin is not None:
        found = f"a preflight, which needs no token; pages may come from {judge.settings.allowed_origin}"
        return Explanation(200, "API Gateway", None, [Step("API Gateway", "ok", "route", found)], [])
    if there:
        told = f"This path takes {', '.join(there)}."
        if method == "OPTIONS":
            told += " For pages of another origin set CORS_ALLOWED_ORIGIN: then it answers a browser's preflight."
    elif methods(path.rstrip("/")):
        # Whether API Gateway drops the slash is not documented; the ARN in the policy keeps it, so nothing opens.
        told = f"Without the slash at the end it takes {', '.join(methods(path.rstrip('/')))}; with it, 404 or 403."
    elif prefix in {judge.stage, *judge.other_stages, "api"} and methods(path[len(prefix) + 1 :] or "/"):
        told = f"Leave the stage out: PATH comes after it, {path[len(prefix) + 1 :] or '/'}."
    else:
        told = "manage.py rules lists the routes; paths are compared exactly, upper and lower case too."
    step = Step("API Gateway", "NO", "route", f"app.py has no {method} on this path; nobody looks at the token")
    return Explanation(404, "API Gateway", None, [step], [told])


def _verified(authorization: str, judge: Judge, now: float) -> tuple[Reason | None, Caller | None]:
    try:
        return None, tokens.verify(authorization, judge.keys, judge.settings.requirements, now)
    except tokens.InvalidToken as refusal:
        return refusal.reason, None


def _token_steps(
    authorization: str, judge: Judge, unverified: token_checks.Unverified, reason: Reason | None, now: float
) -> Iterator[Step]:
    """Yield a step a check, in the order that `verify` goes: before the refusal all is ok, behind it nothing is."""
    signers = token_checks.signers(authorization, judge.keys, judge.settings, now)
    if signers:
        signed = f"signed with {judge.named(signers[0].id)}"
    elif reason not in token_checks.REASONS["key"]:
        signed = "not tried"
    else:
        tried = [judge.named(key_id) for key_id in dict.fromkeys(key.id for key in judge.keys)]
        signed = f"none fits: {', '.join(tried)}"
    reached = True
    for check in token_checks.checks(unverified, judge.settings.requirements, signed, now):
        refused = reached and reason in check.reasons
        verdict = "NO" if refused else "ok" if reached else "-"
        label = "" if signers or check.name in {"shape", "key"} or not check.found else " (unverified)"
        because = f"{reason}: " if refused else ""
        yield Step("Gateway lock", verdict, check.name, because + check.found + label)
        reached = reached and not refused


def _permission_steps(caller: Caller, document: dict[str, Any], said: str) -> Iterator[Step]:
    known, unknown = sorted(caller.roles & rules.ROLES), sorted(caller.roles - rules.ROLES)
    roles = f"known to the table: {', '.join(known) or 'none'}"
    if unknown:
        roles += f"; unknown, granting nothing: {', '.join(map(mends.name, unknown))}"
    yield Step("Gateway lock", "", "roles", roles)
    for statement in document["Statement"]:
        resources = ", ".join(
            resource.removeprefix(f"{STAGE_ARN}/").replace("/", " /", 1) for resource in statement["Resource"]
        )
        yield Step("Gateway lock", "", "policy", f"{statement['Effect']} {resources}")
    meaning = "neither Allow nor Deny fits" if said == "neither" else f"{said} for this request"
    yield Step("API Gateway", "ok" if said == "Allow" else "NO", "policy as IAM", meaning)


def _handler_lock(route: rules.Route, authorizer: dict[str, str] | None) -> tuple[int, Reason | None]:
    """Ask the handler lock, with a view that does nothing in the place of the real one."""
    from app import app  # here, as in matrix

    request = Request(
        {
            "requestContext": {"httpMethod": route[0], "resourcePath": route[1], "authorizer": authorizer},
            "headers": {},
            "pathParameters": {},
            "multiValueQueryStringParameters": None,
            "stageVariables": None,
            "isBase64Encoded": False,
            "body": None,
        }
    )
    with contextlib.redirect_stdout(io.StringIO()) as log:
        answer = middleware.guard(app.routes, request, lambda _: Response("", status_code=200))
    code = json.loads(log.getvalue()).get("reason")
    return answer.status_code, None if code is None else Reason(code)


def _local_keys() -> Sequence[tokens.Key]:
    """Return the keys of this machine's local secret where there is one, to tell a token that it signed."""
    try:
        return judge(None).keys
    except (Fault, settings.SettingsError, keys.KeysUnavailable):
        return ()
