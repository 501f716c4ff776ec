"""What requirements.txt asks for, as far as a deployment depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from operations.fault import Fault


def lines(file: Path) -> Iterator[str]:
    """Yield a requirement a line, those of files that it names with -r as well; Fault for one that cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Fault(f"{file.name} cannot be read ({type(error).__name__}): Chalice packs what it lists.") from None
    for line in re.sub(r"\\\n", " ", text).splitlines():
        given = re.sub(r"(^|\s)#.*", "", line).strip()
        other = re.match(r"(?:-r|--requirement)[ =]*(\S+)", given)
        if other:
            yield from lines(file.parent / other[1])
        elif given and not given.startswith("--"):
            yield given


def check_hashes(file: Path) -> int:
    """Return how many requirements there are; Fault where some have hashes and others none: pip refuses that."""
    found = [*lines(file)]
    without = [line for line in found if "--hash" not in line]
    if without and len(without) < len(found):
        raise Fault(
            f"{without[0].split()[0]} has no --hash in {file.name}, and others have: pip refuses that. Add its"
            " hashes (make lock does, for a line in requirements/lambda.in), or take out all of them."
        )
    return len(found)


def names(file: Path) -> set[str]:
    """Return the names of the packages, in the form that pip compares them in."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines(file))
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in found if name}
