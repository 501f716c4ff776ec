"""`make mutants`: mutmut over app.py and chalicelib/, in a copy of the project, and what it leaves alive.

A mutant is known by its function and its changed lines, so that it stays the same when lines move. It must be
killed by a test, or be in mutants.toml with the reason why no test can tell it from the original. One that
changes but the letter case of a sentence for people, or puts XX around it, counts as wording: tests hold what a
sentence must name, and not its words.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from tests.support.project import PROJECT

COPY = PROJECT / "build" / "mutants"
LISTED = Path(__file__).with_name("mutants.toml")
UNSHIPPED = shutil.ignore_patterns(".venv", ".git", "build", "__pycache__", ".*_cache", ".hypothesis", "deploy*")
#: What mutmut calls a mutant that a test, or the end of its time, tells from the original.
KILLED = ("killed", "timeout", "segfault")
ALIVE = ("survived", "no tests")


def main() -> int:
    """Print the figures; return 1 where a mutant lives that is not listed, or a listed one does not."""
    run()
    with contextlib.chdir(COPY):
        alive, counted = found()
    listed = {(one["where"], one["change"]): one["reason"] for one in tomllib.loads(LISTED.read_text())["mutant"]}
    unlisted = {mutant: how for mutant, how in alive.items() if mutant not in listed}
    for (where, change), how in sorted(unlisted.items()):
        say(f"\n{where} ({how})\n{change}")
    for where, change in sorted(listed.keys() - alive.keys()):
        say(f"\nListed in {LISTED.name}, and killed or gone: take it out.\n{where}\n{change}")
    say(
        f"\n{sum(counted.values())} mutants: {counted['killed']} killed, {counted['wording']} of wording,"
        f" {len(alive) - len(unlisted)} listed as equivalent, {len(unlisted)} neither."
    )
    return int(bool(unlisted or listed.keys() - alive.keys()))


def run() -> None:
    """Run mutmut in a new copy: it would not look again at what it found before, though the tests have changed."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(PROJECT, COPY, ignore=UNSHIPPED)
    for module in (COPY / "chalicelib" / "guard").rglob("*.py"):
        module.write_text(undecorated(module.read_text()))
    say("Mutating; twenty minutes or so on two cores ...")
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    done = subprocess.run([mutmut, "run", "--max-children", "2"], cwd=COPY, check=False)
    if done.returncode:
        sys.exit(f"mutmut ended with {done.returncode}; what it printed says why.")


def undecorated(source: str) -> str:
    """Return a module that does the same, with functions that mutmut takes: it passes over what has a decorator."""
    # What a cache keeps from one test, no mutant would change in another.
    source = re.sub(r"^@lru_cache\(.*\n", "", source, flags=re.MULTILINE)
    for decorator, name in re.findall(r"^@(cache|contextmanager)\ndef (\w+)", source, re.MULTILINE):
        source = source.replace(f"@{decorator}\ndef {name}", f"def {name}") + f"\n\n{name} = {decorator}({name})\n"
    return source


def found() -> tuple[dict[tuple[str, str], str], Counter[str]]:
    """Return the mutants that live, with how, and how many there are of each kind."""
    # mutmut reads its configuration when it is imported, where it is imported: in the copy.
    from mutmut.stats import status_by_exit_code

    alive, counted = {}, Counter[str]()
    for meta in sorted(Path("mutants").rglob("*.meta")):
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            how = status_by_exit_code[code]
            if how in KILLED:
                counted["killed"] += 1
            elif how not in ALIVE:
                sys.exit(f"{name} is {how}: run it again.")
            elif is_wording((mutant := identity(name))[1]):
                counted["wording"] += 1
            else:
                counted["alive"] += 1
                alive[mutant] = how
    return alive, counted


def identity(name: str) -> tuple[str, str]:
    """Return the function of a mutant, and the lines that it changes."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    changed = [line for line in get_diff_for_mutant(name).splitlines() if re.match(r"[-+](?!--|\+\+)", line)]
    where = re.sub(r"\.x_?", ".", name.rpartition("__mutmut_")[0].replace("\u01c1", ".")).replace("..", ".")
    return where, "\n".join(line[0] + line[1:].strip() for line in changed)


def is_wording(change: str) -> bool:
    """Whether a text of four words or more has another letter case or XX around it, and nothing else has changed."""
    match = re.fullmatch(r"-(.*)\n\+(.*)", change)
    if match is None:
        return False
    before, after = (re.findall(r'"([^"]*)"', line) for line in match.groups())
    if re.sub(r'"[^"]*"', "", match[1]) != re.sub(r'"[^"]*"', "", match[2]) or len(before) != len(after):
        return False
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    return all(len(old.split()) >= 4 and new.replace("XX", "").lower() == old.lower() for old, new in changed)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command of the project


if __name__ == "__main__":
    sys.exit(main())
