"""The decision log: a line of JSON for each decision, on standard output (in Lambda: CloudWatch Logs)."""

# In Lambda a line is also CloudWatch's Embedded Metric Format: `_aws` names the members that are metrics, and
# those that are their dimensions. No agent and no call are needed.

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from chalicelib.guard import settings
from chalicelib.guard.decision import Decision

#: A `kid` is the client's text. One that is longer, or that does not print, is left out.
MAX_KID_LENGTH = 64
NAMESPACE = "api-guard"
#: The members that are metrics, and their dimensions. CloudWatch bills each combination of values, so they are few:
#: what else a line has is there for queries.
METRICS = {"decisions": ("function", "outcome"), "refresh_failures": ("function",)}


def write(
    check: str, decision: Decision, since: float, known_roles: frozenset[str], request: str | None = None
) -> None:
    """Write one line. `since` is of time.perf_counter(), `request` API Gateway's id of the request."""
    # Never a token, a signature, a secret or a claim beyond subject and roles. JSON escapes whatever could end
    # a line, so a client's text cannot forge one; the route is the table's template, not the client's path.
    caller, kid, (method, route) = decision.caller, decision.kid or "", decision.route or (None, None)
    _write(
        {
            "check": check,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "claim": decision.claim,
            "detail": decision.detail,
            "subject": caller and caller.subject,
            "roles": caller and sorted(caller.roles & known_roles),
            "method": method,
            "route": route,
            "keys_age_s": decision.keys_age and round(decision.keys_age, 1),
            "kid": kid if 0 < len(kid) <= MAX_KID_LENGTH and kid.isprintable() else None,
            "duration_ms": _milliseconds(since),
            "request_id": request,
        },
        "decisions",
    )


def write_refresh(since: float, failure: str, notes: Sequence[str]) -> None:
    """Write that keys were fetched, with notes, or why not; all text is our own."""
    line = {"event": "keys", "detail": failure or " ".join(notes) or None, "refresh_failures": int(failure != "")}
    _write(line | {"refresh_ms": _milliseconds(since)}, "refresh_failures")


def note(detail: str) -> None:
    """Write a line about the keys; `detail` is text of our own."""
    _write({"event": "keys", "detail": detail}, None)


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 3)


_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode
_EMBEDDED = {
    name: _AS_JSON([{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": [{"Name": name, "Unit": "Count"}]}])
    for name, dimensions in METRICS.items()
}


def _write(members: dict[str, object], metric: str | None) -> None:
    now, function, end = datetime.now(UTC), settings.ENVIRONMENT.get("AWS_LAMBDA_FUNCTION_NAME"), "}\n"
    line: dict[str, object] = {"time": now.isoformat(timespec="milliseconds")}
    line |= {name: value for name, value in members.items() if value is not None}
    if function is not None:
        line["function"] = function
        if metric is not None:
            line.setdefault(metric, 1)
            end = f',"_aws":{{"Timestamp":{int(now.timestamp() * 1000)},"CloudWatchMetrics":{_EMBEDDED[metric]}}}}}\n'
    # One write for the line and its end: `chalice local` answers in threads.
    sys.stdout.write(_AS_JSON(line)[:-1] + end)
    sys.stdout.flush()
