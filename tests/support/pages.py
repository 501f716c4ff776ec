"""Follow a page of documentation, as a reader with an editor and a shell would.

A block of `diff` is a change in a file: the last `` `file` `` that the text before the block names. Lines are found by
their text, so a diff needs neither `@@` nor line numbers. A block of `python` after a text that names a file is that
file, whole. Blocks of `sh` are run as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block; `file` is the last that the section's text names before it, or empty."""

    kind: str
    file: str
    text: str


def section(page: Path, heading: str) -> str:
    """Return what is under this heading, up to the next one of its level."""
    text = page.read_text()
    (begin,) = re.findall(rf"^(#+ {re.escape(heading)})$", text, re.MULTILINE)
    level = begin.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", text.partition(f"{begin}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str) -> Iterator[Block]:
    file = ""
    for before, kind, body in re.findall(r"(.*?)^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        named = re.findall(r"`([\w./-]+\.(?:py|json|txt))`", before)
        file = named[-1] if named else file
        yield Block(kind, file, body)


def apply(block: Block, folder: Path) -> None:
    """Change the one place of the file that the diff's context and removed lines describe, or write the file."""
    file = folder / block.file
    if block.kind == "python":
        assert not file.exists(), block.file
        file.write_text(block.text)
        return
    lines = block.text.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    assert file.read_text().count(before) == 1, f"{block.file} has not exactly one place like this:\n{before}"
    file.write_text(file.read_text().replace(before, after))
