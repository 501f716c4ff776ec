"""The Lambda authorizer: an `Authorization` header becomes what API Gateway is answered."""

import json
from functools import lru_cache
from typing import Any

from chalicelib.guard import policy
from chalicelib.guard.access import Route, Table
from chalicelib.guard.decision import Caller, Decision, Failure, Outcome, Reason, described, to_context
from chalicelib.guard.keys.source import KeySet
from chalicelib.guard.settings import ENVIRONMENT, Settings
from chalicelib.guard.tokens import InvalidToken, verify

try:
    from chalice.local import LocalGatewayException
except ImportError:  # Lambda has only Chalice's runtime; there any exception will do
    LocalGatewayException = Exception  # type: ignore[misc, assignment]  # a base class only


class AuthorizerError(LocalGatewayException):
    """What API Gateway answers instead of a policy: 401 if the text is exactly `Unauthorized`, else 500."""

    # What more it has is for `chalice local`; on AWS the gateway responses of the API answer.
    def __init__(self, text: str) -> None:
        self.CODE, origin = 401 if text == "Unauthorized" else 500, ENVIRONMENT.get("CORS_ALLOWED_ORIGIN")
        self.headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if self.CODE == 401 else {}
        self.headers |= {"Access-Control-Allow-Origin": origin} if origin else {}
        self.body = f'{{"message":"{text}"}}'.encode()


class AnswerTooLarge(Failure):
    """API Gateway would not take the answer; `manage.py deploy` checks that no caller gets such a one."""

    reason = Reason.ANSWER_TOO_LARGE


def decide(header: str, route: Route | None, table: Table, keys: KeySet, wanted: Settings, now: float) -> Decision:
    """Return what an `Authorization` header is answered, and what that means for the route that was asked for. Pure."""
    try:
        caller = verify(header, keys.keys, wanted, now)
    except InvalidToken as refused:
        about = refused.claim, keys.failure, refused.unverified_kid, keys.age
        return Decision(Outcome.UNAUTHORIZED, refused.reason, None, route, *about)
    known = caller, route, None, keys.failure, caller.key_id, keys.age
    if keys.revocations.refuse(caller.subject, caller.issued_at):
        return Decision(Outcome.UNAUTHORIZED, Reason.REVOKED, *known)
    if route in granted(table, caller.roles & table.roles)[0]:
        return Decision(Outcome.ALLOW, None, *known)
    return Decision(Outcome.DENY, Reason.NO_PERMISSION, *known)


def answer(caller: Caller, table: Table, stage_arn: str) -> dict[str, Any]:
    """Return the caller and a policy for the whole API; raise AnswerTooLarge. Pure."""
    _, patterns, policy_bytes = granted(table, caller.roles & table.roles)
    answered, arns = to_context(caller, table.roles), len(patterns.allow) + len(patterns.deny)
    room = policy.MAX_ANSWER_BYTES - policy_bytes - arns * len(stage_arn)
    # Beside roles and claims a context has fewer than 1,000 bytes: JSON makes a subject's 255 three times as many.
    close = caller.claims or room < len(answered["context"]["roles"]) + 1000
    if close and len(json.dumps(answered)) > room:
        raise AnswerTooLarge("API Gateway takes 8 KB: manage.py deploy says which roles need more.")
    return answered | {"policyDocument": policy.document(stage_arn, patterns)}


# The table knows few roles, and tokens repeat the same sets of them.
@lru_cache(maxsize=256)
def granted(table: Table, known_roles: frozenset[str]) -> tuple[frozenset[Route], policy.Patterns, int]:
    """Return what these roles permit, its patterns, and the bytes of a policy of them without its stage's ARNs."""
    permitted = table.permitted(known_roles)
    patterns = policy.patterns(permitted, table.rules)
    # The policy's bytes as JSON without the stage's ARNs; its braces are the comma that joins it to the context.
    return permitted, patterns, len(json.dumps({"policyDocument": policy.document("", patterns)}))


def failed(error: Exception, route: Route | None) -> Decision:
    """Return the decision that this error of ours makes."""
    reason = error.reason if isinstance(error, Failure) else Reason.UNEXPECTED
    return Decision(Outcome.ERROR, reason, None, route, detail=described(error))
