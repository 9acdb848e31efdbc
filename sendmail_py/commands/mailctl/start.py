"""mailctl start (and sendmail -bd): check the configuration, become the master, report readiness.

The starter returns 0 only when pickup and qmgr are at work; otherwise it says why they are not.
"""

import contextlib
import os
import sys
import time
from typing import TextIO

from ...core.complaints import complaints
from ...core.config import Config
from ...core.errors import ConfigError, MailError, UsageError
from ...core.exitcodes import EX_OK, EX_UNAVAILABLE
from ...host.configuration import load
from ...host.daemon import detach
from ...host.service_manager import from_environment
from ...host.syslog import ROOTS_LOG, has_syslog
from ...services import master, once
from ...services.run_directory import STDOUT, AlreadyRunning, make_run_directory
from ...services.whole_config import check_config
from ...spool.lock import release, take

_POLL = 0.1
_LONGEST_TURN = 20.0
_READY = "ready"


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl start [--foreground]`; --once is for sendmail, where daemonless = yes."""
    if arguments not in ([], ["--foreground"], ["--once"]):
        raise UsageError("start takes no arguments but --foreground")
    config, faults = load(directory)
    if arguments == ["--once"]:
        return _once(config, faults)
    for line in faults + complaints(config.settings):
        print(f"mailctl: {line}", file=sys.stderr)
    check_config(config, faults)
    _warn_of_name(config)
    if not arguments and (why := _no_log(config)):
        print(f"mailctl: warning: {why}; the log goes to {_stderr_path(config)}", file=sys.stderr)
    return _foreground(config) if arguments else _background(config)


def _no_log(config: Config) -> str:
    """Say why the log cannot go where it should from the background; "" where it can."""
    if config.maillog_file == STDOUT:
        return "standard output ends here"
    return "" if config.maillog_file or has_syslog() else "there is no syslog here"


def _warn_of_name(config: Config) -> None:
    if "." not in config.myhostname:
        print(
            f"mailctl: warning: myhostname = {config.myhostname} is not fully qualified; set it in main.cf",
            file=sys.stderr,
        )


def _foreground(config: Config) -> int:
    has_begun = False

    def notify(text: str) -> None:
        nonlocal has_begun
        if text:
            print(f"mailctl: {text}", file=sys.stderr, flush=True)
        else:
            has_begun = True

    master.run(config, notify, from_environment())
    return EX_OK if has_begun else EX_UNAVAILABLE


def _once(config: Config, faults: list[str]) -> int:
    """Be the master until nothing is left to do now, after another one that is about to leave."""
    check_config(config, faults)
    if _no_log(config):
        with contextlib.suppress(OSError), open(_stderr_path(config), "a", encoding="utf-8") as log:
            os.dup2(log.fileno(), 2)
    make_run_directory(config)
    turn = f"{config.run_directory}/next.lock"
    if not take(turn):
        return EX_OK  # whoever has it has not begun yet, and will find what we would
    end = time.monotonic() + _LONGEST_TURN
    while True:
        while once.master_runs(config) and once.leaves(config):
            time.sleep(_POLL)
        try:
            master.run(config, lambda _: release(turn), leaves=True)
        except AlreadyRunning:
            # Services that stay have been started; or somebody has only looked whether the lock is held.
            if not once.master_runs(config) and time.monotonic() < end:
                time.sleep(_POLL)
                continue
        return EX_OK


def _background(config: Config) -> int:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _detached(config, writer)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        while (text := pipe.readline().rstrip("\n")).startswith(master.WARNING):
            print(f"mailctl: {text}", file=sys.stderr)
    if text == _READY:
        return EX_OK
    print(f"mailctl: {text or 'the master process ended; see the log'}", file=sys.stderr)
    return EX_UNAVAILABLE


def _stderr_path(config: Config) -> str:
    """Return the file for what finds no other way: tracebacks, and the log when there is no syslog."""
    if config.maillog_file and config.maillog_file != STDOUT:
        return str(config.maillog_file)
    return ROOTS_LOG if os.getuid() == 0 else f"{config.run_directory}/maillog"


def _opened_stderr(config: Config) -> TextIO:
    path = _stderr_path(config)
    try:
        return open(path, "a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        name = "maillog_file" if path == config.maillog_file else "log"
        raise ConfigError(f"{name} {path}: {error.strerror}") from error


def _detached(config: Config, writer: int) -> None:
    told = False

    def notify(text: str) -> None:
        nonlocal told
        if not told and text.startswith(master.WARNING):
            os.write(writer, text.replace("\n", " ").encode("utf-8", "replace") + b"\n")
        elif not told:
            told = True
            os.write(writer, (text.replace("\n", " ") or _READY).encode("utf-8", "replace") + b"\n")
            os.close(writer)

    code = EX_OK
    try:
        stderr = _opened_stderr(config)
        detach([writer], stderr)
        stderr.close()  # 2 alone has it open, which goes with the log when that is rotated
        master.run(config, notify)
    except (MailError, OSError) as error:
        notify(str(error))
        code = EX_UNAVAILABLE
    os._exit(code)
