"""Standard output of the commands that print: there also where the caller has closed it, and one line when it fails.

A reader that goes away is no error. Output that cannot be written, to a full disk say, is one
line and exit 74, for what reads us would take half a listing for the whole.
"""

import os
import select
import sys
from collections.abc import Callable

from ..core.errors import MailError
from ..core.exitcodes import EX_IOERR, EX_OK
from .plain import open_standard_descriptors


class OutputError(MailError):
    """Standard output takes no more."""

    exit_code = EX_IOERR


def printing(action: Callable[[], int]) -> int:
    """Run what prints and return its exit code; raises OutputError, and what it raises."""
    _open_standard()
    try:
        code = action()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_stuck():
            raise
        return EX_OK
    except OSError as error:
        if not _is_stuck():
            raise
        raise OutputError(f"standard output: {error.strerror}") from error
    return code


def _open_standard() -> None:
    """Open what is closed of 0, 1 and 2 on /dev/null; sys.stdin, sys.stdout and sys.stderr exist then."""
    open_standard_descriptors()
    # Where they were closed when the interpreter started, they are None.
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _is_stuck() -> bool:
    """Say whether it is standard output that fails; what is left of the text is given up then."""
    try:
        sys.stdout.flush()
        has_reader = not _has_lost_its_reader()  # what could not be written may be forgotten by now
    except OSError:
        has_reader = False
    if not has_reader:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    return not has_reader


def _has_lost_its_reader() -> bool:
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
