"""The second check: a middleware in front of every view looks at caller, method and route of each request."""

# It closes what the gateway cannot: an answer in API Gateway's cache that outlives the token, `*` in a policy
# that crosses `/`, a resource policy that allows, a function that is invoked past the gateway.

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from chalice.app import Chalice, Request, Response

from chalicelib.guard import decision_log
from chalicelib.guard.access import OWNER, PUBLIC, Route, Table
from chalicelib.guard.decision import Caller, Decision, Outcome, Reason, from_context

# RFC 6750 section 3: never without a parameter, and without an error code where there was no credential at all.
_CHALLENGES: Mapping[Reason | None, str] = {Reason.NO_CALLER: 'realm="api"', Reason.EXPIRED: 'error="invalid_token"'}


def decide(route: Route, authorizer: object, parameters: Mapping[str, str], table: Table, now: float) -> Decision:
    """Return what a request is answered. `authorizer` is requestContext.authorizer, `parameters` the path's. Pure."""
    group = table.rules.get(route, frozenset())
    if group == PUBLIC:
        return Decision(Outcome.ALLOW, route=route)
    try:
        caller = from_context(authorizer)
    except (ValueError, RecursionError):  # RecursionError: nested JSON
        return Decision(Outcome.UNAUTHORIZED, Reason.NO_CALLER, route=route)
    if now >= caller.expires_at:
        return Decision(Outcome.UNAUTHORIZED, Reason.EXPIRED, caller, route)
    # No context makes its caller an owner: the path does.
    if not group & (caller.roles - OWNER) and not (group & OWNER and _owns(caller.subject, parameters.get("sub", ""))):
        return Decision(Outcome.DENY, Reason.NOT_OWNER if group & OWNER else Reason.NO_PERMISSION, caller, route)
    return Decision(Outcome.ALLOW, None, caller, route)


def _owns(subject: str, encoded: str) -> bool:
    # REST APIs hand over path parameters percent-encoded. A path cannot carry `.`, `..` or a slash within a segment.
    return unquote(encoded, errors="surrogateescape") == subject and subject not in {".", ".."} and "/" not in subject


def check(request: Request | None, get_response: Callable[[Request], Response], app: Chalice, table: Table) -> Response:
    """Pass the request to its view, or answer 401 or 403."""
    since, entry = time.perf_counter(), request and app.routes.get(request.path, {}).get(request.method)
    if request is None:  # an event that API Gateway never sends: Chalice found no route in it
        decision, request_id = Decision(Outcome.UNAUTHORIZED, Reason.NO_CALLER), None
    elif entry is None:
        return get_response(request)  # there is no view to guard: Chalice answers 405
    else:
        parameters, authorizer = request.uri_params or {}, request.context.get("authorizer")
        decision = decide((request.method, request.path), authorizer, parameters, table, time.time())
        request_id = request.context.get("requestId")
    decision_log.write("middleware", decision, since, table.roles, request_id)
    if request is not None and decision.outcome is Outcome.ALLOW:
        request._caller = decision.caller  # type: ignore[attr-defined]  # the underscore keeps it out of to_dict()
        return get_response(request)
    status, message = (403, "Forbidden") if decision.outcome is Outcome.DENY else (401, "Unauthorized")
    challenge = _CHALLENGES.get(decision.reason, 'error="insufficient_scope"')
    headers: dict[str, Any] = {"WWW-Authenticate": f"Bearer {challenge}"}
    if entry and entry.cors:  # Chalice adds them to what a view answers, but not to what a middleware does
        headers |= entry.cors.get_access_control_headers()
    return Response({"message": message}, headers, status)


def caller_of(request: Request | None) -> Caller:
    """Return the caller of a guarded request; LookupError on a public route, where there is none."""
    caller = getattr(request, "_caller", None)
    if not isinstance(caller, Caller):
        raise LookupError("this request has no caller: the table says that its route is public")
    return caller
