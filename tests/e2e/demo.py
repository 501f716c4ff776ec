"""`make demo`: your app from its secret to its answers, deployed by `chalice deploy` on the embedded AWS."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.support import embedded_aws
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import PROJECT
from tests.support.steps import say, step

STAGE = "dev"
#: What no deployment needs, and what this checkout has deployed to an account.
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "tests", "bench", "docs", "build", "mutants"),
    *("local-secret", "deployed", "deployments"),
)


def main(*, once: bool) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped here too
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        project = shutil.copytree(PROJECT, folder / "project", ignore=LEFT_OUT)
        with step("Start the embedded AWS, with IAM enforced"):
            aws = stack.enter_context(embedded_aws.running())
        with step("Step 1 of the tutorial: put a secret into Secrets Manager"):
            manage(project, aws, "secret", "create", "--stage", STAGE)
        with step("Steps 2 to 7: roles, authorizer, API, methods, deployment, by chalice deploy (5 s or so)"):
            _, printed = manage(project, aws, "deploy", "--stage", STAGE, until=" answers on http")
        with step("Testing the API: requests for each row of the table, through the emulated API Gateway"):
            status, _ = manage(project, aws, "smoke", "--stage", STAGE, may_fail=True)
        if not once:
            say(with_tokens(printed, project, aws))
            say("Ctrl-C stops it, and leaves nothing behind. The tokens are good for an hour.")
            threading.Event().wait()
        return status
    say("\nStopped.")
    return 130 if once else 0


def manage(
    project: Path, aws: EmbeddedAws, *words: str, until: str | None = None, may_fail: bool = False
) -> tuple[int, str]:
    """Run a command of manage.py and show what it prints, as it prints it.

    From a line that holds `until` on nothing is shown, and returned instead, beside the exit status.
    """
    command = [sys.executable, "-u", "manage.py", *words]
    say(f"    $ manage.py {' '.join(words)}")
    kept: list[str] = []
    with subprocess.Popen(
        command, cwd=project, env=aws.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if kept or (until and until in line):
                kept.append(line)
            elif line.strip():
                say(f"      {line.rstrip()}")
    if running.returncode and not may_fail:
        raise SystemExit(f"manage.py {' '.join(words)} ended with {running.returncode}; what it printed says why.")
    return running.returncode, "".join(kept)


def with_tokens(printed: str, project: Path, aws: EmbeddedAws) -> str:
    """Return what `deploy` printed with the tokens themselves: another terminal does not know the embedded AWS."""

    def token(command: re.Match[str]) -> str:
        words = shlex.split(command[1])
        return subprocess.check_output(words, cwd=project, env=aws.environment(), text=True).strip()

    return re.sub(r"\$\((.+)\)$", token, printed.replace("From this folder:\n\n", ""), flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(once="--once" in sys.argv[1:]))
