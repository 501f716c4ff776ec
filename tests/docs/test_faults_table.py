"""The table of faults is held to the tests that hold it."""

from __future__ import annotations

import re

from tests.e2e import test_deployed, test_faults
from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "operating.md").read_text()
SECTION = PAGE.split("## What happens when something breaks\n")[1]
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ")][2:]
CASES = {
    f"{source}-{name}": fault for source, (faults, _) in test_faults.SOURCES.items() for name, fault in faults.items()
}
NAMED = re.compile(r"`(test_\w+)(?:\[([\w-]+)\])?`")


def test_every_row_names_a_test_that_exists() -> None:
    for row in ROWS:
        named = NAMED.findall(row.split("|")[-2])
        assert named, row
        for name, case in named:
            assert any(hasattr(module, name) for module in (test_faults, test_deployed)), name
            assert not case or case in CASES, case


def test_every_test_of_a_fault_stands_in_the_table() -> None:
    named = {name for row in ROWS for name, _ in NAMED.findall(row)}
    assert {name for name in vars(test_faults) if name.startswith("test_")} <= named
    for name in {name for row in ROWS for name, case in NAMED.findall(row) if case}:
        assert {case for row in ROWS for its, case in NAMED.findall(row) if its == name} == set(CASES)


def test_what_the_log_is_said_to_say_is_what_the_tests_see() -> None:
    for row in ROWS:
        named = NAMED.findall(row)
        if len(named) == 1 and named[0][1]:
            assert f"`{CASES[named[0][1]].told}`" in row
