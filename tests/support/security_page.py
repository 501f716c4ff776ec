"""Which tests docs/security.md names, and whether a run of the tests held them."""

from __future__ import annotations

import re

import pytest

from tests.support.project import PROJECT

PAGE = PROJECT / "docs" / "security.md"


def named() -> list[str]:
    """Return the node ids, without parameters, in the order of the page."""
    return re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE.read_text())


class Held:
    """A plugin: at the end of a whole run, fail it where a named test did not run and pass with all its parameters.

    With xdist it is the controller that hears of every worker's tests, so only it is asked.
    """

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.others: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            (self.passed if report.passed else self.others).add(report.nodeid.partition("[")[0])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not (PAGE.exists() and is_whole(session.config)):  # an app that took over the fixtures alone has no page
            return
        missing = sorted(set(named()) - (self.passed - self.others))
        if missing:
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            if reporter is not None:
                reporter.write_line("\ndocs/security.md names tests that did not run and pass:", red=True)
                for test in missing:
                    reporter.write_line(f"  {test}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def is_whole(config: pytest.Config) -> bool:
    """Whether this run is of all tests: on no worker, with nothing chosen and nothing left out."""
    chosen = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "collectonly", "maxfail", "stepwise")
    return (
        not hasattr(config, "workerinput")
        and config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and not any(config.getoption(name, None) for name in chosen)
    )
