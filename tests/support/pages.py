"""Follow a page of documentation, as a reader with an editor and a shell would.

A block of `diff` is a change in the file that the text before it names last, in backticks; several may follow one name.
Lines are found by their text, so a diff needs neither `@@` nor line numbers. A block of `python` or `json` whose own
text says "new file" and names one is that file, whole. Blocks of `sh` are commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block: diff, file, sh or another kind; `file` is the last that the text before it names, or empty."""

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
        made = kind in {"python", "json"} and named and "new file" in before
        yield Block("file" if made else kind, file, body)


def follow(text: str, folder: Path, run: Callable[[str], object] = lambda _commands: None) -> None:
    """Do what the blocks of a section say, in their order; `run` gets each block of commands."""
    for block in blocks(text):
        if block.kind == "diff":
            _change(folder / block.file, block.text)
        elif block.kind == "file":
            assert not (folder / block.file).exists(), block.file
            (folder / block.file).write_text(block.text)
        elif block.kind == "sh":
            run(block.text)


def dead_links(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere: no such file in the project, or no such heading in it."""
    return [
        f"{target}#{anchor}" if anchor else target
        for target, anchor in re.findall(r"\]\((?!http|\.\./)([^)#]*)(?:#([^)]+))?\)", page.read_text())
        if not _leads(page.parent / target if target else page, anchor)
    ]


def _leads(linked: Path, anchor: str) -> bool:
    if not anchor:
        return linked.exists()
    headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if linked.exists() else []
    return anchor in {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in headings}


def _change(file: Path, diff: str) -> None:
    """Change the one place that the diff's context and removed lines describe."""
    lines = diff.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    assert file.read_text().count(before) == 1, f"{file.name} has not exactly one place like this:\n{before}"
    file.write_text(file.read_text().replace(before, after))
