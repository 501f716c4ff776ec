"""Who may call what: the one table that both locks read. Edit the part between the lines.

Pure. A route that stands in no row is closed to everyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from chalicelib.guard.access import METHODS, OWNER, PUBLIC, Route, Table

__all__ = ["GROUPS", "METHODS", "OWNER", "PUBLIC", "ROLES", "RULES", "Route", "faults", "match", "permitted", "tree"]

# ---------------------------------------------------------------------------------------------------------
# Groups of roles: to add a role, write its name into each group that it belongs to.
READERS: Final = frozenset({"user", "admin"})
WRITERS: Final = frozenset({"admin"})

GROUPS: Final = (READERS, WRITERS)

RULES: Final[Mapping[Route, frozenset[str]]] = MappingProxyType(
    {
        ("GET", "/protected-resource"): READERS,
        ("POST", "/protected-resource"): WRITERS,
    }
)
# ---------------------------------------------------------------------------------------------------------

#: Every role that the table knows. A row that names any other is a mistake (`faults`).
ROLES: Final = frozenset[str]().union(*GROUPS)

# API Gateway's alphabet for a path segment, or one whole-segment parameter as Chalice reads it. It keeps the
# policy wildcards `*` and `?` out of ARNs.
_TEMPLATE = re.compile(r"/|(/([A-Za-z0-9._:-]+|\{\w+\}))+", re.ASCII)
_ROLE = re.compile(r"[A-Za-z0-9._:/-]+")  # no space: roles travel joined by one


def permitted(roles: Iterable[str], rules: Mapping[Route, frozenset[str]] = RULES) -> frozenset[Route]:
    """Return the guarded routes that a caller with these roles may call. Names are compared exactly."""
    return Table(rules).permitted(roles)


Tree = dict[str, Any]  # the next segment, `{` for a parameter, and what follows; under "" the row itself


def tree(rules: Mapping[Route, frozenset[str]] = RULES) -> Tree:
    """Return the rows by method and segments, so that `match` is as quick for a thousand as for ten."""
    root: Tree = {}
    for method, template in rules:
        node = root.setdefault(method, {})
        for part in template.split("/"):
            node = node.setdefault("{" if part.startswith("{") else f"/{part}", {})
        node[""] = (method, template)
    return root


_TREE: Final = tree()


def match(method: str, path: str, rows: Tree = _TREE) -> Route | None:
    """Return the row that a request for this path meets, or None.

    API Gateway prefers a literal segment to a parameter, from the left.
    """
    return _find(rows.get(method, {}), path.split("/"))


def _find(node: Tree, parts: list[str]) -> Route | None:
    if not parts:
        return node.get("")
    part, rest = parts[0], parts[1:]
    literal = _find(node[f"/{part}"], rest) if f"/{part}" in node else None
    return literal or (_find(node["{"], rest) if part and "{" in node else None)


def faults(
    declared: Mapping[Route, bool],
    rules: Mapping[Route, frozenset[str]] = RULES,
    roles: frozenset[str] = ROLES,
) -> list[str]:
    """Return a sentence for each mistake in the table; an empty list when it is sound.

    `declared` holds the routes of app.py, and whether `jwt_authorizer` guards each.
    """
    found = []
    for role in sorted(roles):
        if not _ROLE.fullmatch(role):
            found.append(f"Role {role!r}: a name is made of letters, digits and . _ : / - only.")
    shapes: dict[Route, Route] = {}
    for route, group in rules.items():
        method, template = route
        name = f"{method} {template}"
        if method not in METHODS:
            found.append(f"{name} can never match: the method must be one of {', '.join(METHODS)}.")
        if not _TEMPLATE.fullmatch(template):
            found.append(
                f"{name} can never match: write /part/{{name}}, with letters, digits and . _ : - in a part,"
                " no trailing slash, and a parameter as a whole part."
            )
        shape = (method, re.sub(r"\{\w+\}", "{}", template))
        if shapes.setdefault(shape, route) != route:
            found.append(f"{name} can never match: {shapes[shape][1]} takes the same paths.")
        if group != PUBLIC and not group:
            found.append(f"{name} is open to nobody: name a group of roles, or take the row out.")
        for role in sorted(group - roles) if group != PUBLIC else ():
            found.append(f"{name} names the unknown role {role!r}: put it into one of GROUPS, or mend the name.")
        if route not in declared:
            found.append(f"{name} stands in the table but app.py has no such route.")
        elif declared[route] and group == PUBLIC:
            found.append(f"{name} is PUBLIC in the table but app.py guards it: take authorizer= out, or name roles.")
        elif not declared[route] and group != PUBLIC:
            found.append(f"{name} needs a token but app.py does not guard it: add authorizer=jwt_authorizer.")
    for method, template in sorted(declared.keys() - rules.keys()):
        found.append(f"{method} {template} stands in app.py but in no row of the table, so it is closed.")
    return found
