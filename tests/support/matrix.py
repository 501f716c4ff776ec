"""Every row of a table, for every role, tried on an app: what must be allowed and what must be refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalice.app import Chalice

from chalicelib.guard import OWNER, PUBLIC, Rules
from tests.support.client import AsCaller

SUBJECT = "alice"


@dataclass(frozen=True)
class Case:
    """A request and its status: `roles` None is a request without a token."""

    method: str
    path: str
    template: str
    roles: tuple[str, ...] | None
    status: int

    def __str__(self) -> str:
        who = "nobody" if self.roles is None else "+".join(self.roles) or "no role"
        return f"{self.method} {self.path} as {who} is {self.status}"


def cases(rules: Rules) -> list[Case]:
    """Return each route for each role, for no role and for no token; an owner's route for another's subject too."""
    found: list[Case] = []
    roles = sorted(frozenset[str]().union(*rules.values()) - PUBLIC - OWNER)
    for (method, template), group in rules.items():
        for subject in (SUBJECT, "somebody-else") if OWNER & group else ("1",):
            path = re.sub(r"\{\w+\}", subject, template)
            for held in (None, (), *((role,) for role in roles)):
                owns = bool(OWNER & group) and subject == SUBJECT
                allowed = group == PUBLIC or (held is not None and (owns or bool(group & set(held))))
                status = 200 if allowed else 401 if held is None else 403
                found.append(Case(method, path, template, held, status))
    return found


def without_views(app: Chalice) -> Chalice:
    """Give every route a view that does nothing: what a view does is not tested here."""
    for methods in app.routes.values():
        for entry in methods.values():
            entry.view_function = _nothing
    return app


def _nothing(**_parameters: str) -> dict[str, Any]:
    return {}


def status_of(case: Case, app: Chalice, as_caller: Callable[..., AsCaller]) -> int:
    """Return what this app answers to the case's request, in the media type that its route takes."""
    caller = as_caller(*case.roles, subject=SUBJECT) if case.roles is not None else as_caller(None)
    accepted = app.routes[case.template][case.method].content_types
    media_type = accepted[0] if accepted else "application/json"
    return int(caller.request(case.method, case.path, body={}, **{"Content-Type": media_type}).status_code)
