"""The decision log: a line of JSON for each decision, on standard output (in Lambda: CloudWatch Logs).

In Lambda a line is also CloudWatch's Embedded Metric Format: `_aws` names the members that are metrics, and
those that are their dimensions. No agent and no call are needed.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache

from chalicelib.guard import settings
from chalicelib.guard.caller import Caller
from chalicelib.guard.reason import Reason
from chalicelib.rules import ROLES, Route

#: A `kid` is the client's text. One that is longer, or that does not print, is left out.
MAX_KID_LENGTH = 64
NAMESPACE = "api-guard"
#: The members that are metrics by function alone.
UNITS = {
    "duration_ms": "Milliseconds",
    "keys_age_s": "Seconds",
    "refreshes": "Count",
    "refresh_failures": "Count",
    "refresh_ms": "Milliseconds",
}
#: What `decisions` are counted by beside the function. Few: CloudWatch bills each combination of values.
COUNTED_BY = ("outcome", "reason")


def started() -> float:
    """Return a mark to measure a duration from."""
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
    _write(
        lock=lock,
        outcome=outcome,
        reason=reason,
        detail=detail,
        subject=caller and caller.subject,
        roles=caller and sorted(caller.roles & ROLES),
        method=method,
        route=route and route[1],
        keys_age_s=keys_age and round(keys_age, 1),
        kid=kid if kid and len(kid) <= MAX_KID_LENGTH and kid.isprintable() else None,
        duration_ms=_milliseconds(since),
        request_id=request_id,
    )


def record_refresh(since: float, trouble: str | None = None) -> None:
    """Write that keys were fetched, or why not; `trouble` is text of our own making."""
    _write(
        event="keys",
        detail=trouble,
        refreshes=1,
        refresh_failures=int(trouble is not None),
        refresh_ms=_milliseconds(since),
    )


def note(detail: str) -> None:
    """Write a line about the keys; `detail` is text of our own making."""
    _write(event="keys", detail=detail)


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 3)


def _write(**members: object) -> None:
    now = datetime.now(UTC)
    line: dict[str, object] = {"time": now.isoformat(timespec="milliseconds")}
    line |= {name: value for name, value in members.items() if value is not None}
    function, metrics = settings.function_name(), None
    if function is not None:
        line |= {"function": function} | ({"decisions": 1} if "outcome" in line else {})
        metrics = _embedded_metrics(tuple(line))
    text = _AS_JSON(line)
    if metrics is not None:
        text = f'{text[:-1]},"_aws":{{"Timestamp":{int(now.timestamp() * 1000)},"CloudWatchMetrics":{metrics}}}}}'
    # One write for the line and its end: `chalice local` answers in threads.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=64)
def _embedded_metrics(members: tuple[str, ...]) -> str | None:
    """Return the JSON that makes metrics of these members: it names only what the line has, as the format wants.

    Kept, for it is half of a line and the same for most of them.
    """
    measured = [{"Name": name, "Unit": unit} for name, unit in UNITS.items() if name in members]
    if not measured:
        return None
    directives = [{"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": measured}]
    if "outcome" in members:
        by = [["function", name] for name in COUNTED_BY if name in members]
        counted = [{"Name": "decisions", "Unit": "Count"}]
        directives.append({"Namespace": NAMESPACE, "Dimensions": by, "Metrics": counted})
    return _AS_JSON(directives)
