"""The files of a running instance beside its queue: the run directory, which one master has, and the log file."""

import contextlib
import os

from ..core.config import Config
from ..core.errors import ConfigError, SpoolError
from ..spool.lock import take
from .once import announce

STDOUT = "/dev/stdout"
_NAMES = ("public", "submit", "control", "master.pid")


class AlreadyRunning(SpoolError):
    """Another master has this instance."""


def take_run_directory(config: Config, leaves: bool) -> None:
    """Be the one master of this instance, which may leave by itself: lock and pid file; raises SpoolError, OSError."""
    run = config.run_directory
    make_run_directory(config)
    if not take(f"{run}/master.lock"):
        raise AlreadyRunning(f"already running ({run}/master.lock is held)")
    announce(config, leaves)
    with open(f"{run}/master.pid", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


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
    """Open maillog_file for appending; -1 when the log goes to syslog. Raises ConfigError.

    What would go to a standard output that is /dev/null, as it is in the background, goes to standard error.
    """
    path = config.maillog_file
    if not path:
        return -1
    if path == STDOUT:
        return 2 if os.path.samestat(os.fstat(1), os.stat(os.devnull)) else 1
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise ConfigError(f"maillog_file {path}: {error.strerror}") from error
