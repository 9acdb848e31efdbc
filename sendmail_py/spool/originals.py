"""The finished files in maildrop/, which are messages' originals: each stays until its message is finished or safe.

The key of one, (name, inode, ctime_ns), stands in the envelope of its copy: a name alone may be another file's by now.
"""

import contextlib
import os
from collections.abc import Iterator

from .layout import COMPLETE_MODE, MAILDROP
from .maildrop import is_name
from .queue_id import base_id

Key = tuple[str, int, int]
_COMPLETE = 0o100000 | COMPLETE_MODE


class Originals:
    """Those of the queue below one queue_directory."""

    def __init__(self, top: str) -> None:
        self._directory = f"{top}/{MAILDROP}"

    def ids(self) -> Iterator[str]:
        """Yield the queue id that the copy of each has, or will have."""
        for queue_id, _ in self.paths():
            yield queue_id

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield (queue id, path) of each, opening none."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if is_name(entry.name) and status.st_mode == _COMPLETE and status.st_nlink == 1:
                    yield base_id(status.st_ctime_ns // 1000, status.st_ino), entry.path

    def has(self, key: Key) -> bool:
        """Say whether the file of this key is still there."""
        try:
            status = os.lstat(f"{self._directory}/{key[0]}")
        except FileNotFoundError:
            return False
        return (status.st_ino, status.st_ctime_ns) == key[1:]

    def remove(self, key: Key) -> None:
        """Remove the file of this key, if it is still there."""
        if self.has(key):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._directory}/{key[0]}")
