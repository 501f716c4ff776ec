"""The clinic's own tests: tests/test_app.py there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.rules import RULES
from tests.support.client import AsCaller
from tests.support.matrix import Case, cases


@pytest.mark.parametrize("case", cases(RULES), ids=str)
def test_each_role_is_answered_as_the_table_says(case: Case, status_of: Callable[[Case], int]) -> None:
    assert status_of(case) == case.status


def test_a_nurse_sees_the_patients(as_caller: Callable[..., AsCaller]) -> None:
    assert as_caller("nurse", subject="kim").get("/patients").json_body == {"patients": ["7"], "for": "kim"}
