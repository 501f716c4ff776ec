"""The decision log: a line for each decision, and what CloudWatch counts of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from chalicelib.guard import decision_log
from chalicelib.guard.authorizer import AuthorizerError
from chalicelib.guard.decision import Caller, Decision, Outcome, Reason
from tests.support.embedded_metrics import metrics_of
from tests.support.events import token_event
from tests.support.service import Service
from tests.support.tokens import token

KNOWN = frozenset({"user"})
ALICE = Caller("alice", frozenset({"user", "stranger"}), 4102444800, {"tenant": "secret"}, 1, "a-key")
Metrics = Callable[[], list[tuple[dict[str, str], str, float]]]
Log = Callable[[], list[dict[str, Any]]]


def write(decision: Decision, check: str = "authorizer", ago: float = 0) -> None:
    decision_log.write(check, decision, time.perf_counter() - ago, KNOWN)


def refreshed(failure: str = "") -> None:
    decision_log.write_keys(failure, refresh_failures=int(failure != ""), refresh_ms=12.345)


@pytest.fixture
def metrics(in_lambda: str, capsys: pytest.CaptureFixture[str]) -> Metrics:
    """Be inside Lambda; return what CloudWatch would count since the last reading."""

    def read() -> list[tuple[dict[str, str], str, float]]:
        found = [metric for line in capsys.readouterr().out.splitlines() for metric in metrics_of(line)]
        assert {metric[0] for metric in found} <= {decision_log.NAMESPACE}
        assert {metric[1].pop("function") for metric in found} <= {in_lambda}
        return [metric[1:] for metric in found]

    return read


# A line.


def test_a_line_holds_what_was_decided_and_nothing_unknown(log: Log) -> None:
    route = ("GET", "/items")
    whole = Decision(Outcome.DENY, Reason.NO_PERMISSION, ALICE, route, "a-claim", "a detail", "a-kid", 12.34)
    decision_log.write("authorizer", whole, time.perf_counter(), KNOWN, "request-1")
    write(Decision(Outcome.ALLOW), "middleware")
    full, bare = log()
    for line in (full, bare):
        assert line.pop("time").endswith("+00:00")
        assert line.pop("duration_ms") >= 0
    assert full == {
        "check": "authorizer",
        "outcome": "deny",
        "reason": "no_permission",
        "claim": "a-claim",
        "detail": "a detail",
        "subject": "alice",
        "roles": ["user"],
        "method": "GET",
        "route": "/items",
        "keys_age_s": 12.3,
        "kid": "a-kid",
        "request_id": "request-1",
    }
    assert bare == {"check": "middleware", "outcome": "allow"}


def test_a_line_has_the_time_at_which_it_was_written(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for now in (1_700_000_000.0625, 1_700_000_000.5, 1_700_000_001.0):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write(Decision(Outcome.ALLOW))
    written = [line["time"].removeprefix("2023-11-14T22:13:2") for line in log()]
    assert written == ["0.062+00:00", "0.500+00:00", "1.000+00:00"]


@pytest.mark.usefixtures("in_lambda")
def test_a_metric_has_the_time_of_its_line(log: Log) -> None:
    write(Decision(Outcome.ALLOW))
    (line,) = log()
    assert datetime.fromisoformat(line["time"]).timestamp() * 1000 == line["_aws"]["Timestamp"]


def test_keys_that_are_fresh_have_an_age_of_zero(log: Log) -> None:
    write(Decision(Outcome.ALLOW, keys_age=0.0))
    assert log()[0]["keys_age_s"] == 0


@pytest.mark.parametrize("kid", ["k", "k" * 64])
def test_a_kid_of_up_to_sixty_four_characters_is_written(log: Log, kid: str) -> None:
    write(Decision(Outcome.UNAUTHORIZED, Reason.UNKNOWN_KEY, kid=kid))
    assert log()[0]["kid"] == kid


@pytest.mark.parametrize("kid", ["", "a\nb", "a\u2028b", "a\x7fb", "\ud800", "k" * 65])
def test_a_kid_that_does_not_print_or_is_long_is_left_out(log: Log, kid: str) -> None:
    write(Decision(Outcome.UNAUTHORIZED, Reason.UNKNOWN_KEY, kid=kid))
    assert "kid" not in log()[0]


def test_a_line_is_one_line_whatever_is_in_it(log: Log) -> None:
    odd = 'x"}\n{"outcome":"allow"}\r\u2028\u0085'
    write(Decision(Outcome.ALLOW, None, Caller(odd, frozenset(), 1), detail=odd))
    (line,) = log()
    assert (line["subject"], line["detail"]) == (odd, odd)


def test_outside_lambda_a_line_stays_short(capsys: pytest.CaptureFixture[str]) -> None:
    write(Decision(Outcome.ALLOW))
    written = capsys.readouterr().out
    assert "_aws" not in written
    assert not re.search("[:,] ", written)


def test_a_duration_is_milliseconds_to_the_microsecond(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        write(Decision(Outcome.ALLOW), ago=1000)
    for line in capsys.readouterr().out.splitlines():
        written = re.search(r'"duration_ms":([^,}]+)', line)
        assert written is not None
        assert 1_000_000 <= float(written[1]) < 1_001_000
        assert re.fullmatch(r"\d+\.\d{1,3}", written[1])


def test_a_refresh_is_an_event_of_the_keys_and_has_its_figures(log: Log) -> None:
    refreshed()
    (line,) = log()
    assert line["event"] == "keys"
    assert (line["refresh_ms"], line["refresh_failures"]) == (12.345, 0)


def test_a_note_is_an_event_of_the_keys(log: Log) -> None:
    decision_log.write_keys("the previous version is left out")
    (line,) = log()
    assert (line["event"], line["detail"]) == ("keys", "the previous version is left out")


# Metrics.


def test_a_failure_of_ours_counts_as_an_error(fixture_service: Service, metrics: Metrics) -> None:
    with pytest.raises(AuthorizerError):  # the local secret is refused inside Lambda
        fixture_service.jwt_authorizer(token_event(token("user")), None)
    assert metrics() == [({"outcome": "error"}, "decisions", 1)]


@pytest.mark.parametrize("outcome", Outcome)
def test_a_decision_counts_by_its_outcome_and_by_nothing_else(metrics: Metrics, outcome: Outcome) -> None:
    """CloudWatch bills each combination of values, so a client must not be able to make new ones."""
    write(Decision(outcome, Reason.UNKNOWN_KEY, ALICE, ("GET", "/items"), "claim", "detail", "kid", 12.34))
    assert metrics() == [({"outcome": outcome}, "decisions", 1)]


def test_a_request_past_the_gateway_counts_as_unauthorized(fixture_service: Service, metrics: Metrics) -> None:
    fixture_service.app({}, None)
    assert metrics() == [({"outcome": "unauthorized"}, "decisions", 1)]


def test_a_refresh_and_a_failed_one_count_apart(metrics: Metrics) -> None:
    refreshed()
    assert metrics() == [({}, "refresh_failures", 0)]
    refreshed("Secrets Manager is away")
    assert metrics() == [({}, "refresh_failures", 1)]


@pytest.mark.usefixtures("in_lambda")
def test_a_refresh_is_no_decision(capsys: pytest.CaptureFixture[str]) -> None:
    refreshed()
    assert "decisions" not in json.loads(capsys.readouterr().out)


def test_a_note_is_no_metric(metrics: Metrics) -> None:
    decision_log.write_keys("the previous version is left out")
    assert metrics() == []
