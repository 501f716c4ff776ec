"""docs/settings.md has every setting, and each page that the documentation links to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chalicelib.guard.settings import NAMES, from_environment
from tests.support import pages
from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "settings.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))


def test_every_setting_has_a_row_and_no_other_name_has() -> None:
    assert set(ROWS) == set(NAMES)
    assert set(re.findall(r"\b(?:JWT|AUTHORIZER|CORS)_[A-Z_]+\b", PAGE)) == set(NAMES)


def test_the_defaults_of_the_page_are_those_of_the_engine() -> None:
    written = {name: found[1] for name, text in ROWS.items() if (found := re.match(r"`([^`]+)`", text))}
    assert from_environment(written) == from_environment({})
    assert {name for name, text in ROWS.items() if not text.startswith("`")} == {
        name for name in NAMES if ROWS[name] == "unset"
    }


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert pages.dead_links(page) == []
