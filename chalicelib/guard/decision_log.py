"""The decision log: a line of JSON for each decision, on standard output (in Lambda: CloudWatch Logs)."""

# In Lambda a line is also CloudWatch's Embedded Metric Format: `_aws` names the members that are metrics, and
# those that are their dimensions. No agent and no call are needed.

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from chalicelib.guard import settings
from chalicelib.guard.decision import Decision

#: A `kid` is the client's text. One that is longer, or that does not print, is left out.
MAX_KID_LENGTH = 64
NAMESPACE = "api-guard"
#: The members that are metrics, and their dimensions. CloudWatch bills each combination of values, so they are few:
#: what else a line has is there for queries.
METRICS = {"decisions": ("function", "outcome"), "refresh_failures": ("function",)}


def write(check: str, decision: Decision, since: float, known: frozenset[str], request_id: str | None = None) -> None:
    """Write one line. `since` is of time.perf_counter(), `known` are the table's roles; no others are written."""
    # Never a token, a signature, a secret or a claim beyond subject and roles. JSON escapes whatever could end
    # a line, so a client's text cannot forge one; the route is the table's template, not the client's path.
    caller, kid, (method, route) = decision.caller, decision.kid or "", decision.route or (None, None)
    members = {
        "check": check,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "claim": decision.claim,
        "detail": decision.detail,
        "subject": caller and caller.subject,
        "roles": caller and sorted(caller.roles & known),
        "method": method,
        "route": route,
        "keys_age_s": decision.keys_age and round(decision.keys_age, 1),
        "kid": kid if 0 < len(kid) <= MAX_KID_LENGTH and kid.isprintable() else None,
        "duration_ms": milliseconds(since),
        "request_id": request_id,
    }
    _write(members, "decisions")


def write_keys(detail: str, **figures: float) -> None:
    """Write a line about the keys: text and figures of our own. All figures are those of a fetch."""
    _write({"event": "keys", "detail": detail or None, **figures}, "refresh_failures" if figures else None)


def milliseconds(since: float) -> float:
    """Return the time since `since`, which is of time.perf_counter(), to the microsecond."""
    return round((time.perf_counter() - since) * 1000, 3)


_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode
_EMBEDDED = {
    name: _AS_JSON([{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": [{"Name": name, "Unit": "Count"}]}])
    for name, dimensions in METRICS.items()
}


def _write(members: Mapping[str, object], metric: str | None) -> None:
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
