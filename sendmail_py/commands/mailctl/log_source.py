"""Where the log is: maillog_file and what was rotated from it, or the system's mail log, or the journal."""

import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

from ...core.config import Config
from ...core.errors import MailError
from ...core.exitcodes import EX_UNAVAILABLE
from ...host.syslog import ROOTS_LOG, has_syslog

_SYSTEM_LOGS = ("/var/log/mail.log", "/var/log/maillog")
_TAIL = 1 << 18
_JOURNAL_SECONDS = 1.0  # who asks for the status does not wait for a journal of years

Lines = Callable[[], Iterator[str]]


class NoLog(MailError):
    """There is no log, or nothing in it."""

    exit_code = EX_UNAVAILABLE


def source_of_log(config: Config, named: list[str]) -> tuple[Lines, str]:
    """Return how to read the log, as often as needed, and what it is called."""
    if named == ["-"]:
        kept = sys.stdin.read().splitlines()
        return lambda: iter(kept), "standard input"
    paths = named or _log_files(config)
    if paths:
        return lambda: (line for path in paths for line in _lines_of(path)), ", ".join(paths)
    if shutil.which("journalctl"):
        command = [*_journal(config), "--output=short-iso"]
        return lambda: _lines_of_command(command), "the journal"
    raise NoLog("there is no log file and no journal here; name one by --log FILE")


def _log_files(config: Config) -> list[str]:
    """Return the log and what was rotated from it, the oldest first."""
    logs: tuple[str, ...] = _SYSTEM_LOGS
    if config.maillog_file.startswith("/") and not config.maillog_file.startswith("/dev/"):
        logs = (config.maillog_file,)
    elif config.maillog_file or not has_syslog():
        logs = (*logs, ROOTS_LOG, f"{config.run_directory}/maillog")
    found = [path for log in logs for path in glob.glob(f"{glob.escape(log)}*") if os.path.isfile(path)]
    return sorted(found, key=os.path.getmtime)


def _journal(config: Config) -> list[str]:
    return ["journalctl", "--no-pager", "--quiet", f"--facility={config.syslog_facility}"]


def _lines_of(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as raw, gzip.open(raw) if path.endswith(".gz") else raw as file:
            for line in file:
                yield line.decode("utf-8", "replace").rstrip("\n")
    except OSError as error:
        raise NoLog(f"{path}: {error.strerror or error}") from error


def _lines_of_command(command: list[str]) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout
        for line in process.stdout:
            yield line.rstrip("\n")


# --- the last warnings and errors --------------------------------------------------------------


def last_troubles(config: Config, number: int) -> list[dict[str, str]]:
    """Return the newest warnings and errors that stand at the end of the log; none where it cannot be read."""
    files = _log_files(config)
    try:
        if files:
            lines: Iterable[str] = _tail(files[-1])
        elif shutil.which("journalctl"):
            command = [*_journal(config), "--priority=warning", f"--lines={number}", "--since=-1d"]
            done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_SECONDS)
            lines = done.stdout.decode("utf-8", "replace").splitlines()
        else:
            lines = ()
        return troubles(lines, config.syslog_name)[-number:]
    except (OSError, subprocess.TimeoutExpired):
        return []


def _tail(path: str) -> list[str]:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[1:] if size > _TAIL else lines


def troubles(lines: Iterable[str], name: str) -> list[dict[str, str]]:
    """Return the warnings and errors among lines of a log, as text or JSON: time, service, text."""
    shape = re.compile(rf"(.+?) \S+ {re.escape(name)}/(\S+)\[\d+\]: ((?:warning|error): .*)")
    found = []
    for line in lines:
        if line[:1] == "{":
            row = _of_json(line)
            parts = (row.get("time", ""), row.get("service", ""), row["message"]) if row else None
        else:
            match = shape.match(line) if ": warning: " in line or ": error: " in line else None
            parts = (match[1], match[2], match[3]) if match else None
        if parts:
            found.append(dict(zip(("time", "service", "text"), map(str, parts), strict=True)))
    return found


def _of_json(line: str) -> dict[str, str]:
    try:
        row = json.loads(line)
        return row if row["level"] in ("warning", "error") and "message" in row else {}
    except (ValueError, KeyError, TypeError):
        return {}
