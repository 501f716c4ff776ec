"""`make pictures`: what `make demo` and `manage.py rules --html` print, as pictures for the README."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support import pages, sample
from tests.support.project import PROJECT
from tests.support.steps import say

COLUMNS = 112
#: A terminal's window, as rich draws it, without the fonts that it would fetch from elsewhere.
WINDOW = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
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
    """Return a picture of the access page: its style and its body, in SVG, which browsers draw as HTML."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    (body,) = re.findall(r"<body>\n(.*?)\n</body>", html, re.DOTALL)
    height = 340 + 36 * body.count('<th scope="row">')
    return PAGE.format(height=height, style=style.replace("body {", ".page {"), body=body)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        if sample.is_here():  # the picture is of what the README makes of it
            pages.follow(pages.section(PROJECT / "README.md", "Make it yours"), clone)
        keep("rules.svg", page(printed(clone, "manage.py", "rules", "--html")))
    keep("demo.svg", window("make demo ONCE=1", printed(PROJECT, "-m", "tests.e2e.demo", "--once")))


def printed(folder: Path, *words: str) -> str:
    return subprocess.run([sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def keep(file: str, picture: str) -> None:
    (PROJECT / "docs" / file).write_text(picture)
    say(f"docs/{file}, {len(picture)} bytes")


if __name__ == "__main__":
    main()
