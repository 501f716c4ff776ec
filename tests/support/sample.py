"""Whether the sample is still here: whoever takes this over puts a service of their own in its place."""

from __future__ import annotations

import re

from tests.support.project import PROJECT

NAME = "api-guard"


def is_here() -> bool:
    """Whether app, table and README are the sample's, by their names; the README's steps fit no other app."""
    rules = re.findall(r"^    (\(.+\)): (.+),$", (PROJECT / "chalicelib" / "rules.py").read_text(), re.MULTILINE)
    return (
        rules == [('("GET", "/protected-resource")', "READERS"), ('("POST", "/protected-resource")', "WRITERS")]
        and f'app_name="{NAME}"' in (PROJECT / "app.py").read_text()
        and (PROJECT / "README.md").read_text().startswith("# API guard\n")
    )
