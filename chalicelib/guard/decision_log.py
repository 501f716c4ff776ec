"""The decision log: a line of JSON for each decision, on standard output (in Lambda: CloudWatch Logs)."""

# In Lambda a line is also CloudWatch's Embedded Metric Format: `_aws` names the members that are metrics, and
# those that are their dimensions. No agent and no call are needed.

import json
import sys
import time
from collections.abc import Mapping
from functools import lru_cache

from chalicelib.guard.access import Route
from chalicelib.guard.decision import Decision
from chalicelib.guard.settings import ENVIRONMENT

#: The function's name in Lambda, the same as long as the process lives; elsewhere None.
FUNCTION = ENVIRONMENT.get("AWS_LAMBDA_FUNCTION_NAME")
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
    caller, kid, roles = decision.caller, decision.kid or "", decision.caller and decision.caller.roles & known
    shown = kid if 0 < len(kid) <= MAX_KID_LENGTH and kid.isprintable() else None
    texts = {"detail": decision.detail, "subject": caller and caller.subject, "kid": shown, "request_id": request_id}
    line = _constant(check, decision.outcome, decision.reason, decision.claim, decision.route, roles)
    for name, text in texts.items():
        if text is not None:
            line += f',"{name}":{_AS_JSON(text)}'
    line += "" if decision.keys_age is None else f',"keys_age_s":{decision.keys_age:.1f}'
    _write(f'{line},"duration_ms":{(time.perf_counter() - since) * 1000:.3f}', "decisions")


@lru_cache(maxsize=256)  # they are few, for no text of a client's is in them
def _constant(
    check: str, outcome: str, reason: str | None, claim: str | None, route: Route | None, roles: frozenset[str] | None
) -> str:
    method, path = route or (None, None)
    members = {"check": check, "outcome": outcome, "reason": reason, "claim": claim, "method": method, "route": path}
    return _members(members | {"roles": None if roles is None else sorted(roles), "decisions": FUNCTION and 1})


def write_keys(detail: str, **figures: float) -> None:
    """Write a line about the keys: text and figures of our own. All figures are those of a fetch."""
    _write(_members({"event": "keys", "detail": detail or None, **figures}), "refresh_failures" if figures else None)


_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode
_EMBEDDED = {
    name: _AS_JSON([{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": [{"Name": name, "Unit": "Count"}]}])
    for name, dimensions in METRICS.items()
}


def _members(members: Mapping[str, object]) -> str:
    # Return those that are not None, as JSON without the braces.
    return _AS_JSON({name: its for name, its in {**members, "function": FUNCTION}.items() if its is not None})[1:-1]


@lru_cache(maxsize=1)  # many lines have the same second
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def _write(members: str, metric: str | None) -> None:
    now = int(time.time() * 1000)
    end = f',"_aws":{{"Timestamp":{now},"CloudWatchMetrics":{_EMBEDDED[metric]}}}}}\n' if FUNCTION and metric else "}\n"
    # One write for the line and its end: `chalice local` answers in threads.
    sys.stdout.write(f'{{"time":"{_second(now // 1000)}.{now % 1000:03}+00:00",{members}{end}')
    sys.stdout.flush()
