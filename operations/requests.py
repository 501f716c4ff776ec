"""The requests that show whether an API does what its table says. Pure: a table and examples in, requests out.

For each route: callers that may, one that may not, no token, and a token that was tampered with. A request that is
allowed and has an effect is only made where there is an example for it; refusals are always asked for.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal
from urllib.parse import quote, urlencode

from chalicelib.guard.access import OWNER, PUBLIC, Route, Table
from operations.fault import Fault

#: Methods that are not meant to change anything (RFC 9110 section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: A caller with a valid token and no role that the table knows; no role has an empty name.
NO_ROLE = ""
PLACEHOLDER = "1"
SOMEBODY_ELSE = "somebody-else"


class Due(StrEnum):
    """The status that an answer must have."""

    SUCCESS = "2xx"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    #: The guard lets it through; what the view says of a made-up path is its own business.
    ALLOWED = "not 401, 403 or 5xx"

    def met_by(self, status: int) -> bool:
        if self is Due.SUCCESS:
            return 200 <= status < 300
        if self is Due.ALLOWED:
            return status not in {401, 403} and status < 500
        return str(status) == self.value


@dataclass(frozen=True)
class Example:
    """What a request to a route needs to succeed: values of its path's parameters, a query, a body."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Request:
    """`caller` is a role, NO_ROLE, or None where there is no token. `whose`: on an OWNER's route, whose {sub} it is."""

    method: str
    template: str
    caller: str | None
    due: Due
    tampered: bool = False
    whose: Literal["", "own", "another's"] = ""
    example: Example = field(default_factory=Example)

    @property
    def is_allowed(self) -> bool:
        return self.due in {Due.SUCCESS, Due.ALLOWED}

    @property
    def who(self) -> str:
        if self.caller is None:
            return "no token"
        return ("tampered token of " if self.tampered else "") + (self.caller or "no role")

    def __str__(self) -> str:
        """Return the request in words."""
        return f"{self.method} {self.template}" + (f" ({self.whose})" if self.whose else "")

    def path(self, subject: str = "") -> str:
        """Return path and query; `subject` is the caller's."""
        values = dict(self.example.path)
        if self.whose == "own":
            values["sub"] = subject
        elif self.whose and values.get("sub", PLACEHOLDER) == subject:
            values["sub"] = SOMEBODY_ELSE
        path = re.sub(r"\{(\w+)\}", lambda found: quote(values.get(found[1], PLACEHOLDER), safe=""), self.template)
        return path + (f"?{urlencode(self.example.query, quote_via=quote)}" if self.example.query else "")

    def content(self) -> bytes | None:
        """Return the body. A request that must be refused has none: should it not be, the less comes of it."""
        if not self.is_allowed or self.example.body is None:
            return None
        text = self.example.body
        if not (isinstance(text, str) and self.example.content_type != "application/json"):
            text = json.dumps(text)
        return text.encode()

    def headers(self, token: str | None) -> dict[str, str]:
        headers = {} if token is None else {"Authorization": token}
        # Chalice compares the media type of each request that is no GET, body or not.
        return headers if self.method in SAFE else {**headers, "Content-Type": self.example.content_type}


def plan(table: Table, examples: Mapping[Route, Example]) -> tuple[list[Request], list[Request]]:
    """Return the requests to make, route by route, and those left out: they have an effect, and no example."""
    may = {route: sorted(group - OWNER)[:1] for route, group in table.rules.items()}
    for role in sorted(table.roles - {role for roles in may.values() for role in roles}):
        # So that each role is seen to be let in somewhere.
        its = [route for route, group in table.rules.items() if role in group]
        may[next((route for route in its if route[0] in SAFE or route in examples), its[0])].append(role)
    made = [request for route in table.rules for request in _of_route(table, route, may[route], examples.get(route))]
    left_out = [request for request in made if request.is_allowed and not _may_be_sent(request, examples)]
    return [request for request in made if request not in left_out], left_out


