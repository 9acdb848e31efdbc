"""Services that leave when nothing is left to do (daemonless = yes), and how others see that they will.

The file `once` in the run directory says so; it counts only while the master's lock is held, and so it stays when
the lock goes: without it a master that is about to end would be taken for one that stays, and sees to new mail.
"""

import contextlib
import os
import time

from ..core.config import Config
from ..spool.lock_probe import is_taken

_NAME = "once"
_SURE = 0.2
_GRACE = 1.0


def master_runs(config: Config) -> bool:
    """Say whether any master runs for this instance."""
    try:
        return is_taken(f"{config.run_directory}/master.lock")
    except OSError:
        return False  # not ours to see


def leaves(config: Config) -> bool:
    """Say whether the master that runs is one that leaves by itself."""
    return os.path.exists(f"{config.run_directory}/{_NAME}")


def announce(config: Config, does_leave: bool) -> None:
    """Say whether this master leaves by itself; raises OSError."""
    path = f"{config.run_directory}/{_NAME}"
    if does_leave:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


class Idleness:
    """How long qmgr has had nothing to do; a moment of that is enough to leave."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self) -> None:
        """Count from now, when all services are at work: what they tell each other is on its way."""
        if self._since is not None:
            self._since = time.monotonic()

    def note(self, is_idle: bool) -> None:
        """Take qmgr's word."""
        self._since = time.monotonic() if is_idle else None

    def is_idle(self) -> bool:
        """Say whether qmgr has nothing to do."""
        return self._lasts(_SURE)

    def is_over(self) -> bool:
        """Say whether it is time to leave."""
        return self._lasts(_GRACE)

    def _lasts(self, seconds: float) -> bool:
        return self._since is not None and time.monotonic() - self._since > seconds
