"""The README is held to the code where a test can hold it."""

from __future__ import annotations

import re

from chalicelib.guard.settings import NAMES
from tests.support.project import PROJECT

README = (PROJECT / "README.md").read_text()


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    table = README.split("## Settings\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`((?:JWT|AUTHORIZER|CORS)_[A-Z_]+)`", table)) == set(NAMES)


def test_every_command_that_the_readme_gives_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"^make (\w[\w-]*)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for command in set(re.findall(r"manage\.py (\w+)", README)):
        assert (
            f"def {command}" in (PROJECT / "manage.py").read_text()
            or f'"{command}"' in (PROJECT / "manage.py").read_text()
        )


def test_every_module_of_the_engine_is_in_the_readme() -> None:
    layout = README.split("## How it is laid out\n")[1]
    for module in (PROJECT / "chalicelib" / "guard").rglob("[a-z]*.py"):
        assert module.name in layout
