"""The decision log: a line of JSON for each decision, on standard output (in Lambda: CloudWatch Logs)."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

from chalicelib.caller import Caller
from chalicelib.reason import Reason
from chalicelib.rules import ROLES, Route

#: A `kid` is the client's text. One that is longer, or that does not print, is left out.
MAX_KID_LENGTH = 64


def started() -> float:
    """Return a mark to measure `duration_ms` from."""
    return time.perf_counter()


def record(
    lock: str,
    outcome: str,
    *,
    since: float,
    reason: Reason | None = None,
    detail: str | None = None,
    caller: Caller | None = None,
    method: str | None = None,
    route: Route | None = None,
    kid: str | None = None,
    keys_age: float | None = None,
    request_id: str | None = None,
) -> None:
    """Write one line. `outcome` is allow, deny, unauthorized or error; `detail` is text of our own making.

    Never a token, a signature, a secret or a claim beyond subject and roles. JSON escapes whatever could end
    a line, so a client's text cannot forge one; the route is the table's template, not the client's path.
    """
    line = {
        "lock": lock,
        "outcome": outcome,
        "reason": reason,
        "detail": detail,
        "subject": caller and caller.subject,
        "roles": caller and sorted(caller.roles & ROLES),
        "method": method,
        "route": route and route[1],
        "keys_age_s": keys_age and round(keys_age, 1),
        "kid": kid if kid and len(kid) <= MAX_KID_LENGTH and kid.isprintable() else None,
        "duration_ms": round((time.perf_counter() - since) * 1000, 3),
        "request_id": request_id,
    }
    _write({name: value for name, value in line.items() if value is not None})


def note(detail: str) -> None:
    """Write a line about the keys; `detail` is text of our own making."""
    _write({"event": "keys", "detail": detail})


def _write(line: dict[str, object]) -> None:
    text = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line})
    # One write for the line and its end: `chalice local` answers in threads.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
