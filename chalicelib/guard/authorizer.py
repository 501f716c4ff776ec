"""The Lambda authorizer: an `Authorization` header becomes what API Gateway is answered."""

import json
import time
from functools import cached_property, lru_cache, partial
from typing import Any

from chalice.app import AuthRequest

from chalicelib.guard import decision_log, policy
from chalicelib.guard.access import Route, Table
from chalicelib.guard.caller import Caller, to_context
from chalicelib.guard.decision import Decision, Failure, Outcome, Reason
from chalicelib.guard.keys import sources
from chalicelib.guard.keys.cache import CachedKeys, KeySet, described
from chalicelib.guard.settings import Settings, allowed_origin, from_environment
from chalicelib.guard.tokens import InvalidToken, verify

try:
    from chalice.local import LocalGatewayException
except ImportError:  # Lambda has only Chalice's runtime; there any exception will do
    LocalGatewayException = Exception  # type: ignore[misc, assignment]  # a base class only


class AuthorizerError(LocalGatewayException):
    """What API Gateway answers instead of a policy: 401 if the text is exactly `Unauthorized`, else 500."""

    def __init__(self, code: int, text: str, headers: dict[str, str]) -> None:
        self.CODE, self.text, origin = code, text, allowed_origin()
        headers |= {"Access-Control-Allow-Origin": origin} if origin else {}
        # For `chalice local`; on AWS the gateway responses of the API answer.
        super().__init__(headers, json.dumps({"message": text}, separators=(",", ":")).encode())

    def __str__(self) -> str:
        return self.text


class AnswerTooLarge(Failure):
    """API Gateway would not take the answer; `manage.py deploy` checks that no caller gets such a one."""

    reason = Reason.ANSWER_TOO_LARGE


class Authorizer:
    """Answers API Gateway for one table. Settings and keys are read at the first use, and kept."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @cached_property
    def _source(self) -> tuple[Settings, CachedKeys]:
        settings = from_environment()
        fetch = partial(sources.fetch, settings)
        return settings, CachedKeys(fetch, settings.key_ttl, settings.key_max_stale)

    def prepare(self) -> None:
        """Do what every first request needs while the function starts, when Lambda gives it its full processor."""
        for role in self.table.roles:
            _granted(self.table, frozenset({role}))
        try:
            self._source[1].current()
        except Exception:  # noqa: BLE001  # an import that fails would hide it from the decision log
            vars(self).pop("_source", None)  # so that the first request asks again, and logs what failed

    def authorize(self, request: AuthRequest) -> dict[str, Any]:
        """Return what API Gateway is answered: the caller and a policy for the whole API; or raise AuthorizerError."""
        since, route, answered = time.perf_counter(), None, None
        try:
            stage_arn, method, path = policy.parse_method_arn(request.method_arn)
            route = self.table.match(method, path)
            decision = self._decide(request.token, route)
            if decision.caller is not None and decision.outcome is not Outcome.UNAUTHORIZED:
                answered = answer(decision.caller, self.table, stage_arn)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must become a 500 and never an Allow or a Deny
            decision = failed(error, route)
        decision_log.write("authorizer", decision, since, self.table.roles)
        # Neither error carries its cause, which Lambda would log. API Gateway caches no 401 and no 500.
        if decision.outcome is Outcome.UNAUTHORIZED:
            raise AuthorizerError(401, "Unauthorized", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if answered is None:
            raise AuthorizerError(500, "Internal Server Error", {})
        return answered

    def _decide(self, header: str, route: Route | None) -> Decision:
        # On an unknown key or bad signature, refresh once (rate-limited) and retry.
        wanted, keys = self._source
        decision = decide(header, route, self.table, keys.current(), wanted, time.time())
        if decision.reason in (Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE) and (fresh := keys.refreshed()):
            return decide(header, route, self.table, fresh, wanted, time.time())
        return decision


def decide(header: str, route: Route | None, table: Table, keys: KeySet, wanted: Settings, now: float) -> Decision:
    """Return what an `Authorization` header is answered, and what that means for the route that was asked for. Pure."""
    about = partial(Decision, route=route, keys_age=keys.age, detail=keys.failure)
    try:
        caller = verify(header, keys.keys, wanted, now)
    except InvalidToken as refused:
        return about(Outcome.UNAUTHORIZED, refused.reason, claim=refused.claim, kid=refused.unverified_kid)
    about = partial(about, caller=caller, kid=caller.key_id)
    if keys.revocations.refuse(caller.subject, caller.issued_at):
        return about(Outcome.UNAUTHORIZED, Reason.REVOKED)
    if route in _granted(table, caller.roles & table.roles)[0]:
        return about(Outcome.ALLOW)
    return about(Outcome.DENY, Reason.NO_PERMISSION)


def answer(caller: Caller, table: Table, stage_arn: str) -> dict[str, Any]:
    """Return the caller and a policy for the whole API; raise AnswerTooLarge. Pure."""
    _, patterns, policy_bytes = _granted(table, caller.roles & table.roles)
    answered, arns = to_context(caller, table.roles), len(patterns.allow) + len(patterns.deny)
    if len(json.dumps(answered)) + policy_bytes + arns * len(stage_arn) > policy.MAX_ANSWER_BYTES:
        raise AnswerTooLarge("API Gateway takes 8 KB: manage.py deploy says which roles need more.")
    return answered | {"policyDocument": policy.document(stage_arn, patterns)}


# The table knows few roles, and tokens repeat the same sets of them.
@lru_cache(maxsize=256)
def _granted(table: Table, known_roles: frozenset[str]) -> tuple[frozenset[Route], policy.Patterns, int]:
    permitted = table.permitted(known_roles)
    patterns = policy.patterns(permitted, table.rules)
    # The policy's bytes as JSON without the stage's ARNs; its braces are the comma that joins it to the context.
    return permitted, patterns, len(json.dumps({"policyDocument": policy.document("", patterns)}))


def failed(error: Exception, route: Route | None) -> Decision:
    """Return the decision that this error of ours makes."""
    reason = error.reason if isinstance(error, Failure) else Reason.UNEXPECTED
    return Decision(Outcome.ERROR, reason, None, route, detail=described(error))
