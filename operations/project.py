"""The project that a command works on: its folder, its table, its app."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from chalice.app import Chalice

from chalicelib.guard.access import PUBLIC, Route, Table, TableError
from operations import requests
from operations.fault import Fault

#: By these names app.py is deployed: Chalice makes functions of them.
AUTHORIZER = "jwt_authorizer"
ROTATION = "rotate_secret"


@dataclass
class Project:
    """A folder with app.py and chalicelib/rules.py, which are imported when they are asked for, and only then.

    Whatever is wrong with them is a Fault of one sentence. `load` imports a module by its name. app.py decides by the
    environment variables which functions there are: `variables` None leaves them as they are.
    """

    folder: Path
    load: Callable[[str], Any] = import_module
    variables: Mapping[str, str] | None = None

    def for_stage(self, variables: Mapping[str, str]) -> Project:
        """Return the project as a stage with these variables has it."""
        return replace(self, variables=for_stage(os.environ, variables))

    @property
    def chalice_folder(self) -> Path:
        return self.folder / ".chalice"

    @property
    def local_secret(self) -> Path:
        """Return the file of this machine's own secret."""
        return self.chalice_folder / "local-secret"

    def examples(self) -> dict[Route, requests.Example]:
        """Return the examples of requests that the user gave, if any."""
        try:
            text = (self.chalice_folder / "examples.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Fault(f".chalice/examples.json cannot be read ({type(error).__name__}).") from None
        return requests.read_examples(text, self.table)

    @property
    def app(self) -> Chalice:
        app: Chalice = self._named("app")
        return app

    @property
    def authorizer(self) -> Any:
        """Return app.py's `jwt_authorizer`."""
        return self._named(AUTHORIZER)

    @cached_property
    def table(self) -> Table:
        rules = self._imported("chalicelib.rules")
        try:
            return Table(rules.RULES)
        except TableError as error:
            raise Fault(str(error)) from None
        except AttributeError:
            raise Fault("chalicelib/rules.py has no RULES: name the table so.") from None

    def declared(self) -> dict[Route, bool]:
        """Return the routes of app.py, and whether its authorizer guards each."""
        return {
            (method, template): entry.authorizer is self.authorizer
            for template, methods in self.app.routes.items()
            for method, entry in methods.items()
        }

    def faults(self) -> list[str]:
        """Return a sentence for each disagreement of table and app."""
        declared, found = self.declared(), []
        for route, group in self.table.rules.items():
            name = " ".join(route)
            if route not in declared:
                found.append(f"{name} is in the table but app.py has no such route.")
            elif declared[route] and group == PUBLIC:
                found.append(
                    f"{name} is PUBLIC in the table but app.py guards it: take authorizer= out, or name roles."
                )
            elif not declared[route] and group != PUBLIC:
                found.append(
                    f"{name} needs a token but app.py does not guard it with {AUTHORIZER}: take any other authorizer="
                    f" out, and call guard.protect({AUTHORIZER}) last."
                )
        for method, template in sorted(declared.keys() - self.table.rules.keys()):
            found.append(f"{method} {template} is in app.py but in no row of the table, so it is closed.")
        return found

    @cached_property
    def _module(self) -> Any:
        return self._imported("app")

    def _named(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise Fault(f"app.py has no {name}: it must have that name.") from None

    def _imported(self, name: str) -> Any:
        try:
            with _environment(self.variables):
                return self.load(name)
        except TableError as error:
            raise Fault(str(error)) from None
        except Exception as error:  # noqa: BLE001  # it is the user's code that runs here: anything can come out of it
            raise Fault(f"{name.replace('.', '/')}.py cannot be imported: {self._described(error)}") from None

    def _described(self, error: Exception) -> str:
        """Return what happened and where in the project, in one line."""
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if self._has(frame.filename)]
        file, line = (ours[-1].filename, ours[-1].lineno) if ours else (None, None)
        if isinstance(error, SyntaxError) and error.filename and self._has(error.filename):
            file, line = error.filename, error.lineno
        place = f"{Path(file).relative_to(self.folder)}, line {line}: " if file else ""
        said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        return f"{place}{type(error).__name__}: {said}"

    def _has(self, file: str) -> bool:
        place, engine = Path(file), self.folder / "chalicelib" / "guard"
        own = place == self.folder / "app.py" or place.is_relative_to(self.folder / "chalicelib")
        return own and not place.is_relative_to(engine)


def for_stage(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a stage's variables, and without settings of the guard from the operator's shell."""
    ours = {name for name in environment if name.startswith("JWT_")} | {"AUTHORIZER_SECRET", "CORS_ALLOWED_ORIGIN"}
    return {name: value for name, value in environment.items() if name not in ours} | dict(variables)


@contextmanager
def _environment(variables: Mapping[str, str] | None) -> Iterator[None]:
    before = dict(os.environ)
    if variables is not None:
        os.environ.clear()
        os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
