"""What was asked for of messages that are still in maildrop/, while no queue manager runs to remember it.

A line "ID VERB" each in lock/wishes, durable; the next queue manager takes the file over.
"""

import contextlib
import os
from pathlib import Path

from . import atomic
from .layout import LOCK
from .queue_id import is_queue_id


def add(top: str, wishes: dict[str, str]) -> None:
    """Write down what is asked for, by queue id; raises OSError."""
    descriptor = os.open(_path(top), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        atomic.write_all(descriptor, [f"{queue_id} {verb}\n".encode() for queue_id, verb in wishes.items()])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(top: str) -> list[tuple[str, str]]:
    """Return what was asked for, (queue id, verb) each, in this order; raises OSError."""
    try:
        text = Path(_path(top)).read_text("ascii", "replace")
    except FileNotFoundError:
        return []
    rows = [line.partition(" ") for line in text.splitlines()]
    return [(queue_id, verb) for queue_id, _, verb in rows if is_queue_id(queue_id)]


def take(top: str) -> list[tuple[str, str]]:
    """Return what was asked for, and forget it."""
    found = read(top)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(top))
    return found


def _path(top: str) -> str:
    return f"{top}/{LOCK}/wishes"
