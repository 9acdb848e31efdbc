"""The last warnings and errors, from a log file as text or JSON, or from the journal."""

from pathlib import Path

import pytest

from sendmail_py.commands.mailctl import log_source
from sendmail_py.core.config import Config, Setting

LINES = """\
Nov 28 22:00:01 mx sendmail-py/qmgr[7]: 6615DF987D40D620C0CA: to=<a@b.test>, status=sent (warning: not one)
Nov 28 22:00:02 mx sendmail-py/submission/smtpd[8]: warning: h[192.0.2.1]: SASL PLAIN authentication failed: no
2026-11-28T22:00:03+00:00 mx sendmail-py/master[9]: error: reload refused
Nov 28 22:00:04 mx other/master[9]: error: not ours
{"time": "2026-11-28T22:00:05Z", "name": "sendmail-py", "service": "local", "level": "warning", "message": "warning: x"}
{"level": "info", "message": "y"}
{not JSON
"""
TOLD = [
    ("Nov 28 22:00:02", "submission/smtpd", "warning: h[192.0.2.1]: SASL PLAIN authentication failed: no"),
    ("2026-11-28T22:00:03+00:00", "master", "error: reload refused"),
    ("2026-11-28T22:00:05Z", "local", "warning: x"),
]


def config(**settings: str) -> Config:
    return Config({name: Setting(value, "test") for name, value in settings.items()})


def told(found: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(row["time"], row["service"], row["text"]) for row in found]


def test_the_newest_come_last_and_only_those_of_this_instance(tmp_path: Path) -> None:
    (tmp_path / "maillog").write_text(LINES)
    where = config(maillog_file=f"{tmp_path}/maillog")
    assert told(log_source.last_troubles(where, 5)) == TOLD
    assert told(log_source.last_troubles(where, 2)) == TOLD[1:]


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "maillog").write_text(LINES + "Nov 28 22:00:06 mx sendmail-py/qmgr[7]: removed\n" * 10000)
    assert log_source.last_troubles(config(maillog_file=f"{tmp_path}/maillog"), 5) == []


@pytest.mark.parametrize(
    ("journal", "expected"),
    [("cat <<'E'\n{0}E\n", TOLD), ("exec sleep 20\n", []), ("exit 1\n", [])],
    ids=["told", "slow", "refused"],
)
def test_the_journal_is_asked_where_there_is_no_file_and_not_for_long(
    journal: str, expected: list[tuple[str, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\n" + journal.replace("{0}", LINES))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(log_source, "_SYSTEM_LOGS", ())
    monkeypatch.setattr(log_source, "has_syslog", lambda: True)
    assert told(log_source.last_troubles(config(), 5)) == expected
