"""A signal in the middle of a message: what was written of it goes, and then the signal does its work.

Guarantee: the caller sees the end that a program without handlers would have had, and no text.
Signals that the caller had ignored stay ignored. Light: sendmail(1) imports it for messages that
do not fit into memory, and at the end.
"""

import _signal  # type: ignore[import-not-found]  # the C module: `signal` would bring enum with it
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_SIGNALS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGALRM, _signal.SIGXCPU)


class Interrupted(BaseException):
    """A signal has come; no Exception, so that only who cleans up sees it on its way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def watch() -> None:
    """Have the signals that would end the process raise Interrupted instead."""
    for number in _SIGNALS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _raise)


def _raise(number: int, _frame: "FrameType | None") -> "NoReturn":
    raise Interrupted(number)


def end(stop: BaseException) -> None:
    """End the process by the signal that raised this (KeyboardInterrupt: SIGINT)."""
    number = stop.number if isinstance(stop, Interrupted) else _signal.SIGINT
    _signal.signal(number, _signal.SIG_DFL)
    posix.kill(posix.getpid(), number)
