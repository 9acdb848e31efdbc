"""The format of the queue as a whole: lock/format names the newest version of file that it may hold.

Guarantees: no queue manager touches a queue of a newer program, whose files it would take for
broken ones; a queue of an older program, or of none, is taken over, and says so durably before
the first file of the new format can be in it.
"""

import os

from ..core.errors import SpoolError
from ..formats.queue_text import MAGIC
from . import atomic
from .layout import LOCK

_NAME, _, _VERSION = MAGIC.decode().strip().rpartition(" ")
FORMAT = int(_VERSION)


def claim(top: str) -> None:
    """Mark a queue as ours, holding its lock; raises SpoolError for one of a newer format, OSError."""
    directory = f"{top}/{LOCK}"
    path = f"{directory}/format"
    found = _version(path)
    if found > FORMAT:
        raise SpoolError(
            f"{top} holds mail of queue format {found}, written by a newer sendmail-py; this one reads up to"
            f" format {FORMAT}: install the newer one again (nothing in the queue has been touched)"
        )
    if found < FORMAT:
        atomic.replace_text(f"{path}.new", path, f"{_NAME} {FORMAT}\n", 0o600)
        atomic.sync_file(path)
        atomic.sync_directory(directory)


def _version(path: str) -> int:
    """Return the version that is written there; 0 when none is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return 0
    try:
        text = os.read(descriptor, 100).decode("ascii", "replace")
    finally:
        os.close(descriptor)
    name, _, number = text.strip().rpartition(" ")
    if name != _NAME or not (number.isascii() and number.isdigit()):
        raise SpoolError(f"{path} names no queue format: {text.strip()!r}")
    return int(number)
