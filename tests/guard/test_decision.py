"""The caller travels from the authorizer to the views in text and numbers, and nothing of another form is read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from chalicelib.guard.decision import MAX_CLAIMS_BYTES, Caller, from_context, to_context
from tests.support.events import ODD_CONTEXTS, context

CLAIMS = {"tenant": "acme", "note": 'a "quote", \u00e9\n\u2028'}


def handed_over(answered: dict[str, Any]) -> dict[str, Any]:
    """Return what API Gateway makes of an authorizer's answer: each value of the context as text."""
    texts = {name: str(value) for name, value in answered["context"].items()}
    return {"principalId": answered["principalId"], **texts}


@pytest.mark.parametrize("claims", [{}, CLAIMS])
def test_a_caller_arrives_as_it_was_sent(claims: dict[str, str]) -> None:
    sent = Caller("alice", frozenset({"user", "admin"}), 4102444800, claims, 1, "a-key")
    arrived = from_context(handed_over(to_context(sent, frozenset({"user", "admin"}))))
    assert arrived == Caller("alice", frozenset({"user", "admin"}), 4102444800, claims)


def test_the_context_holds_scalars_and_only_known_roles() -> None:
    sent = Caller("alice", frozenset({"user", "x" * 3000, "admin"}), 4102444800)
    assert to_context(sent, frozenset({"user", "admin", "other"})) == {
        "principalId": "alice",
        "context": {"roles": "admin user", "exp": 4102444800},
    }


def test_claims_travel_as_one_text_under_a_name_of_our_own() -> None:
    made = to_context(Caller("alice", frozenset(), 1, CLAIMS), frozenset())["context"]
    assert json.loads(made.pop("caller_claims")) == CLAIMS
    assert made == {"roles": "", "exp": 1}


@pytest.mark.parametrize("exp", ["253402300799", 253402300799])
def test_the_last_second_that_a_token_can_name_arrives(exp: Any) -> None:
    assert from_context(context(exp=exp)).expires_at == 253402300799


@pytest.mark.parametrize("odd", ODD_CONTEXTS)
def test_a_context_of_another_form_is_no_caller(odd: Any) -> None:
    with pytest.raises((ValueError, RecursionError)):
        from_context(odd)


def test_the_largest_claims_that_may_be_sent_arrive() -> None:
    text = json.dumps({"a": "x" * (MAX_CLAIMS_BYTES - len('{"a": ""}'))})
    assert len(text) == MAX_CLAIMS_BYTES
    assert from_context(context(caller_claims=text)).claims == json.loads(text)


def test_without_claims_there_are_none() -> None:
    assert from_context(context(exp=str(int(time.time())))).claims == {}
