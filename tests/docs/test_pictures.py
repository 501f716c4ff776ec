"""`make pictures`: what commands print, as SVG that holds nothing but what they printed."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from operations import access_page, matrix
from operations.project import Project
from tests.support import pictures


def text_of(picture: str) -> str:
    return "".join(ElementTree.fromstring(picture).itertext()).replace("\xa0", " ")  # noqa: S314  # our own


def test_a_terminals_picture_holds_what_was_printed() -> None:
    picture = pictures.window("make it", 'ok  <name> & "value"\n')
    assert "$ make it" in text_of(picture)
    assert 'ok  <name> & "value"' in text_of(picture)
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_the_access_pages_picture_is_the_page(project: Project) -> None:
    html = access_page.page("fixture", matrix.cells(project.table), ["A & B"], "1a2b", datetime.now(UTC))
    assert "Who may call what: fixture" in text_of(pictures.page(html))
    assert "/reports/{report_id}" in text_of(pictures.page(html))
