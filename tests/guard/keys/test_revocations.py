"""The list of ended sessions: which texts are one, and whose tokens it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.guard.keys.source import Revocations, parse


def listed(everyone: Any = -1, subjects: Any = None, **more: Any) -> str:
    return json.dumps({"everyone": everyone, "subjects": {} if subjects is None else subjects, **more})


def test_a_list_says_up_to_when_for_everyone_and_by_subject() -> None:
    assert parse(listed(5, {"alice": 7})) == Revocations(5, {"alice": 7})


def test_a_list_may_end_nobodys_sessions() -> None:
    assert parse(listed()) == Revocations()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "null",
        "[]",
        "7",
        "{}",
        '{"everyone": -1}',
        '{"subjects": {}}',
        listed(more=1),
        listed(subject={}),
        listed(subjects=[]),
        listed(subjects=["alice"]),
        listed(subjects="alice"),
        listed(None),
        listed("5"),
        listed([5]),
        listed(everyone=True),
        listed(5.5),
        listed(float("nan")),
        listed(float("inf")),
        listed(subjects={"alice": None}),
        listed(subjects={"alice": "7"}),
        listed(subjects={"alice": False}),
        listed(subjects={"alice": 7.5}),
        listed(subjects={"alice": float("-inf")}),
        listed(subjects={"bob": 7, "alice": {}}),
    ],
)
def test_a_text_of_another_form_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_text_of_great_depth_is_no_list() -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse("[" * 100_000)


def test_a_list_that_is_no_list_shows_no_subject_in_its_error() -> None:
    with pytest.raises(ValueError, match="not a list of revocations") as raised:
        parse(listed(subjects={"alice": "7"}))
    assert "alice" not in repr(raised.value)


def test_a_list_shows_no_subject_in_its_repr() -> None:
    assert "alice" not in f"{Revocations(5, {'alice': 7})!r} {Revocations(5, {'alice': 7})}"


@pytest.mark.parametrize(
    "everyone", [Revocations(1000), Revocations(1000, {"alice": 5}), Revocations(-1, {"alice": 1000})]
)
def test_a_token_issued_up_to_that_second_is_refused(everyone: Revocations) -> None:
    assert everyone.refuse("alice", 999)
    assert everyone.refuse("alice", 1000)
    assert everyone.refuse("alice", 0)
    assert not everyone.refuse("alice", 1000.5)
    assert not everyone.refuse("alice", 1001)


def test_the_later_of_both_times_counts() -> None:
    for revocations in (Revocations(1000, {"alice": 2000}), Revocations(2000, {"alice": 1000})):
        assert revocations.refuse("alice", 2000)
        assert not revocations.refuse("alice", 2001)


@pytest.mark.parametrize("subject", ["bob", "Alice", "alice ", "", "ali"])
def test_another_subject_is_not_refused(subject: str) -> None:
    revocations = Revocations(subjects={"alice": 1000})
    assert not revocations.refuse(subject, 1)
    assert not revocations.refuse(subject, None)


@pytest.mark.parametrize("revocations", [Revocations(0), Revocations(subjects={"alice": 0})])
def test_a_token_without_iat_is_refused_once_there_is_a_time(revocations: Revocations) -> None:
    assert revocations.refuse("alice", None)
    assert revocations.refuse("alice", 0)
    assert not revocations.refuse("alice", 1)


def test_without_a_time_no_token_is_refused() -> None:
    for issued_at in (None, 0, 1):
        assert not Revocations().refuse("alice", issued_at)
