"""What fails is named at once: a run that is ended before its summary has said it, and nobody waits for the rest."""

import pytest


class AtOnce:
    """The plugin."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Name it where the reports of all workers come together."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None and not hasattr(self._config, "workerinput"):
            terminal.ensure_newline()
            terminal.write_line(f"failed: {report.nodeid} ({report.when})")
