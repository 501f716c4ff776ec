"""Permitted routes become the IAM policy that an authorizer answers with. Pure."""

# The policy covers the whole API: API Gateway caches it for the token, not for the route that was asked for,
# and evaluates it again for every request. It limits the answer to 8 KB, so routes share a wildcard where that
# matches no other route.
#
# A pattern is `METHOD/path` with `*` for each parameter: what follows the stage in an ARN. `*` also crosses `/`.

import re
from collections.abc import Callable, Collection
from itertools import groupby, takewhile
from typing import Any, Final, NamedTuple

from chalicelib.guard.access import Route

#: The longest answer of the authorizer, as JSON. API Gateway takes 8 KB.
MAX_ANSWER_BYTES: Final = 8000

# arn:partition:execute-api:region:account:api/stage/METHOD/path. Account and API id are any text: an emulator writes
# words there. Never IAM's wildcards, because all of it up to the stage goes into the policy.
_METHOD_ARN = re.compile(r"(arn:[a-z0-9-]+:execute-api:[a-z0-9-]*:[^/:*?]*:[^/:*?]+/[^/:*?]+)/(\w+)/(.*)", re.DOTALL)


class Patterns(NamedTuple):
    """What a policy allows and denies, for any stage. A value that callers can share: nobody can change it."""

    allow: tuple[str, ...]
    deny: tuple[str, ...]


def parse_method_arn(method_arn: str) -> tuple[str, str, str]:
    """Return the stage's ARN, the method and the path of the request; ValueError where it is none."""
    match = _METHOD_ARN.fullmatch(method_arn)
    if match is None:
        raise ValueError("the method ARN does not fit arn:partition:execute-api:region:account:api/stage/METHOD/path")
    return match[1], match[2], "/" + match[3].lstrip("/")


def document(stage_arn: str, patterns: Patterns) -> dict[str, Any]:
    """Return the policy for one stage, made for this call alone."""
    # `Resource` is always a list: `chalice local` would read a string character by character. IAM refuses an empty one.
    statements = [
        {"Action": "execute-api:Invoke", "Effect": effect, "Resource": [f"{stage_arn}/{pattern}" for pattern in found]}
        for effect, found in (("Allow", patterns.allow), ("Deny", patterns.deny))
        if found
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def patterns(permitted: frozenset[Route], routes: Collection[Route]) -> Patterns:
    """Return the patterns for a caller who may call `permitted` and nothing else of `routes`, all that the API has."""
    # A public route counts as closed: API Gateway asks for no policy there.
    if not permitted:
        return Patterns((), ("*",))
    open_, closed = sorted(map(own_pattern, permitted)), sorted(map(own_pattern, set(routes) - permitted))
    # Denied explicitly: a resource policy's Allow would override an implicit deny. For what has no row there is the
    # middleware.
    methods = {method for method, _ in permitted}
    deny = sorted({f"{method}/*" for method, _ in routes if method not in methods})
    # Without a Deny that would refuse permitted requests: the middleware refuses what is left open here.
    for pattern in _cover([pattern for pattern in closed if pattern.split("/")[0] in methods], open_):
        deny += [pattern] * (not any(_goes_before(other, pattern) for other in filter(_meets(pattern), open_)))
    return Patterns(_needed(_cover(open_, closed)), _needed(deny))


def own_pattern(route: Route) -> str:
    """Return the pattern of one route. A method ARN holds the real path, so a parameter becomes `*`."""
    return route[0] + re.sub(r"{[^/]+}", "*", route[1])


def prefixes(wanted: list[str], others: list[str]) -> list[str]:
    """Return patterns for all of `wanted`, a sorted list: `prefix/*` where that matches none of the others."""
    columns = map(set, zip(*(re.findall("[^/]*/", pattern) for pattern in wanted), strict=False))
    shared = [column.pop() for column in takewhile(lambda its: len(its) == 1, columns)]
    wide = "".join([*shared, "*"])
    if len(wanted) < 2:
        return wanted
    if shared and not any(map(_meets(wide), others)):
        return [wide]  # the narrowest that covers all
    groups = groupby(wanted, lambda pattern: re.findall("[^/]+/?", pattern)[: len(shared) + 1])
    return [found for _, group in groups for found in prefixes([*group], others)]


def _cover(wanted: list[str], others: list[str]) -> list[str]:
    # Return few patterns that match all of `wanted` and, beyond what these match themselves, none of the others.
    found = prefixes(wanted, others)
    # Never `*/*`: no pattern is for every method and every path.
    for path in sorted({pattern.partition("/")[2] for pattern in found} - {"*"}):
        inside = set(filter(_includes(f"*/{path}"), found))
        if len(inside) > 1 and not any(map(_meets(f"*/{path}"), others)):
            found = [f"*/{path}", *(pattern for pattern in found if pattern not in inside)]
    return found


def _needed(found: list[str]) -> tuple[str, ...]:
    # Return the patterns that no other one includes.
    for wide in [pattern for pattern in found if "*" in pattern]:
        inside = {*filter(_includes(wide), found)} - {wide}
        found = [pattern for pattern in found if pattern not in inside]
    # `chalice local` writes the root's method ARN with two slashes.
    return (*found, *(f"{pattern}/" for pattern in found if pattern.endswith("/")))


def _includes(pattern: str) -> Callable[[str], object]:
    # Return a test of another pattern: does this one match every path that the other does?
    return re.compile(re.escape(pattern).replace(r"\*", ".*")).fullmatch


def _meets(pattern: str) -> Callable[[str], object]:
    # Return a test of another pattern: is there a path that both match? A parameter there may have any value.
    parts = (".*" if part == "*" else rf"(?:{re.escape(part)}|\*)" if part else "" for part in pattern.split("/"))
    return re.compile("/".join(parts)).fullmatch


def _goes_before(route: str, pattern: str) -> bool:
    # Whether API Gateway sends to this route requests that the pattern of another route matches as well.
    # It prefers the literal segment from the left, so of two templates of one length the smaller one goes before:
    # `{` sorts after every literal. Where the lengths differ, `*` has crossed `/`: the request is of the other length.
    this, own = route.replace("*", "{"), pattern.replace("*", "{")
    return this.count("/") != own.count("/") or this < own
