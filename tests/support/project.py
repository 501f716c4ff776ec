"""Copies of the project, so that nothing is ever deployed from the checkout itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

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


def copy_everything(to: Path) -> Path:
    """Copy what a user's clone holds, tests included."""
    skipped = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "local-secret")
    shutil.copytree(PROJECT, to, ignore=skipped)
    return to
