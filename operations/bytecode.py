"""Bytecode for what is deployed: a function's folder is read-only in Lambda, so each cold start compiles it again.

The bytecode is compared with its source when it is imported (PEP 552), so what is out of date is never run.
"""

from __future__ import annotations

import inspect
import py_compile
import shutil
from importlib.util import cache_from_source
from pathlib import Path

import chalice.app
import jwt.algorithms

#: The largest sources of the package: two thirds of what there is to compile, for half of the bytes.
CHALICE = ("app.py",)
PYJWT = ("algorithms.py", "api_jws.py", "api_jwt.py")


def write(project: Path) -> None:
    """Compile into vendor/, which Chalice deploys beside what it adds itself: its runtime and PyJWT.

    What Python has left in chalicelib/ is removed: Chalice would deploy it, and Lambda could not use it, for it
    is compared with the time of its source, which a deployment changes.
    """
    for cache in [*(project / "chalicelib").rglob("__pycache__")]:
        shutil.rmtree(cache)
    for module, names in ((chalice.app, CHALICE), (jwt.algorithms, PYJWT)):
        source = Path(inspect.getfile(module)).parent
        folder = project / "vendor" / source.name
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)  # with what another Python has left
        for name in names:
            py_compile.compile(
                str(source / name),
                cfile=cache_from_source(str(folder / name)),
                dfile=f"{source.name}/{name}",  # no path of this machine in it, and the same bytes everywhere
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
            )
