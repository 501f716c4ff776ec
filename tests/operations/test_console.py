"""docs/console.html, as far as no browser is needed; `make test-browser` drives it in one."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tests.support.project import PROJECT

PAGE = (PROJECT / "docs" / "console.html").read_text()


@pytest.mark.parametrize("kind", ["script", "style"])
def test_nothing_but_what_the_page_holds_can_run_in_it(kind: str) -> None:
    (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", PAGE, re.DOTALL)
    right = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert f"{kind}-src 'sha256-{right}'" in PAGE, f"write '{kind}-src 'sha256-{right}' into the page's policy"
    assert "default-src 'none'" in PAGE


def test_the_token_is_kept_nowhere() -> None:
    for place in ("localStorage", "sessionStorage", "indexedDB", "cookie", "pushState", "innerHTML", "location.hash"):
        assert place not in PAGE


def test_the_page_loads_nothing() -> None:
    assert not re.search(r"(src|href)=", PAGE.replace("-src", ""))
