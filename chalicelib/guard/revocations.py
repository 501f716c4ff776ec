"""Ended sessions: whose tokens are refused, issued up to when. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Revocations:
    """Unix seconds: tokens issued up to then are refused, of everyone and by subject."""

    everyone: float = -1
    subjects: Mapping[str, float] = field(default_factory=dict, repr=False)

    def refuse(self, subject: str, issued_at: float | None) -> bool:
        """Whether this token is refused. One without `iat` may have been issued at any time."""
        until = max(self.everyone, self.subjects.get(subject, -1))
        return until >= 0 and (issued_at is None or issued_at <= until)


def parse(text: str) -> Revocations:
    """Return the list that `manage.py revoke` writes; ValueError or RecursionError for another form."""
    members: Any = json.loads(text)
    if not isinstance(members, dict) or members.keys() != {"everyone", "subjects"}:
        raise ValueError("not a list of revocations")
    everyone, subjects = members["everyone"], members["subjects"]
    if not isinstance(subjects, dict) or not all(type(until) is int for until in (everyone, *subjects.values())):
        raise ValueError("not a list of revocations")
    return Revocations(everyone, subjects)
