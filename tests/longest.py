"""Files that take long begin first, so that no worker is left alone with one at the end.

Each run says which they were: when the order of FIRST is no longer that, change it. Durations are of the wall clock,
and of one machine; only their order counts.
"""

from collections import Counter
from collections.abc import Callable

import pytest

FIRST = (
    "tests/compat/real",
    "tests/integration/test_relayed_into_us.py",
    "tests/integration/test_steering_stories.py",
    "tests/integration/test_metrics_stories.py",
    "tests/integration/root/test_deb_on_debian.py",
    "tests/integration/root/test_ten_faults.py",
    "tests/integration/test_operation_stories.py",
    "tests/integration/root/test_smarthosts.py",
    "tests/integration/root/test_documents.py",
    "tests/integration/root/test_pip_install.py",
    "tests/integration/root/test_dovecot.py",
    "tests/integration/root/test_name_service.py",
    "tests/integration/test_smtp_server_limits.py",
    "tests/integration/root/test_dane_postfix.py",
    "tests/integration/local/test_local_programs.py",
    "tests/integration/local/test_local_races.py",
    "tests/integration/root/test_local_delivery.py",
    "tests/integration/test_smtp_submission.py",
    "tests/integration/test_milter_stories.py",
)
_SHOWN = 12


class Longest:
    """The plugin; scope_of() says what is dealt out as one."""

    def __init__(self, scope_of: Callable[[str], str]) -> None:
        self._scope_of = scope_of
        self._seconds: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put what takes long before the rest, which stays in its order."""
        places = {scope: place for place, scope in enumerate(FIRST)}
        items.sort(key=lambda item: places.get(self._scope_of(item.nodeid), len(places)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up where the reports of all workers come together."""
        self._seconds[self._scope_of(report.nodeid)] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what took longest."""
        found = [f"{seconds:.0f} s {scope}" for scope, seconds in self._seconds.most_common(_SHOWN) if seconds >= 5]
        if found:
            terminalreporter.write_line(f"longest: {', '.join(found)}")
