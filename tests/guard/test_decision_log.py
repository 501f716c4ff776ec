"""The decision log as metrics: what CloudWatch counts of a line, and what it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from chalicelib.guard import decision_log
from chalicelib.guard.authorizer import AuthorizerFailure, authorize
from chalicelib.guard.middleware import guard
from chalicelib.guard.reason import Reason
from tests.conftest import token
from tests.support.embedded_metrics import Metric, metrics_of

ARN = "arn:aws:execute-api:eu-central-1:000000000000:abcdefghij/dev/GET/protected-resource"
FUNCTION = "api-guard-dev-jwt_authorizer"


@pytest.fixture
def metrics(
    environment: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[tuple[dict[str, str], str, float]]]:
    """Be inside Lambda; return what CloudWatch would count since the last reading."""
    environment(AWS_LAMBDA_FUNCTION_NAME=FUNCTION)

    def read() -> list[tuple[dict[str, str], str, float]]:
        found: list[Metric] = [metric for line in capsys.readouterr().out.splitlines() for metric in metrics_of(line)]
        assert {metric[0] for metric in found} <= {decision_log.NAMESPACE}
        assert {metric[1].pop("function") for metric in found} <= {FUNCTION}
        return [metric[1:] for metric in found]

    return read


Metrics = Callable[[], list[tuple[dict[str, str], str, float]]]


def test_our_own_trouble_counts_as_an_error_and_by_its_reason(metrics: Metrics) -> None:
    with pytest.raises(AuthorizerFailure):  # the local secret is refused inside Lambda
        authorize(token("user"), ARN)
    counted = metrics()
    assert ({"outcome": "error"}, "decisions", 1) in counted
    assert ({"reason": Reason.BAD_SETTING}, "decisions", 1) in counted
    assert [name for by, name, _ in counted if not by] == ["duration_ms"]


def test_a_decision_that_allows_counts_by_its_outcome_and_by_no_reason(metrics: Metrics) -> None:
    decision_log.record("gateway", "allow", since=decision_log.started(), keys_age=12.34)
    counted = metrics()
    assert [metric for metric in counted if metric[1] == "decisions"] == [({"outcome": "allow"}, "decisions", 1)]
    assert ({}, "keys_age_s", 12.3) in counted


def test_a_request_past_the_gateway_counts_as_unauthorized(metrics: Metrics) -> None:
    guard({}, None, lambda _: pytest.fail("no view may run"))
    assert ({"reason": Reason.NO_CALLER}, "decisions", 1) in metrics()


def test_a_refresh_and_a_failed_one_are_told_apart(metrics: Metrics) -> None:
    decision_log.record_refresh(decision_log.started())
    assert [metric[1:] for metric in metrics()][:2] == [("refreshes", 1), ("refresh_failures", 0)]
    decision_log.record_refresh(decision_log.started(), "Secrets Manager is away")
    assert [metric[1:] for metric in metrics()][:2] == [("refreshes", 1), ("refresh_failures", 1)]


def test_a_refresh_is_no_decision(capsys: pytest.CaptureFixture[str], environment: Callable[..., None]) -> None:
    environment(AWS_LAMBDA_FUNCTION_NAME=FUNCTION)
    decision_log.record_refresh(decision_log.started())
    assert "decisions" not in json.loads(capsys.readouterr().out)


def test_nothing_that_a_client_sends_is_a_dimension(metrics: Metrics) -> None:
    """CloudWatch bills each combination of values, so a client could make us pay for its own."""
    decision_log.record(
        "gateway",
        "deny",
        since=decision_log.started(),
        reason=Reason.UNKNOWN_KEY,
        kid="a-kid",
        method="GET",
        detail="x",
    )
    assert {name for by, _, _ in metrics() for name in by} == {"outcome", "reason"}


def test_a_note_is_no_metric(metrics: Metrics) -> None:
    decision_log.note("the previous version is left out")
    assert metrics() == []


def test_outside_lambda_a_line_stays_short(capsys: pytest.CaptureFixture[str]) -> None:
    decision_log.record("gateway", "allow", since=decision_log.started())
    written = capsys.readouterr().out
    assert "_aws" not in written
    assert not re.search("[:,] ", written)


def test_a_duration_is_milliseconds_to_the_microsecond(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        decision_log.record("gateway", "allow", since=decision_log.started() - 1000)
    for line in capsys.readouterr().out.splitlines():
        written = re.search(r'"duration_ms":([^,}]+)', line)
        assert written is not None
        assert 1_000_000 <= float(written[1]) < 1_001_000
        assert re.fullmatch(r"\d+\.\d{1,3}", written[1])


def test_a_refresh_is_an_event_of_the_keys_and_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    decision_log.record_refresh(decision_log.started() - 1000)
    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "keys"
    assert 1_000_000 <= line["refresh_ms"] < 1_001_000
