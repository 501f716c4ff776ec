"""Paste what a command of manage.py printed into a shell: its export block, then each of its curl lines."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from operations.requests import Due

# Small images have no curl. What replaces it takes what is printed, and no more.
_CURL = f'curl() {{ {shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name("curl.py")))} "$@"; }}'


#: What a shell needs to know before lines with curl are pasted into it.
PREAMBLE = "" if shutil.which("curl") else _CURL


class Pasted(NamedTuple):
    """A printed line, what it said is due, and the status that came."""

    line: str
    due: str
    status: int

    @property
    def right(self) -> bool:
        return Due(self.due).met_by(self.status)


def paste(printed: str, folder: Path, environment: Mapping[str, str]) -> list[Pasted]:
    """Run the lines in one shell, as printed; AssertionError where there are none, or one has no answer."""
    block = re.findall(r"^export .*$", printed, re.MULTILINE)
    lines = re.findall(r"^# (.+?): .*\n(curl .*)$", printed, re.MULTILINE)
    assert block, printed
    assert lines, printed
    script = [PREAMBLE, *block, *(f"echo '== next'\n{line}" for _, line in lines)]
    done = subprocess.run(
        ["sh"], input="\n".join(script), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    answers = done.stdout.split("== next\n")[1:]
    statuses = [re.match(r"HTTP/[\d.]+ (\d{3})", answer) for answer in answers]
    assert all(statuses), done.stdout + done.stderr
    found = [int(status[1]) for status in statuses if status is not None]
    return [Pasted(line, due, status) for (due, line), status in zip(lines, found, strict=True)]
