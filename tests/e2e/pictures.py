"""`make pictures`: what `make demo` and `manage.py rules --html` print, as pictures for the README."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.project import PROJECT
from tests.support.steps import say

COLUMNS = 112
#: A terminal's window, as rich draws it, without the fonts that it would fetch from elsewhere.
WINDOW = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}">
<rect width="100%" height="100%" fill="#fff"/>
<foreignObject width="100%" height="100%">
<div class="page" xmlns="http://www.w3.org/1999/xhtml">
<style>{style}</style>
{body}
</div>
</foreignObject>
</svg>
"""


def window(command: str, printed: str) -> str:
    """Return a picture of a terminal in which this command has printed this."""
    console = Console(width=COLUMNS, file=io.StringIO(), record=True)
    console.print(Text(f"$ {command}\n{printed.rstrip()}", overflow="fold"))
    drawn = console.export_svg(title=command, code_format=WINDOW, unique_id="t")
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def page(html: str) -> str:
    """Return a picture of the access page: its style and its body, in SVG."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    (body,) = re.findall(r"<body>\n(.*?)\n</body>", html, re.DOTALL)
    height = 330 + 36 * body.count('<th scope="row">')
    return PAGE.format(height=height, style=style.replace("body {", ".page {"), body=body)


def main() -> None:
    for file, command, words, draw in (
        ("rules.svg", "manage.py rules --html", ["manage.py", "rules", "--html"], page),
        ("demo.svg", "make demo ONCE=1", ["-m", "tests.e2e.demo", "--once"], None),
    ):
        say(f"{command} ...")
        done = subprocess.run([sys.executable, *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
        picture = draw(done.stdout) if draw else window(command, done.stdout)
        written = Path(PROJECT, "docs", file)
        written.write_text(picture)
        say(f"Wrote docs/{file}, {len(picture)} bytes.")


if __name__ == "__main__":
    main()
