"""Who may call what: the mechanics of the table. The rows themselves are the application's (`chalicelib/rules.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

Route = tuple[str, str]  # HTTP method, route template as in @app.route
Rules = Mapping[Route, frozenset[str]]

#: The methods that API Gateway takes, in the upper case that it puts into ARNs.
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

#: The row of a route that needs no token. No role can have this name, so it can never be granted by a claim.
PUBLIC: Final = frozenset({"(public)"})
#: In a row beside roles: the caller whose subject is the path parameter `sub`. No role can have this name either.
OWNER: Final = frozenset({"(owner)"})


class Table:
    """The rules, and the roles that they name."""

    def __init__(self, rules: Rules) -> None:
        self.rules: Rules = MappingProxyType(dict(rules))
        self.roles = frozenset[str]().union(*rules.values()) - PUBLIC - OWNER

    def permitted(self, roles: Iterable[str]) -> frozenset[Route]:
        """Return the guarded routes that a caller with these roles may call. Names are compared exactly.

        A row with OWNER is among them for every caller, with or without roles: the middleware compares the subject.
        """
        held = frozenset(roles) & self.roles | OWNER
        return frozenset(route for route, group in self.rules.items() if group & held)
