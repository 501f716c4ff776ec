"""Load a service, which is an app.py with a chalicelib/ of its own, beside the engine of this checkout.

The engine's tests load the service in tests/support/service/, whoever's app.py is at the top level.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from chalice.app import Chalice

import chalicelib
from chalicelib.guard import Guard, Rules

FOLDER = Path(__file__).parent / "service"


@dataclass(frozen=True)
class Service:
    """A loaded service. Each loading makes new objects, so nothing that one test does reaches another."""

    app: Chalice
    guard: Guard
    jwt_authorizer: Any
    rules: Rules


def load(folder: Path = FOLDER) -> Service:
    """Import app.py and chalicelib/rules.py of this folder; leave no trace of them in sys.modules."""
    own = ["app", *(f"chalicelib.{file.stem}" for file in (folder / "chalicelib").glob("[a-z]*.py"))]
    with _forgotten(own), _searched_first(folder / "chalicelib"):
        spec = importlib.util.spec_from_file_location("app", folder / "app.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["app"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return Service(module.app, module.guard, module.jwt_authorizer, sys.modules["chalicelib.rules"].RULES)


@contextmanager
def _forgotten(names: list[str]) -> Iterator[None]:
    """Forget these modules, for a while and then again: what was there before comes back."""
    before: dict[str, ModuleType | None] = {name: sys.modules.pop(name, None) for name in names}
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            parent, _, attribute = name.rpartition(".")
            if module is not None:
                sys.modules[name] = module
            if parent and module is not None:
                setattr(chalicelib, attribute, module)
            elif parent and hasattr(chalicelib, attribute):
                delattr(chalicelib, attribute)


@contextmanager
def _searched_first(folder: Path) -> Iterator[None]:
    chalicelib.__path__.insert(0, str(folder))
    try:
        yield
    finally:
        chalicelib.__path__.remove(str(folder))
