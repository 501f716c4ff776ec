"""Permitted routes become the IAM policy that an authorizer answers with.

Pure. The policy covers the whole API: API Gateway keeps it for the token, not for the route that was asked
for, and evaluates it again for every request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from chalicelib.rules import METHODS, Route

# arn:partition:execute-api:region:account:api/stage/METHOD/path
_STAGE_ARN = re.compile(r"(arn:[a-z0-9-]+:execute-api:[a-z0-9-]*:\d*:[A-Za-z0-9]+/[^/:*?]+)/(\w+)/(.*)", re.DOTALL)


def parse_method_arn(method_arn: str) -> tuple[str, str, str]:
    """Return the stage's ARN, the method and the path of the request; ValueError where it is none."""
    match = _STAGE_ARN.fullmatch(method_arn)
    if match is None:
        raise ValueError("the method ARN does not fit arn:partition:execute-api:region:account:api/stage/METHOD/path")
    return match[1], match[2], "/" + match[3].lstrip("/")


def policy_document(stage_arn: str, permitted: frozenset[Route], guarded: Iterable[Route]) -> dict[str, Any]:
    """Return the policy of a caller who may call `permitted` and nothing else of `guarded`.

    What is not allowed is denied in so many words: a resource policy that allows the API would otherwise
    turn an implicit deny into an allow.
    """
    allowed = [arn for route in sorted(permitted) for arn in _arns(stage_arn, route)]
    if not allowed:
        return _document(_statement("Deny", [f"{stage_arn}/*"]))
    open_methods = {method for method, _ in permitted}
    denied = [f"{stage_arn}/{method}/*" for method in METHODS if method not in open_methods]
    for route in sorted(set(guarded) - permitted):
        if route[0] in open_methods and not any(_takes_from(route, other) for other in permitted):
            denied += _arns(stage_arn, route)
    return _document(_statement("Allow", allowed), _statement("Deny", denied))


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statement(effect: str, resources: list[str]) -> dict[str, Any]:
    # `Resource` is always a list: `chalice local` would read a string character by character.
    return {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resources}


def _arns(stage_arn: str, route: Route) -> list[str]:
    method, template = route
    if template == "/":
        # `chalice local` writes the root's method ARN with two slashes.
        return [f"{stage_arn}/{method}/", f"{stage_arn}/{method}//"]
    # A method ARN holds the real path, so a parameter becomes `*`.
    return [f"{stage_arn}/{method}{re.sub(r'{[^/]+}', '*', template)}"]


def _takes_from(denied: Route, permitted: Route) -> bool:
    """Whether a Deny of one route would also hit requests that API Gateway sends to the other.

    `*` in a policy also crosses `/`. Where the Deny would take too much it is left out, and the handler lock
    closes what another Allow or a resource policy opens.
    """
    if denied[0] != permitted[0]:
        return False
    ours, theirs = denied[1].split("/"), permitted[1].split("/")
    if len(ours) == len(theirs) and denied[1] < permitted[1]:
        return False  # API Gateway prefers the literal segment, and so the denied route, for what both take
    return _covers(ours, theirs)


def _covers(pattern: list[str], template: list[str]) -> bool:
    """Whether `pattern`, its parameters read as `*`, matches some path of `template`."""
    if not pattern or not template:
        return not pattern and not template
    star = pattern[0].startswith("{")
    if not (star or template[0].startswith("{") or pattern[0] == template[0]):
        return False
    return _covers(pattern[1:], template[1:]) or (star and _covers(pattern, template[1:]))
