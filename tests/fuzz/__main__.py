"""`make fuzz`: coverage-guided fuzzing with atheris, each target in a process of its own, for a bounded time.

What it finds new goes to build/fuzz; what is worth keeping is copied into corpus/, which test_corpus.py replays.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from operations import matrix
from tests.support.project import PROJECT

CORPUS = Path(__file__).with_name("corpus")
BUILD = PROJECT / "build" / "fuzz"
TARGETS = sorted(folder.name for folder in CORPUS.iterdir())
#: A header of 8 KB is the longest that is read, and a second is a thousand times what any of these takes.
LIMITS = ("-max_len=8300", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0")


def main(seconds: int) -> int:
    """Fuzz every target for its part of the seconds; return 1 where one has a finding."""
    if importlib.util.find_spec("atheris") is None:
        say("NOTHING WAS FUZZED: atheris has no wheel for this platform (Linux on x86_64, Python 3.11 to 3.13).")
        return 0
    share = max(1, seconds // len(TARGETS))
    rows = [["target", "executions", "corpus", "finding"]]
    for name in TARGETS:
        say(f"Fuzzing {name} for {share} s ...")
        rows.append(fuzz(name, share))
    say("\n" + matrix.as_text(rows))
    return int(any(row[-1] != "none" for row in rows[1:]))


def fuzz(name: str, seconds: int) -> list[str]:
    """Return the row of this target."""
    found = BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    artifacts = f"-artifact_prefix={BUILD}/finding-{name}-"
    words = [f"-max_total_time={seconds}", *LIMITS, f"-dict={CORPUS.with_name('dictionary')}", artifacts]
    command = [sys.executable, "-m", "tests.fuzz.harness", name, *words, str(found), str(CORPUS / name)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, errors="replace", check=False)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode or executed is None:
        say("\n".join(line for line in (done.stdout + done.stderr).splitlines() if "INFO: Instrumenting" not in line))
    kept = re.search(r"Test unit written to (\S+)", done.stderr)
    finding = "none" if done.returncode == 0 and executed else str(kept[1] if kept else f"exit {done.returncode}")
    return [name, executed[1] if executed else "?", str(len(list(found.iterdir()))), finding]


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command of the project


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"[1-9]\d{0,5}", sys.argv[1]):
        sys.exit("Write the number of seconds to fuzz: make fuzz SECONDS=60")
    try:
        sys.exit(main(int(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(130)
