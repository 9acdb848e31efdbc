"""The files of a running instance beside its queue: the run directory, and the log file."""

import contextlib
import os

from ..core.config import Config
from ..core.errors import ConfigError

_NAMES = ("public", "submit", "control", "master.pid")


def make_run_directory(config: Config) -> None:
    """Make the directory of sockets and locks, where it is not there; raises OSError."""
    run = config.run_directory
    if not os.path.isdir(run):
        os.makedirs(run)
        os.chmod(run, 0o755 if os.getuid() == 0 else 0o700)  # whatever the umask: all users ask here


def clear_run_directory(config: Config) -> None:
    """Remove the pid file and the sockets."""
    for name in _NAMES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{config.run_directory}/{name}")


def open_log_file(config: Config) -> int:
    """Open maillog_file for appending; -1 when the log goes to syslog. Raises ConfigError."""
    path = config.maillog_file
    if not path:
        return -1
    if path == "/dev/stdout":
        return 1
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise ConfigError(f"maillog_file {path}: {error.strerror}") from error
