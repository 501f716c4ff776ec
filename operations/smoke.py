"""Requests to an API, and whether each answer is the right one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, build_opener
from urllib.request import Request as HttpRequest

from operations.minting import tampered
from operations.requests import Request

#: API Gateway itself answers within 29 s.
TIMEOUT = 30


@dataclass(frozen=True)
class Row:
    """A request and its answer; `got` is the status, or why there is none."""

    request: Request
    got: int | str
    milliseconds: int

    @property
    def right(self) -> bool:
        return isinstance(self.got, int) and self.request.due.met_by(self.got)

    def cells(self) -> list[str]:
        """Return the row's cells, under HEADER."""
        got = str(self.got) if isinstance(self.got, int) else "none"
        verdict = "ok" if self.right else "WRONG" if isinstance(self.got, int) else f"WRONG: {self.got}"
        return [str(self.request), self.request.who, self.request.due.value, got, str(self.milliseconds), verdict]


HEADER = ["Request", "Caller", "Due", "Got", "ms", ""]


def lines(rows: Iterable[Row], requests: Iterable[Request]) -> Iterator[str]:
    """Yield a header, then each row as it comes, in columns that are wide enough for all of the requests."""
    widest = [HEADER, *([str(request), request.who, request.due.value, "none", "00000", ""] for request in requests)]
    widths = [max(map(len, column)) for column in zip(*widest, strict=True)]
    for cells in (HEADER, *(row.cells() for row in rows)):
        yield "  ".join(map(str.ljust, cells, widths)).rstrip()


def rows(
    url: str, requests: Iterable[Request], tokens: Mapping[str, str], subjects: Mapping[str, str]
) -> Iterator[Row]:
    """Yield the rows as they are answered, and end at the first that is not. `tokens` has one for each caller."""
    for request in requests:
        token = None if request.caller is None else tokens[request.caller]
        if token is not None and request.tampered:
            token = tampered(token)
        since = time.monotonic()
        got = ask(url + request.path(subjects.get(request.caller or "", "")), request, token)
        yield Row(request, got, round((time.monotonic() - since) * 1000))
        if isinstance(got, str):
            return


def kept(rows: Iterable[Row], into: list[Row]) -> Iterator[Row]:
    """Yield the rows, and keep them."""
    for row in rows:
        into.append(row)
        yield row


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is no answer of ours, and the token is for nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, request: Request, token: str | None) -> int | str:
    """Return the status of the answer, or a few words on why there is none."""
    made = HttpRequest(url, request.content(), request.headers(token), method=request.method)  # noqa: S310  # ours
    try:
        with build_opener(_NoRedirect).open(made, timeout=TIMEOUT) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except ValueError:  # its text would hold the token
        return "the token cannot be sent in a header"
    except (OSError, HTTPException) as error:  # URLError, timeouts, TLS; an answer that is no HTTP
        return str(getattr(error, "reason", None) or error or type(error).__name__).partition("\n")[0]
