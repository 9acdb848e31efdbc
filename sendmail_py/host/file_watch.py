"""Whether files have changed since they were read, and are done changing: two looks in a row must agree."""

import os
from collections.abc import Sequence

_Stamp = tuple[int, ...]


class FileWatch:
    """Some files; note() when they are read, then has_news() from time to time."""

    def __init__(self) -> None:
        self._paths: Sequence[str] = ()
        self._read: list[_Stamp] = []
        self._seen: list[_Stamp] = []

    def note(self, paths: Sequence[str]) -> None:
        """Take note that these files are read now."""
        self._paths = paths
        self._read = self._seen = [_stamp(path) for path in paths]

    def has_news(self) -> bool:
        """Say whether they are others now than those that were read, and the same as at the last look."""
        before, self._seen = self._seen, [_stamp(path) for path in self._paths]
        return self._seen == before and self._seen != self._read and () not in self._seen


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
