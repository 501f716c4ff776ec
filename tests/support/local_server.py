"""`chalice local` of a project, over real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHALICE = str(Path(sys.executable).with_name("chalice"))
#: Nothing may reach the account of whoever runs the tests.
NO_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(project: Path, **environment: str) -> Iterator[int]:
    """Run `chalice local` in this copy of a project, as a developer would by hand; yield its port.

    What it prints goes to the file `printed` in the copy.
    """
    port, printed = free_port(), project / "printed"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with printed.open("wb") as out:
        server = subprocess.Popen(
            [CHALICE, "local", "--stage", "local", "--port", str(port), "--no-autoreload"],
            cwd=project,
            env={**kept, **NO_AWS, **environment, "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(150):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert server.poll() is None, printed.read_text()
                time.sleep(0.1)
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(10)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; return status, headers with names in lower case, and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    """Send these bytes and return all that comes back before the server closes or is quiet for a second."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        connection.settimeout(1)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(65536):
                answer += part
        return answer
