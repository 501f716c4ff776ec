"""`make demo`: it shows what happens, its lines are true, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
from urllib.parse import urlsplit

import pytest

from tests.operations.test_manage import paste, start
from tests.support.project import PROJECT


def test_the_demo_serves_what_it_prints_and_ctrl_c_ends_it_cleanly() -> None:
    demo = start(PROJECT, "-m", "tests.e2e.demo")
    assert demo.stdout is not None
    printed = ""
    while "Ctrl-C stops it" not in printed:
        line = demo.stdout.readline()
        assert line, printed
        printed += line
    try:
        rows = re.findall(r"^(?:GET|POST) \S.*$", printed, re.MULTILINE)
        assert len(rows) == 6
        assert all(row.endswith("ok") for row in rows)
        promised = re.findall(r"^# (\d{3}): .*\n(curl .*)$", printed, re.MULTILINE)
        assert len(promised) == 6
        for code, command in promised:
            assert paste(command)[0] == int(code)
        served = urlsplit(promised[0][1].split()[-1])
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert rest.strip().endswith("Stopped.")
    assert "Traceback" not in rest
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", served.port or 0), 2):
        pass
