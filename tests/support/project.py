"""Copies of the project, so that nothing is ever deployed from the checkout itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from operations.project import Project
from tests.support import service

PROJECT = Path(__file__).parents[2]
SERVICE = Path(__file__).parent / "service"
UNSHIPPED = shutil.ignore_patterns("__pycache__", "local-secret", "deployed", "deployments")


def copy_project(to: Path) -> Path:
    """Make a project of the engine's own service: its app, table and stages, with the engine and the operations."""
    shutil.copytree(SERVICE, to, ignore=UNSHIPPED)
    shutil.copytree(PROJECT / "chalicelib" / "guard", to / "chalicelib" / "guard", ignore=UNSHIPPED)
    shutil.copytree(PROJECT / "operations", to / "operations", ignore=UNSHIPPED)
    shutil.copytree(PROJECT / "requirements", to / "requirements")
    shutil.copy(PROJECT / "manage.py", to)
    # What the engine needs, whatever else the requirements of the app at the top level are.
    needed = re.findall(r"^pyjwt==.*(?:\n    .*)*\n", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    (to / "requirements.txt").write_text("".join(needed))
    return to


def project_of(folder: Path) -> Project:
    """Return the service in this folder as manage.py's commands see their project, beside the engine of this checkout.

    Each import of it is a new one.
    """

    def load(name: str) -> Any:
        loaded = service.load(folder)
        return loaded if name == "app" else SimpleNamespace(RULES=loaded.rules)

    return Project(folder, load)


def change(file: Path, old: str, new: str) -> None:
    """Replace what is in this file once."""
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))


def of_another_name(project: Path, name: str) -> Path:
    """Call the service otherwise, so that it can be deployed beside the one of other tests."""
    for file in [project / "app.py", *(project / ".chalice").glob("*.json")]:
        file.write_text(file.read_text().replace("fixture", name))
    return project


def configure(project: Path, stage: str, edit: Callable[[Any], object]) -> None:
    """Edit the environment variables of a stage."""
    file = project / ".chalice" / "config.json"
    config = json.loads(file.read_text())
    edit(config["stages"][stage]["environment_variables"])
    file.write_text(json.dumps(config))


def copy_everything(to: Path) -> Path:
    """Copy what a user's clone holds, tests included."""
    skipped = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "local-secret")
    shutil.copytree(PROJECT, to, ignore=skipped)
    return to
