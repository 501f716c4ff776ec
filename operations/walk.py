"""A walk through both locks, laid out for a terminal. Colour only where there is one (rich honours NO_COLOR)."""

from __future__ import annotations

import sys
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.why import Explanation

STYLES = {"ok": "green", "NO": "bold red", "-": "dim", "": ""}
STATUSES = {200: "allowed", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


def show(explanation: Explanation) -> None:
    # A file or a pipe gets whole lines.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    # Text, never markup: what a token says is not to style or hide anything.
    for lock, steps in groupby(explanation.steps, key=lambda step: step.lock):
        console.print(Text(lock, style="bold"))
        table = Table.grid(padding=(0, 1))
        for step in steps:
            style = STYLES[step.verdict]
            table.add_row(
                "  ", Text(f"{step.verdict:<2}", style), Text(f"{step.name:<14}"), Text(step.found, overflow="fold")
            )
        console.print(table)
    allowed = explanation.status == 200
    verdict = f"{explanation.status} {STATUSES.get(explanation.status, '')}".rstrip()
    reason = f" ({explanation.reason})" if explanation.reason else ""
    console.print(
        Text(f"\nAnswer: {verdict}{reason}, by {explanation.by}", style="bold green" if allowed else "bold red")
    )
    for mend in explanation.mends:
        console.print(Text(f"Mend: {mend}"))
    for note in explanation.notes:
        console.print(Text(f"Note: {note}", style="dim"))
