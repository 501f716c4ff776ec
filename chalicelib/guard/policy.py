"""Permitted routes become the IAM policy that an authorizer answers with.

Pure. The policy covers the whole API: API Gateway keeps it for the token, not for the route that was asked
for, and evaluates it again for every request. Routes are covered by as few patterns as say nothing more among
the routes that exist, because API Gateway bounds the answer.

A pattern is `METHOD/path` with `*` for each parameter: what follows the stage in an ARN. `*` also crosses `/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from chalicelib.guard.access import METHODS, Route

# arn:partition:execute-api:region:account:api/stage/METHOD/path
_STAGE_ARN = re.compile(r"(arn:[a-z0-9-]+:execute-api:[a-z0-9-]*:\d*:[A-Za-z0-9]+/[^/:*?]+)/(\w+)/(.*)", re.DOTALL)


def parse_method_arn(method_arn: str) -> tuple[str, str, str]:
    """Return the stage's ARN, the method and the path of the request; ValueError where it is none."""
    match = _STAGE_ARN.fullmatch(method_arn)
    if match is None:
        raise ValueError("the method ARN does not fit arn:partition:execute-api:region:account:api/stage/METHOD/path")
    return match[1], match[2], "/" + match[3].lstrip("/")


MAX_ANSWER_BYTES = 8000
Patterns = tuple[tuple[str, ...], tuple[str, ...]]


def patterns(permitted: frozenset[Route], routes: Iterable[Route]) -> Patterns:
    if not permitted:
        return (), ("*",)
    open_, closed = sorted(map(_pattern, permitted)), sorted(map(_pattern, set(routes) - permitted))
    methods = {method for method, _ in permitted}
    allow = _cover(open_, closed)
    deny = [f"{method}/*" for method in METHODS if method not in methods]
    for pattern in _cover([pattern for pattern in closed if pattern.split("/")[0] in methods], open_):
        if not any(_takes_from(pattern, other) for other in _taken(pattern, open_)):
            deny.append(pattern)
    return tuple(_arns("", allow)), tuple(_arns("", deny))


def document(stage_arn: str, patterns: Patterns) -> dict[str, Any]:
    allow, deny = ([f"{stage_arn}/{p}" for p in ps] for ps in patterns)
    return _document(_statement("Allow", allow), _statement("Deny", deny))


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    # Without a statement that names nothing: IAM takes none.
    return {"Version": "2012-10-17", "Statement": [found for found in statements if found["Resource"]]}


def _statement(effect: str, resources: list[str]) -> dict[str, Any]:
    # `Resource` is always a list: `chalice local` would read a string character by character.
    return {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resources}


def _arns(stage_arn: str, patterns: list[str]) -> list[str]:
    # `chalice local` writes the root's method ARN with two slashes.
    needed = [p for p in patterns if not any(other != p and _contains(other, p) for other in patterns)]
    twice = (f"{pattern}/" for pattern in needed if pattern.endswith("/"))
    return [*needed, *twice]


def _pattern(route: Route) -> str:
    # A method ARN holds the real path, so a parameter becomes `*`.
    return route[0] + re.sub(r"{[^/]+}", "*", route[1])


def _cover(wanted: list[str], others: list[str]) -> list[str]:
    """Return patterns that take all of `wanted` and, beyond what these take by themselves, nothing of `others`.

    Greedy, the widest first; each pattern that is wider than one of `wanted` is held against all of `others`.
    """
    found: list[str] = []
    for method in METHODS:
        found += _below(method, [pattern for pattern in wanted if pattern.startswith(f"{method}/")], others)
    for path in sorted({pattern.partition("/")[2] for pattern in found} - {"*"}, key=len):
        any_method = f"*/{path}"
        inside = [pattern for pattern in found if _contains(any_method, pattern)]
        if len(inside) > 1 and not _taken(any_method, others):
            found = [any_method, *(pattern for pattern in found if pattern not in inside)]
    return found


def _below(prefix: str, wanted: list[str], others: list[str]) -> list[str]:
    """Return patterns for `wanted`, all of which begin with `prefix`: all below it in one, or part by part."""
    if len(wanted) < 2:
        return wanted
    parts: dict[str, list[str]] = {}
    for pattern in wanted:
        part = pattern[len(prefix) + 1 :].split("/")[0]
        parts.setdefault(f"{prefix}/{part}", []).append(pattern)
    taken = _taken(f"{prefix}/*", others)
    if not taken and (len(parts) > 1 or not parts.keys().isdisjoint(wanted)):
        return [f"{prefix}/*"]
    found = []
    for part, its in parts.items():
        found += [part] if part in its else []
        found += _below(part, [pattern for pattern in its if pattern != part], taken)
    return found


def _contains(pattern: str, other: str) -> bool:
    """Whether `pattern` takes all that `other` takes."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), other) is not None


def _taken(pattern: str, others: list[str]) -> list[str]:
    """Return those of the others of which `pattern` takes some path: a parameter may have any value."""
    parts = (".*" if part == "*" else rf"(?:{re.escape(part)}|\*)" if part else "" for part in pattern.split("/"))
    return re.findall(f"^{'/'.join(parts)}$", "\n".join(others), re.MULTILINE)


def _takes_from(pattern: str, other: str) -> bool:
    """Whether a pattern that takes some path of another takes requests that API Gateway sends to that one.

    It prefers the literal segment from the left, so where a route's own pattern is as long as the other, paths
    that both take are the route's whose template is the smaller one; `{` sorts behind every literal.
    """
    ours, theirs = pattern.replace("*", "{"), other.replace("*", "{")
    return ours.count("/") != theirs.count("/") or ours > theirs
