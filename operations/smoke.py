"""The tutorial's requests, made to an API and held to the tutorial's answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from operations.minting import TUTORIAL

#: API Gateway itself answers within 29 s.
TIMEOUT = 30


@dataclass(frozen=True)
class Row:
    """A request and its answer; `got` is the status, or what stood in its way."""

    what: str
    role: str
    expected: int
    got: int | str
    milliseconds: int

    @property
    def right(self) -> bool:
        return self.got == self.expected


HEADER = f"{'Request':<26}{'Role':<8}{'Expected':>8}{'Got':>6}{'ms':>7}\n"


def line(row: Row) -> str:
    """Return the row as a line of text, under HEADER."""
    got = str(row.got) if isinstance(row.got, int) else "none"
    verdict = "ok" if row.right else "WRONG" if isinstance(row.got, int) else f"WRONG: {row.got}"
    return f"{row.what:<26}{row.role:<8}{row.expected:>8}{got:>6}{row.milliseconds:>7}  {verdict}"


def rows(url: str, tokens: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows as they are answered, and end at the first that is not. `tokens` has user, admin and spoiled."""
    for what, method, whose, expected in TUTORIAL:
        since = time.monotonic()
        got = ask(url, method, whose and tokens[whose])
        role = whose if whose in {"user", "admin"} else "-"
        yield Row(what, role or "-", expected, got, round((time.monotonic() - since) * 1000))
        if isinstance(got, str):
            return


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is no answer of ours, and the token is for nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, method: str, token: str | None) -> int | str:
    """Return the status of one of the tutorial's requests, or a few words on why there is none."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
    request = Request(url, b'{"key":"value"}' if method == "POST" else None, headers, method=method)  # noqa: S310  # ours
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except ValueError:  # its text would hold the token
        return "the token cannot be sent in a header"
    except (OSError, HTTPException) as error:  # URLError, timeouts, TLS; an answer that is no HTTP
        return str(getattr(error, "reason", None) or error or type(error).__name__).partition("\n")[0]
