"""The handler lock: a middleware in front of every view that checks caller, method and route once more.

It closes what the gateway cannot: an answer in API Gateway's cache that outlives the token, `*` in a policy
that crosses `/`, a resource policy that allows, a function that is invoked past the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from chalice.app import Request, Response

from chalicelib import rules
from chalicelib.guard import decision_log
from chalicelib.guard.caller import Caller, from_context
from chalicelib.guard.reason import Reason

# RFC 6750 section 3: never without a parameter, and without an error code where there was no credential at all.
_CHALLENGES = {
    Reason.NO_PERMISSION: 'Bearer error="insufficient_scope"',
    Reason.EXPIRED: 'Bearer error="invalid_token"',
    Reason.NO_CALLER: 'Bearer realm="api"',
}


def guard(
    routes: Mapping[str, Mapping[str, Any]],
    request: Request | None,
    get_response: Callable[[Request], Response],
    table: Mapping[rules.Route, frozenset[str]] = rules.RULES,
) -> Response:
    """Let the request through to its view, or answer 401 or 403 as the table says. `routes` are the app's."""
    since = decision_log.started()
    if request is None:  # an event that API Gateway never sends: Chalice found no route in it
        return _refuse(Reason.NO_CALLER, since)
    if request.method not in routes.get(request.path, {}):
        return get_response(request)  # there is no view to guard: Chalice answers 405
    route = (request.method, request.path)
    about: dict[str, Any] = {
        "method": request.method,
        "route": route,
        "request_id": request.context.get("requestId"),
    }
    group = table.get(route, frozenset())
    if group == rules.PUBLIC:
        decision_log.record("handler", "allow", since=since, **about)
        return get_response(request)
    try:
        caller = from_context(request.context.get("authorizer"))
    except ValueError:
        return _refuse(Reason.NO_CALLER, since, **about)
    about["caller"] = caller
    if time.time() >= caller.expires_at:
        return _refuse(Reason.EXPIRED, since, **about)
    if not group & caller.roles:
        return _refuse(Reason.NO_PERMISSION, since, **about)
    decision_log.record("handler", "allow", since=since, **about)
    request._caller = caller  # type: ignore[attr-defined]  # the underscore keeps it out of request.to_dict()
    return get_response(request)


def caller_of(request: Request | None) -> Caller:
    """Return the caller of a guarded request; LookupError on a public route, where there is none."""
    caller = getattr(request, "_caller", None)
    if not isinstance(caller, Caller):
        raise LookupError("this request has no caller: the table says that its route is public")
    return caller


def _refuse(reason: Reason, since: float, **about: Any) -> Response:
    outcome, status, message = "unauthorized", 401, "Unauthorized"
    if reason is Reason.NO_PERMISSION:
        outcome, status, message = "deny", 403, "Forbidden"
    decision_log.record("handler", outcome, since=since, reason=reason, **about)
    return Response({"message": message}, status_code=status, headers={"WWW-Authenticate": _CHALLENGES[reason]})
