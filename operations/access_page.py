"""The access matrix as one page of HTML to hand to an auditor. No script in it, and nothing from elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Who may call what: $app</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #111; }
table { border-collapse: collapse; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { border: 1px solid #666; padding: .3rem .8rem; text-align: left; }
tbody th { font: .95rem ui-monospace, monospace; }
td { text-align: center; }
td.yes { background: #dff3df; font-weight: bold; }
td.own { background: #fff3d0; }
.wrong { border-left: .4rem solid #a00; padding-left: 1rem; }
@media print { body { margin: 0; max-width: none; } thead { display: table-header-group; } tr { break-inside: avoid; } }
</style>
</head>
<body>
<h1>Who may call what: $app</h1>
<p>Made on $date from <code>chalicelib/rules.py</code>, revision $revision.</p>
$agreement
<table>
<caption>Routes down, roles across. <q>yes</q>: a caller with this role may; <q>own</q>: a caller may where the path
names the caller; <q>public</q>: no token is needed; a dash: refused. A route that is not listed is closed to
everyone.</caption>
<thead><tr>$header</tr></thead>
<tbody>
$rows
</tbody>
</table>
</body>
</html>
""")


def page(app: str, cells: Sequence[Sequence[str]], faults: Sequence[str], revision: str, now: datetime) -> str:
    """Return the page of these cells (as `matrix.cells` makes them); `faults` are the table's disagreements."""
    header, *rows = cells
    if faults:
        listed = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
        agreement = f'<div class="wrong"><p>The table and the routes of app.py disagree:</p><ul>{listed}</ul></div>'
    else:
        agreement = f"<p>The table agrees with app.py: all {len(rows)} routes are in it, each guarded as it says.</p>"
    return _PAGE.substitute(
        app=escape(app),
        date=now.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        revision=escape(revision),
        agreement=agreement,
        header="".join(f'<th scope="col">{escape(cell)}</th>' for cell in header),
        rows="\n".join(_row(row) for row in rows),
    )


_CLASSES = {"-": "no", "own": "own"}


def _row(row: Sequence[str]) -> str:
    method, path, *may = (escape(cell) for cell in row)
    cells = "".join(f'<td class="{_CLASSES.get(cell, "yes")}">{cell}</td>' for cell in may)
    return f'<tr><td>{method}</td><th scope="row">{path}</th>{cells}</tr>'


def revision(folder: Path) -> str:
    """Return the commit that the project is at, and whether it has been changed since."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not under version control here)"
    return f"{commit} with uncommitted changes" if changes else commit


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  # no shell
