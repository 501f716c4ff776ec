"""docs/security.md names a test for whatever must hold; tests/conftest.py sees to it that a whole run ran them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import PROJECT
from tests.support.security_page import PAGE, named


@pytest.mark.parametrize("test", sorted(set(named())))
def test_each_test_that_the_page_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((PROJECT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_row_of_the_page_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    heads = [line for line in rows if line.endswith("| the test |")]
    assert len(heads) == 6
    for row in rows:
        assert row in heads or re.search(r"\| `tests/[\w/]+\.py::\w+` \|$", row), row


RUN = """
import pytest
from tests.support import security_page

security_page.named = lambda: ["test_it.py::test_one", "test_it.py::test_two"]

def pytest_configure(config):
    config.pluginmanager.register(security_page.Held())
"""


@pytest.mark.parametrize(
    ("second", "words", "ends_well"),
    [
        ("def test_two(): pass", ["-n", "1"], True),
        ("", [], False),
        ("@pytest.mark.parametrize('n', [1, 2])\ndef test_two(n):\n    if n == 2: pytest.skip('')", ["-n", "1"], False),
        ("", ["-k", "one"], True),
    ],
    ids=["all", "one-is-not-there", "a-parameter-is-skipped", "only-some-are-chosen"],
)
def test_a_whole_run_fails_where_a_named_test_did_not_run_and_pass(
    tmp_path: Path, second: str, words: list[str], ends_well: bool
) -> None:
    (tmp_path / "conftest.py").write_text(RUN)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ntestpaths = .\npythonpath = {PROJECT}\n")
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_one(): pass\n{second}\n")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *words]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ends_well, done.stdout + done.stderr
    assert ("test_it.py::test_two" in done.stdout) != ends_well
