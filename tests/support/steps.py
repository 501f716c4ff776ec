"""What `make demo` and `make load` print while they work, and the operator's commands that they run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.embedded_aws import EmbeddedAws


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # printing is what these commands are for


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    say(f"==> {what}")
    since = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - since:.1f} s")


def manage(project: Path, aws: EmbeddedAws, *words: str) -> None:
    """Run a command of manage.py and show what it prints, up to the first empty line."""
    command = [sys.executable, "-u", "manage.py", *words]
    say(f"    $ manage.py {' '.join(words)}")
    showing = True
    with subprocess.Popen(
        command, cwd=project, env=aws.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            showing = showing and bool(line.strip())
            if showing:
                say(f"      {line.rstrip()}")
    if running.returncode:
        raise SystemExit(f"manage.py {' '.join(words)} ended with {running.returncode}; what it printed says why.")
