"""Delivery without a daemon (daemonless = yes): a queue manager is started for what is due, and leaves.

It is the usual master with pickup and qmgr, started detached after a submission when no services run; it ends when
nothing is left to do now. Only root starts one, and in an instance of one user that user: mail of others waits for
its next run.
"""

import os
import sys
import time
from collections.abc import Callable

from ..core.config import Config
from ..core.errors import MailError
from ..core.result import Outcome
from ..formats.listing import ListedMessage
from ..host.configuration import load
from ..services.once import leaves, master_runs
from ..spool.layout import INCOMING
from ..spool.maildrop import Drop
from ..spool.queue_id import base_id
from . import afterwards
from .ask import NotRunning, ask_one
from .interpreter import slow_interpreter
from .queue_view import messages

_LONGEST_START = 20.0
_POLL = 0.05
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def may_run(config: Config) -> bool:
    """Say whether this user may start a queue manager here, by main.cf and by the owner of queue and run directory.

    The owner of the system's queue cannot deliver as others: he has no run directory.
    """
    try:
        owner = os.stat(f"{config.queue_directory}/{INCOMING}").st_uid
    except OSError:
        return False
    uid = os.getuid()
    return bool(config.daemonless) and (uid == 0 or (uid == owner and _may_write(config.run_directory)))


def _may_write(directory: str) -> bool:
    """Say whether this user may write into a directory, or make it where it is not there."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    return os.access(directory, os.W_OK | os.X_OK)


def services_stay(config: Config) -> bool:
    """Say whether services run that do not leave by themselves: they see to all mail."""
    return master_runs(config) and not leaves(config)


def deliver(directory: str, drop: Drop | None = None, waits: bool = False) -> None:
    """See to the delivery of what has just been queued; it is safe, so whatever goes wrong here does not count."""
    try:
        config, _ = load(directory)
        if not may_run(config):
            return
        if not services_stay(config):
            start(directory)
        if waits and drop is not None:
            wait_until_up(config)
            afterwards.wait(directory, drop)
            _tell_what_waits(config, drop)
    except (MailError, OSError):
        return


def start(directory: str) -> int:
    """Start the services for what is due now; returns the process."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    python = slow_interpreter(_ROOT)
    words = [python, "-I", f"{_ROOT}/sendmail_py/commands/__main__.py", "mailctl", "-c", directory, "start", "--once"]
    actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "LANG") if name in os.environ}
    try:
        return os.posix_spawn(python, words, kept, file_actions=actions, setsid=True)
    finally:
        os.close(null)


def wait_until_up(config: Config, has_failed: Callable[[], bool] = lambda: False) -> None:
    """Wait until services answer, or what was started has failed; raises NotRunning."""
    end = time.monotonic() + _LONGEST_START
    while True:
        try:
            ask_one(config, "public", {"verb": "count"})
            return
        except NotRunning:
            if time.monotonic() > end or has_failed():
                raise
            time.sleep(_POLL)


def with_services(config: Config, action: Callable[[], int]) -> int:
    """Do what services are needed for: with those that run, or where there are none with some that leave again."""
    return while_running(config, action) if may_run(config) and not services_stay(config) else action()


def while_running(config: Config, action: Callable[[], int]) -> int:
    """Start the services, do something while they run, and wait until they have left."""
    started = _Started(start(config.config_directory))
    try:
        wait_until_up(config, started.has_failed)
        _wait_for_first_attempts(config)
        code = action()
    finally:
        started.wait()
        while master_runs(config) and leaves(config):  # ours may have found others at work, who are doing it
            time.sleep(_POLL)
    return code


class _Started:
    """A process of ours. One that finds another at work leaves with success."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None

    def has_failed(self) -> bool:
        """Say whether it has ended otherwise than well."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return bool(self._status)

    def wait(self) -> None:
        """Wait for its end."""
        if self._status is None:
            _, self._status = os.waitpid(self._pid, 0)


def _wait_for_first_attempts(config: Config) -> None:
    """Wait until what was new has been tried, so that what waits by then is all that can be flushed."""
    while not ask_one(config, "control", {"verb": "status"})["idle"]:
        time.sleep(_POLL)


def _tell_what_waits(config: Config, drop: Drop) -> None:
    """Say on standard error what the first attempt did not deliver, and why."""
    ctime, inode = drop.identity
    queue_id = drop.queue_id or base_id(ctime // 1000, inode)
    for message in messages(config):
        if message.queue_id.startswith(queue_id):
            _tell(message)


def _tell(message: ListedMessage) -> None:
    for address, reason, *_ in message.recipients:
        print(f"sendmail: {message.queue_id}: {address}: {Outcome.DEFERRED.value}: {reason}", file=sys.stderr)
