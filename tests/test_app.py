"""Your app: each row of your table tried on it, and what your views answer. An example: replace it with yours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.rules import RULES
from tests.support.client import AsCaller
from tests.support.matrix import Case, cases


@pytest.mark.parametrize("case", cases(RULES), ids=str)
def test_your_app_answers_each_role_as_your_table_says(case: Case, status_of: Callable[[Case], int]) -> None:
    assert status_of(case) == case.status


def test_a_user_reads_who_it_is(as_caller: Callable[..., AsCaller]) -> None:
    answer = as_caller("user", subject="alice").get("/protected-resource")
    assert answer.json_body == {"message": "You may read this.", "subject": "alice", "roles": ["user"]}


def test_an_admin_gets_its_body_back(as_caller: Callable[..., AsCaller]) -> None:
    answer = as_caller("admin").post("/protected-resource", {"key": "value"})
    assert (answer.status_code, answer.json_body) == (200, {"key": "value"})


@pytest.mark.parametrize("body", [b"", b"not json", b"[" * 100_000, b"\xff", b'"\xff"', b'{"a":1e999}'])
def test_a_body_that_is_no_json_is_a_400(as_caller: Callable[..., AsCaller], body: bytes) -> None:
    assert as_caller("admin").post("/protected-resource", body).status_code == 400


def test_a_text_alone_is_json_too(as_caller: Callable[..., AsCaller]) -> None:
    answer = as_caller("admin").post("/protected-resource", b'"text"')
    assert (answer.status_code, answer.headers["Content-Type"], answer.body) == (200, "application/json", b'"text"')


@pytest.mark.parametrize(("size", "status"), [(1024 * 1024, 200), (1024 * 1024 + 1, 413)])
def test_a_body_has_a_mebibyte_at_most(as_caller: Callable[..., AsCaller], size: int, status: int) -> None:
    body = b'"' + b"x" * (size - 2) + b'"'
    assert as_caller("admin").post("/protected-resource", body).status_code == status
