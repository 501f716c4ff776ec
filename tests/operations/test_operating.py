"""docs/operating.md has the reasons' own texts, and its queries and alarms ask for what the decision log has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.guard import decision_log
from chalicelib.guard.decision import Caller, Decision, Outcome, Reason
from operations import reasons
from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "operating.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
QUERIES = re.findall(r"```text\n(.+)\n```", SECTIONS["Queries"])
CHECKS = {"authorizer", "middleware"}
#: Words of the query language.
LANGUAGE = {"filter", "stats", "fields", "sort", "count", "by", "bin", "desc", "as", "and", "in", "max", "sum", "pct"}


@pytest.fixture
def members(log: Callable[[], list[dict[str, Any]]], in_lambda: str) -> set[str]:  # noqa: ARG001  # to be there
    """Return the members that lines of the log have in Lambda."""
    caller = Caller("alice", frozenset({"user"}), 1)
    since = time.perf_counter()
    whole = Decision(Outcome.DENY, Reason.EXPIRED, caller, ("GET", "/"), "exp", "text", "kid", 1.0)
    decision_log.write("authorizer", whole, since, frozenset({"user"}), "id")
    decision_log.write_keys("failure", refresh_failures=1, refresh_ms=1.0)
    return {member for line in log() for member in line} - {"_aws", "decisions"}


def test_the_page_has_the_texts_that_why_has() -> None:
    assert reasons.TABLE in PAGE, "write it with: python -m operations.reasons"
    assert len(re.findall(r"^\| `(\w+)` \| (401|403|500) \|", PAGE, re.MULTILINE)) == len(Reason)


def test_the_command_writes_the_table_and_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "operations", tmp_path / "operations")
    shutil.copytree(PROJECT / "chalicelib" / "guard", tmp_path / "chalicelib" / "guard")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "operating.md"
    page.write_text(PAGE.replace("| `expired` |", "| `long_gone` |"))
    subprocess.run([sys.executable, "-m", "operations.reasons"], cwd=tmp_path, check=True)
    assert page.read_text() == PAGE


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_members_that_lines_have(query: str, members: set[str]) -> None:
    bare = re.sub(r'"[^"]*"', "", query)
    own = set(re.findall(r" as (\w+)", bare))
    words = set(re.findall(r"(?<![@\w])[a-z]\w*", re.sub(r"\d+[mh]\b", "", bare)))
    assert words - LANGUAGE - own <= members
    assert set(re.findall(r"@\w+", bare)) <= {"@timestamp"}


def test_what_queries_compare_with_exists() -> None:
    named = {text for query in QUERIES for text in re.findall(r'"([a-z_]+)"', query)}
    assert named <= {*Reason, *Outcome, *CHECKS, "alice", "keys"}


def test_the_page_lists_the_members_of_a_line(members: set[str]) -> None:
    (listed,) = re.findall(r"^The members of a line: (.+?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == members


def test_alarms_are_on_metrics_that_exist_with_their_dimensions() -> None:
    metrics, alarms = SECTIONS["Alarms"].split("| alarm |")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", metrics, re.MULTILINE)
    assert {name: tuple(re.findall(r"`(\w+)`", dimensions)) for name, dimensions in rows} == decision_log.METRICS
    named = re.findall(r"^\| `([\w/]+)`(?:, outcome `(\w+)`| `\w+`)?,? ?([\w ]*) \|", alarms, re.MULTILINE)
    assert len(named) >= 8
    for metric, outcome, function in named:
        assert metric in {*decision_log.METRICS, "AWS/Lambda", "AWS/ApiGateway"}
        assert (outcome in set(Outcome)) == ("outcome" in decision_log.METRICS.get(metric, ()))
        assert function in {"authorizer", "API function", "each function", ""}


def test_the_example_of_an_alarm_names_a_metric_and_its_dimensions() -> None:
    (command,) = re.findall(r"```sh\n(aws cloudwatch put-metric-alarm.+?)```", PAGE, re.DOTALL)
    (metric,) = re.findall(r"--metric-name (\w+)", command)
    assert tuple(re.findall(r"Name=(\w+),Value=", command)) == decision_log.METRICS[metric]
    assert f"--namespace {decision_log.NAMESPACE} " in command
