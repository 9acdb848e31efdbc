"""smtp_sasl_password_maps: text files that say with which login to go to which server.

A line is a key, white space and user:password, as in other tables of text. A file is read again when it
changes. Guarantees: no message of this file holds what stands behind a key; a file
that others than its owner can read is complained about, each time it has changed.
"""

import os
import stat
from collections.abc import Callable, Iterable

from ..formats.tables import TEXT_TYPES, Entries, parse_text, split_file
from ..protocol.sasl import Login
from .read_file import open_regular

_Stamp = tuple[int, int, int, int, int]


def path_of(text: str) -> str:
    """Return the path that type:path names; raises ValueError for a type that is no text file."""
    kind, path = split_file(text)
    if kind not in TEXT_TYPES:
        raise ValueError(f"{kind}: passwords can stand in a text file alone ({', '.join(TEXT_TYPES)})")
    if not path.startswith("/"):
        raise ValueError(f"{text}: an absolute path is needed")
    return path


class PasswordFile:
    """One file; raises OSError when it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: _Stamp | None = None
        self._entries = Entries()

    def refresh(self, warn: Callable[[str], None]) -> None:
        """Read the file when it is new or has changed; raises OSError."""
        try:
            if self._seen is None or _stamp(os.stat(self.path)) != self._seen:
                self._seen = None
                self._seen = self._read(warn)
        except OSError as error:
            raise OSError(f"{self.path}: {error.strerror or error}") from error

    def _read(self, warn: Callable[[str], None]) -> _Stamp:
        descriptor = open_regular(self.path)
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
            status = os.fstat(descriptor)
            self._entries = parse_text(file.read())
        for fault in self._entries.faults:
            warn(f"{self.path}, {fault}")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            warn(f"{self.path} holds passwords, but its mode is {mode:04o}: others can get at them; 0600 is right")
        return _stamp(status)

    def look_up(self, key: str) -> Login | None:
        """Return the login for a key; raises ValueError when its line is none."""
        found = self._entries.look_up(key)
        try:
            return None if found is None else Login.parse(found)
        except ValueError as error:
            raise ValueError(f"{self.path}, {key}: {error}") from None


class PasswordFiles:
    """Several files, asked in order; all must be readable."""

    def __init__(self, sources: Iterable[str], warn: Callable[[str], None]) -> None:
        self._files = [PasswordFile(path_of(text)) for text in sources]
        self._warn = warn

    def look_up(self, keys: Iterable[str]) -> Login | None:
        """Return the login for the first key that has one; raises OSError, ValueError."""
        for file in self._files:
            file.refresh(self._warn)
        for key in keys:
            for file in self._files:
                login = file.look_up(key)
                if login is not None:
                    return login
        return None


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
