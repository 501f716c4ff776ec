"""The table's mechanics: what roles permit, and which row a request meets. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

Route = tuple[str, str]  # HTTP method, route template as in @app.route
Rules = Mapping[Route, frozenset[str]]

#: The row of a route that needs no token. No role can have this name, so no claim can grant it.
PUBLIC: Final = frozenset({"(public)"})
#: In a row beside roles: the caller whose subject is the path's {sub}. Middleware decides; no policy holds a subject.
OWNER: Final = frozenset({"(owner)"})
#: The methods that API Gateway takes, in the upper case that it puts into ARNs.
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

# API Gateway's alphabet for a path segment, or one whole-segment parameter as Chalice reads it. It keeps the
# policy wildcards `*` and `?` out of ARNs.
_TEMPLATE = re.compile(r"/|(/([A-Za-z0-9._:-]+|\{\w+\}))+", re.ASCII)
_ROLE = re.compile(r"[A-Za-z0-9._:/-]+")  # no space: roles travel joined by one


class TableError(Exception):
    """The table is wrong. The text has a sentence for each fault."""


class Table:
    """The rules, read-only, and `roles`, every role that they name; TableError for a table that is wrong."""

    def __init__(self, rules: Rules) -> None:
        if wrong := " ".join(_faults(rules)):
            raise TableError(wrong)
        self.rules = MappingProxyType(dict(rules))
        self.roles = frozenset[str]().union(*rules.values()) - PUBLIC - OWNER
        # The rows by method and segments, where None is a parameter, and which segments are parameters: a thousand
        # rows have but a few such shapes. API Gateway prefers a literal segment, from the left; so they sort.
        parts = {route: [None if part.startswith("{") else part for part in route[1].split("/")] for route in rules}
        self._rows = {(route[0], *its): route for route, its in parts.items()}
        self._shapes = sorted({tuple(part is None for part in its) for its in parts.values()})

    def permitted(self, roles: Iterable[str]) -> frozenset[Route]:
        """Return what the gateway lets a caller with these roles call: with OWNER, any caller. Compares exactly."""
        held = frozenset(roles) - PUBLIC | OWNER
        return frozenset(route for route, group in self.rules.items() if group & held)

    def match(self, method: str, path: str) -> Route | None:
        """Return the row that a request for this path meets, or None."""
        parts = path.split("/")
        if row := self._rows.get((method, *parts)):  # one without parameters goes before all others
            return row
        shapes = (zip(shape, parts, strict=True) for shape in self._shapes if len(shape) == len(parts))
        wanted = ((None if free and part else part for free, part in shape) for shape in shapes)
        return next(filter(None, (self._rows.get((method, *its)) for its in wanted)), None)


def _faults(rules: Rules) -> Iterator[str]:
    paths: dict[Route, str] = {}
    for (method, template), group in rules.items():
        parameters = re.findall(r"\{(\w+)\}", template)
        first = paths.setdefault((method, re.sub(r"\{\w+\}", "{}", template)), template)
        named = group if isinstance(group, frozenset) else frozenset()
        roles = sorted(named - OWNER, key=str) if named != PUBLIC else []
        odd = ", ".join(repr(role) for role in roles if not (isinstance(role, str) and _ROLE.fullmatch(role)))
        faults = {
            f"can never match: the method must be one of {', '.join(METHODS)}": method not in METHODS,
            "can never match: write /part/{name} in letters, digits, . _ : and -": not _TEMPLATE.fullmatch(template),
            f"can never match: {first} takes the same paths": first != template,
            "must name a frozenset of roles, or PUBLIC": not named,
            "names OWNER: its path must have exactly one parameter, {sub}": named & OWNER and parameters != ["sub"],
            f"names the role {odd}: a role has letters, digits and . _ : / - and nothing else": odd,
        }
        yield from (f"{method} {template} {fault}." for fault, found in faults.items() if found)
