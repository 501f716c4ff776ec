"""Each row of the failure table names an existing test, and each fault that is tested has its rows."""

from __future__ import annotations

import ast
import re

from tests.support.faults import CASES
from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "operating.md").read_text()
SECTION = PAGE.split("## What happens when something breaks\n")[1]
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ")][2:]
NAMED = re.compile(r"`(test_\w+)(?:\[([\w-]+)\])?`")


def names_in(name: str) -> set[str]:
    tree = ast.parse((PROJECT / "tests" / "e2e" / name).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_names_a_test_that_exists() -> None:
    known = names_in("test_faults.py") | names_in("test_deployed.py")
    for row in ROWS:
        named = NAMED.findall(row.split("|")[-2])
        assert named, row
        for name, case in named:
            assert name in known
            assert not case or case in CASES, case


def test_every_fault_that_is_tested_is_in_the_table() -> None:
    named = {name for row in ROWS for name, _ in NAMED.findall(row)}
    assert names_in("test_faults.py") <= named
    for name in {name for row in ROWS for name, case in NAMED.findall(row) if case}:
        assert {case for row in ROWS for its, case in NAMED.findall(row) if its == name} == set(CASES)


def test_what_the_table_says_of_the_log_is_what_the_tests_see() -> None:
    for row in ROWS:
        named = NAMED.findall(row)
        if len(named) == 1 and named[0][1]:
            assert f"`{CASES[named[0][1]].detail}`" in row
