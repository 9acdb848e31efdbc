"""A text file of names or addresses, one a line, as postmap(1) would read it: what follows the first word is ignored.

Read again when it changes. A file that is not there, or cannot be read, is an OSError: it cannot
be told who stands in it.
"""

import os

from ..formats.logical_lines import logical_lines

_Stamp = tuple[int, int, int]


class NameList:
    """One such file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: _Stamp | None = None
        self._names: frozenset[str] = frozenset()

    def holds(self, name: str) -> bool:
        """Say whether a name (lower case) stands in the file; raises OSError."""
        status = os.stat(self.path)
        stamp = status.st_ino, status.st_size, status.st_mtime_ns
        if stamp != self._stamp:
            with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                lines = logical_lines(file.read())
            self._names = frozenset(line.split(None, 1)[0].lower() for _, line in lines)
            self._stamp = stamp
        return name in self._names
