"""docs/operating.md is held to the code: its reasons, and the members and metrics that its queries and alarms use."""

from __future__ import annotations

import re

import pytest

from chalicelib.guard import decision_log
from chalicelib.guard.reason import Reason
from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "operating.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
QUERIES = re.findall(r"```text\n(.+)\n```", SECTIONS["Queries"])
MEMBERS = set(
    re.findall(r"^        (\w+)=", (PROJECT / "chalicelib" / "guard" / "decision_log.py").read_text(), re.MULTILINE)
)
#: Words of the query language, and names that a query itself gives.
LANGUAGE = {"filter", "stats", "fields", "sort", "count", "by", "bin", "desc", "as", "and", "in", "max", "sum", "pct"}


def test_every_reason_stands_on_the_page_with_its_answer_and_no_other_does() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (401|403|500) \|", SECTIONS["Why was a request refused?"], re.MULTILINE)
    assert [name for name, _ in rows] == [reason.value for reason in Reason]


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_members_that_lines_have(query: str) -> None:
    bare = re.sub(r'"[^"]*"', "", query)
    own = set(re.findall(r" as (\w+)", bare))
    words = set(re.findall(r"(?<![@\w])[a-z]\w*", re.sub(r"\d+m\b", "", bare)))
    assert words - LANGUAGE - own <= MEMBERS
    assert set(re.findall(r"@\w+", bare)) <= {"@timestamp"}


def test_the_reasons_outcomes_and_locks_that_queries_name_exist() -> None:
    named = {text for query in QUERIES for text in re.findall(r'"([a-z_]+)"', query)}
    known = {reason.value for reason in Reason} | {"allow", "deny", "unauthorized", "error", "gateway", "handler"}
    assert named <= known | {"alice", "keys"}


def test_the_metrics_that_alarms_name_are_those_that_the_log_has() -> None:
    table = SECTIONS["Alarms"].split("| alarm |")
    listed = set(re.findall(r"`(\w+)`", re.sub(r"\| [^|]* \|[^|]*\|$", "", table[0], flags=re.MULTILINE)))
    assert {"decisions", *decision_log.UNITS} <= listed
    for row in re.findall(r"^\| (`(\w+)`[^|]*) \|", table[1], re.MULTILINE):
        assert row[1] in {"decisions", *decision_log.UNITS, "AWS"}
    named = set(re.findall(r"(?:reason|outcome) `(\w+)`", table[1]))
    assert named <= {reason.value for reason in Reason} | {"allow", "error"}
