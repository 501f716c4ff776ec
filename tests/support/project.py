"""A copy of what a user's clone holds, so that nothing is ever deployed from the checkout itself."""

from __future__ import annotations

import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def copy_project(to: Path) -> Path:
    unshipped = shutil.ignore_patterns("__pycache__", "local-secret", "deployed", "deployments")
    for name in ("chalicelib", "operations", ".chalice", "requirements"):
        shutil.copytree(PROJECT / name, to / name, ignore=unshipped)
    for name in ("app.py", "manage.py", "requirements.txt"):
        shutil.copy(PROJECT / name, to)
    return to
