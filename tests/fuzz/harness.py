"""One target under atheris, in this process, which ends by itself; `python -m tests.fuzz` starts it."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["chalicelib", "jwt", "json", "tests.support.rfc"]):
    from tests.fuzz import targets

atheris.Setup([sys.argv[0], *sys.argv[2:]], targets.TARGETS[sys.argv[1]])
atheris.Fuzz()
