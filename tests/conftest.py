"""What every test can rely on: the package comes from this checkout, and `real` means real.

A test marked `real("strace", root=True)` works with components that a machine may lack. Without
them it is skipped with the reason; where CI=true, that skip is a failure, so a machine that is
meant to run everything cannot quietly run less.

Several workers may share the tests (pytest-xdist): a file stays with one of them, or several files
that share a machine, while tests that are alone anyway are dealt out one by one. What a worker
knows reaches the summary in its reports.
"""

import os
import shutil
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Who runs tests in the background may have these ignored, and every child would inherit that.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

from tests import limits  # noqa: E402
from tests.at_once import AtOnce  # noqa: E402
from tests.longest import Longest  # noqa: E402

_SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
_ran: dict[str, bool] = {}
_DID_RUN = pytest.StashKey[bool]()
_REAL = "real"  # among the user properties of a report: did the test run?
_TOGETHER = ("tests/compat/real",)  # directories whose tests have one machine in common
_ALONE = ("tests/faults",)  # each test of these has its own


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real(*programs, root=False): works with real components of the machine")
    config.addinivalue_line("markers", "alone: no other test runs at the same time")
    config.pluginmanager.register(limits)
    config.pluginmanager.register(Longest(_scope_of))
    config.pluginmanager.register(AtOnce(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep what has something in common with one worker, in its order."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        """What is dealt out as one: a file, but for _TOGETHER and _ALONE."""

        def _split_scope(self, nodeid: str) -> str:
            return _scope_of(nodeid)

    return Together(config, log)


def _scope_of(nodeid: str) -> str:
    path = Path(nodeid.partition("::")[0])
    if any(path.is_relative_to(name) for name in _ALONE):
        return nodeid
    return next((name for name in _TOGETHER if path.is_relative_to(name)), str(path))


def pytest_runtest_setup(item: pytest.Item) -> None:
    marks = list(item.iter_markers("real"))
    if not marks:
        return
    item.stash[_DID_RUN] = False
    for mark in marks:
        needs(*mark.args, **mark.kwargs)
    item.stash[_DID_RUN] = True


def needs(*names: str | Path, root: bool = False) -> None:
    """Skip the running test when a program, a file (Path) or root is missing; where CI=true, fail it."""
    missing = [str(name) for name in names if not _is_there(name)]
    if root and os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = f"needs {', '.join(missing)} (`make test-deps`, as root)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _is_there(name: str | Path) -> bool:
    return name.exists() if isinstance(name, Path) else shutil.which(name, path=_SEARCH) is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A real-component test that skips itself while it runs did not run either."""
    report = yield
    if _DID_RUN not in item.stash:
        return report
    if report.skipped:
        item.stash[_DID_RUN] = False
        if os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
    if report.when == "teardown":
        report.user_properties.append((_REAL, item.stash[_DID_RUN]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count where the reports of all workers come together."""
    _ran.update((report.nodeid, value) for name, value in report.user_properties if name == _REAL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"real-component tests: {sum(_ran.values())} of {len(_ran)} ran")
