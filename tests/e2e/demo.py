"""`make demo`: the tutorial from its first step to its last, deployed by `chalice deploy` on the embedded AWS."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from operations import minting, smoke
from tests.support import embedded_aws
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import copy_project

STAGE = "dev"


def main(*, once: bool) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped here too
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="api-guard-demo-")))
        with step("Start the embedded AWS, with IAM enforced"):
            aws = stack.enter_context(embedded_aws.running())
        project = copy_project(folder / "project")
        with step("Step 1 of the tutorial: put a secret into Secrets Manager"):
            manage(project, aws, "secret", "create", "--stage", STAGE)
        with step("Steps 2 to 7: roles, authorizer, API, methods, deployment, by chalice deploy (15 s or so)"):
            manage(project, aws, "deploy", "--stage", STAGE, until="The API guard answers")
        with step("Mint tokens with the secret in Secrets Manager"):
            tokens = {role: mint(project, aws, role) for role in ("user", "admin")}
            tokens["spoiled"] = minting.spoiled(tokens["user"])
        url = f"{api_url(project, aws)}/protected-resource"
        with step("Testing the API: the tutorial's requests, through the emulated API Gateway"):
            say("\n" + smoke.HEADER.rstrip())
            right = 0
            for row in smoke.rows(url, tokens):
                say(smoke.line(row))
                right += row.right
            say("")
        if not once:
            say(f"The API guard answers on {url}\n\nPaste any of these into another terminal, within the hour:\n")
            say(minting.curl_lines(url, tokens))
            say("Ctrl-C stops it, and leaves nothing behind.")
            threading.Event().wait()
        return 0 if right == len(minting.TUTORIAL) else 1
    say("\nStopped.")
    return 130 if once else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # printing is what a demonstration is for


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    say(f"==> {what}")
    since = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - since:.1f} s")


def manage(project: Path, aws: EmbeddedAws, *words: str, until: str | None = None) -> None:
    """Run a command of manage.py and show what it prints as it prints it, up to a line that starts with `until`."""
    command = [sys.executable, "-u", "manage.py", *words]
    say(f"    $ manage.py {' '.join(words)}")
    showing = True
    with subprocess.Popen(
        command, cwd=project, env=aws.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            showing = showing and not (until and line.startswith(until))
            if showing and line.strip():
                say(f"      {line.rstrip()}")
    if running.returncode:
        raise SystemExit(f"manage.py {' '.join(words)} ended with {running.returncode}; what it printed says why.")


def mint(project: Path, aws: EmbeddedAws, role: str) -> str:
    command = [sys.executable, "manage.py", "token", "--stage", STAGE, "--sub", role, "--role", role]
    return subprocess.check_output(command, cwd=project, env=aws.environment(), text=True).strip()


def api_url(project: Path, aws: EmbeddedAws) -> str:
    deployed = json.loads((project / ".chalice" / "deployed" / f"{STAGE}.json").read_text())
    (api_id,) = (found["rest_api_id"] for found in deployed["resources"] if found["name"] == "rest_api")
    return aws.api_url(api_id, STAGE)


if __name__ == "__main__":
    sys.exit(main(once="--once" in sys.argv[1:]))
