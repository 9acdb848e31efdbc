"""mailctl start (and sendmail -bd): check the configuration, become the master, report readiness.

The starter returns 0 only when pickup and qmgr are at work; otherwise it says why they are not.
"""

import os
import sys

from ...core.complaints import complaints
from ...core.config import Config
from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK, EX_UNAVAILABLE
from ...host.configuration import load
from ...host.daemon import detach
from ...host.syslog import has_syslog
from ...services import master
from ...services.whole_config import check_config

_READY = "ready"
_ROOTS_LOG = "/var/log/sendmail-py.log"


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl start [--foreground]`."""
    if arguments not in ([], ["--foreground"]):
        raise UsageError("start takes no arguments but --foreground")
    config, faults = load(directory)
    for line in faults + complaints(config.settings):
        print(f"mailctl: {line}", file=sys.stderr)
    check_config(config)
    _warn_of_name(config)
    if not arguments and not config.maillog_file and not has_syslog():
        print(f"mailctl: warning: there is no syslog here; the log goes to {_stderr_path(config)}", file=sys.stderr)
    return _foreground(config) if arguments else _background(config)


def _warn_of_name(config: Config) -> None:
    if "." not in config.myhostname:
        print(
            f"mailctl: warning: myhostname = {config.myhostname} is not fully qualified; set it in main.cf",
            file=sys.stderr,
        )


def _foreground(config: Config) -> int:
    def notify(text: str) -> None:
        if text:
            print(f"mailctl: {text}", file=sys.stderr, flush=True)

    master.run(config, notify)
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
    if config.maillog_file and config.maillog_file != "/dev/stdout":
        return str(config.maillog_file)
    return _ROOTS_LOG if os.getuid() == 0 else f"{config.run_directory}/maillog"


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
        stderr = open(_stderr_path(config), "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        detach([writer], stderr)
        master.run(config, notify)
    except (MailError, OSError) as error:
        notify(str(error))
        code = EX_UNAVAILABLE
    os._exit(code)
