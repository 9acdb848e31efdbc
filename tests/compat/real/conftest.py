"""The machine for real programs, and the line `real callers: N of N` at the end of the tests.

A test marked `caller("cron", "at")` runs these programs; they count when all tests that are
marked with them have passed. The test of what runs at the next full minute comes after all other tests.
"""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from callers_machine import CallersMachine, what_lacks

CRONTAB = "MAILTO=bob\n* * * * * echo the night job; echo and its errors >&2; crontab -r\n"  # runs once
_CALLER = "caller"  # among the user properties of a report
_open: dict[str, set[str]] = {}  # which tests of a program have not passed, yet


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "caller(*names): runs these real programs, which call sendmail or mailq")
    config.addinivalue_line("markers", "last: runs after all other tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this directory need root; the one that waits comes when there was time to wait."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.real("unshare", "nsenter", "setpriv", "ip", "make", root=True))
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def _callers(item: pytest.Item) -> list[str]:
    return [name for mark in item.iter_markers("caller") for name in mark.args]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.user_properties += [(_CALLER, name) for name in _callers(item)]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count where the reports of all workers come together: a program counts when its tests have passed."""
    for name in [value for key, value in report.user_properties if key == _CALLER]:
        tests = _open.setdefault(name, set())
        if report.when == "setup":
            tests.add(report.nodeid)
        elif report.when == "call" and report.passed:
            tests.discard(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _open:
        missing = sorted(name for name, tests in _open.items() if tests)
        without = f" (without {', '.join(missing)})" if 0 < len(missing) < len(_open) else ""
        terminalreporter.write_line(f"real callers: {len(_open) - len(missing)} of {len(_open)}{without}")


@pytest.fixture(scope="session")
def machine() -> Iterator[CallersMachine]:
    """The machine with the mail system and cron running; alice has had a crontab from the beginning."""
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with CallersMachine() as machine:
        machine.prepare()
        machine.run("crontab", "-", user="alice", input=CRONTAB.encode())
        machine.spawn("cron", "-f")
        machine.spawn("atd", "-f")
        yield machine


@pytest.fixture
def home(machine: CallersMachine) -> str:
    """alice's home, as it was when it was made."""
    machine.script(
        "rm -rf /home/alice; cp -a /etc/skel /home/alice; chown -R alice: /home/alice; chmod 700 /home/alice"
    )
    return "/home/alice"
