"""What every test can rely on: the package comes from this checkout, and `real` means real.

A test marked `real("strace", root=True)` works with components that a machine may lack. Without
them it is skipped with the reason; where CI=true, that skip is a failure, so a machine that is
meant to run everything cannot quietly run less.
"""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
_ran: dict[str, bool] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real(*programs, root=False): works with real components of the machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    marks = list(item.iter_markers("real"))
    if not marks:
        return
    _ran[item.nodeid] = False
    for mark in marks:
        needs(*mark.args, **mark.kwargs)
    _ran[item.nodeid] = True


def needs(*programs: str, root: bool = False) -> None:
    """Skip the running test when a program or root is missing; where CI=true, fail it."""
    missing = [name for name in programs if shutil.which(name, path=_SEARCH) is None]
    if root and os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = "needs " + ", ".join(missing)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A real-component test that skips itself while it runs did not run either."""
    report = yield
    if report.skipped and item.nodeid in _ran:
        _ran[item.nodeid] = False
        if os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"real-component tests: {sum(_ran.values())} of {len(_ran)} ran")
