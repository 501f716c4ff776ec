"""A terminal: programs that are started, read, and ended with Ctrl-C, and lines that are pasted into another one."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from operations.requests import Due
from tests.support.local_server import ask


def start(project: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program in a process group of its own, which Ctrl-C can be sent to."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Under a shell's `&`, where Ctrl-C is ignored, the tests pass too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # no threads
    )


def read_until(program: subprocess.Popen[str], text: str) -> str:
    """Return what the program prints, up to the line that holds this text."""
    assert program.stdout is not None
    printed = ""
    while text not in printed:
        line = program.stdout.readline()
        assert line, printed
        printed += line
    return printed


def press_ctrl_c(program: subprocess.Popen[str], timeout: float = 30) -> str:
    """Press Ctrl-C and return what is printed after it."""
    os.killpg(program.pid, signal.SIGINT)
    return program.communicate(timeout=timeout)[0]


def paste_all(printed: str) -> list[tuple[Due, str, int, bytes]]:
    """Do what each printed curl line does, after the `export` lines; return what is due, line, status and body."""
    variables = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    lines = re.findall(r"^# ([^:\n]+): .*\n(curl .*)$", printed, re.MULTILINE)
    return [(Due(due), command, *_paste(command, variables)) for due, command in lines]


def _paste(command: str, variables: dict[str, str]) -> tuple[int, bytes]:
    """Do what this curl line does; a machine that runs the tests need not have curl."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-X", default="GET")
    parser.add_argument("-d")
    parser.add_argument("url")
    words = [
        re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables[found[1] or found[2]], word)
        for word in shlex.split(command)[1:]
    ]
    given = parser.parse_args(words)
    url = urlsplit(given.url)
    headers = dict(header.split(": ", 1) for header in given.H)
    path = url.path + (f"?{url.query}" if url.query else "")
    code, _, body = ask(url.port or 80, given.X, path, given.d and given.d.encode(), **headers)
    return code, body