def _of_route(table: Table, route: Route, may: Sequence[str], example: Example | None) -> Iterator[Request]:
    group, given = table.rules[route], example or Example()
    due = Due.SUCCESS if example is not None or "{" not in route[1] else Due.ALLOWED
    if group == PUBLIC:
        yield Request(*route, None, due, example=given)
        return
    may_not = next(iter(sorted(table.roles - group)), NO_ROLE)
    another: Literal["", "another's"] = "another's" if group & OWNER else ""
    for role in may:
        yield Request(*route, role, due, whose=another, example=given)
    if group & OWNER:
        yield Request(*route, may_not, due, whose="own", example=given)
    yield Request(*route, may_not, Due.FORBIDDEN, whose=another, example=given)
    yield Request(*route, None, Due.UNAUTHORIZED, example=given)
    yield Request(*route, [*may, may_not][0], Due.UNAUTHORIZED, tampered=True, example=given)


def _may_be_sent(request: Request, examples: Mapping[Route, Example]) -> bool:
    return request.method in SAFE or (request.method, request.template) in examples


def callers(requests: Iterable[Request]) -> dict[str, str]:
    """Return who needs a token, and a shell variable's name for it: ADMIN_TOKEN for the role admin."""
    names: dict[str, str] = {}
    for caller in dict.fromkeys(request.caller for request in requests):
        if caller is not None:
            name = re.sub(r"[^A-Z0-9]+", "_", (caller or "no role").upper()).strip("_")
            name = f"ROLE_{name}".rstrip("_") if not name[:1].isalpha() else name
            while f"{name}_TOKEN" in names.values():
                name += "_2"
            names[caller] = f"{name}_TOKEN"
    return names


def subject_of(caller: str) -> str:
    """Return the subject of a token that is minted for this caller; it can be part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", caller.lower()).strip("-") or "nobody"


def curl_lines(requests: Iterable[Request], variables: Mapping[str, str], subjects: Mapping[str, str]) -> str:
    """Return a curl line for each request, below what is due. `variables` are as from `callers`."""
    lines = []
    for request in requests:
        words = ["curl", "-i", *({"GET": [], "HEAD": ["-I"]}.get(request.method, ["-X", request.method]))]
        if request.caller is not None:
            variable = variables[request.caller]
            words.append(f'-H "Authorization: {"${" + variable + "}x" if request.tampered else "$" + variable}"')
        words += [f'-H "{name}: {value}"' for name, value in request.headers(None).items()]
        content = request.content()
        words += [f"-d {shlex.quote(content.decode())}"] if content is not None else []
        path = request.path(subjects.get(request.caller or "", ""))
        words.append(f'"$API{path}"' if "?" in path else f"$API{path}")
        lines.append(f"# {request.due.value}: {request}, {request.who}\n{' '.join(words)}\n")
    return "\n".join(lines)


def read_examples(text: str, table: Table) -> dict[Route, Example]:
    """Return the examples that .chalice/examples.json holds; Fault, naming what is wrong, for any that do not fit."""
    where = ".chalice/examples.json"
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Fault(f"{where} is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Fault(f'{where} must be an object, such as {{"POST /items": {{"body": {{"name": "x"}}}}}}.')
    found = {}
    for name, value in given.items():
        method, _, template = name.partition(" ")
        route = (method, template)
        if route not in table.rules:
            raise Fault(
                f"{where} has an example for {name!r}, which is no row of the table: write it as manage.py rules does."
            )
        found[route] = _example(value, route, f"{where}, {name}:")
    return found


def _example(value: object, route: Route, where: str) -> Example:
    members = {"body", "content_type", "path", "query"}
    if not isinstance(value, dict) or not value.keys() <= members:
        raise Fault(f"{where} an example is an object with {', '.join(sorted(members))}, and nothing else.")
    path, query = value.get("path", {}), value.get("query", {})
    for name, texts in (("path", path), ("query", query)):
        if not (isinstance(texts, dict) and all(isinstance(text, str) and text for text in texts.values())):
            raise Fault(f'{where} {name} is an object of texts, such as {{"order_id": "7"}}.')
    needed = set(re.findall(r"\{(\w+)\}", route[1]))
    if path.keys() != needed and not (needed == {"sub"} and not path):
        raise Fault(
            f"{where} path must name exactly {', '.join(sorted(needed)) or 'nothing'}, the parameters of the route."
        )
    content_type = value.get("content_type", "application/json")
    if not (isinstance(content_type, str) and re.fullmatch(r"[\w.+-]+/[\w.+-]+", content_type)):
        raise Fault(f"{where} content_type is a media type, such as text/plain.")
    return Example(path, query, value.get("body"), content_type)
