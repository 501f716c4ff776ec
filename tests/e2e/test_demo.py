"""`make demo`: it shows what happens, its lines are true, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import pytest

from operations.requests import plan
from tests.support.project import PROJECT, project_of
from tests.support.terminal import paste_all, press_ctrl_c, read_until, start


def test_the_demo_serves_what_it_prints_and_ctrl_c_ends_it_cleanly() -> None:
    yours = project_of(PROJECT)
    requests, _ = plan(yours.table, yours.examples())
    demo = start(PROJECT, "-m", "tests.e2e.demo")
    printed = read_until(demo, "Ctrl-C stops it")
    try:
        assert f"All {len(requests)} hold." in printed
        answers = paste_all(printed)
        assert len(answers) == len(requests)
        for due, command, got, _ in answers:
            assert due.met_by(got), command
        served = re.search(r"^export API=(\S+)$", printed, re.MULTILINE)
        assert served is not None
    finally:
        rest = press_ctrl_c(demo)
    assert demo.returncode == 0
    assert rest.strip().endswith("Stopped.")
    assert "Traceback" not in rest
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", urlsplit(served[1]).port or 0), 2),
    ):
        pass
