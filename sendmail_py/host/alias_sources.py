"""The kinds of alias maps: text files, pattern tables and SQLite databases.

Each is read when it changes, and says whose rights its programs and files are used with: those
of its owner, and default_privs (-1) when that is root. A file that is not there holds nothing.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from ..formats.aliases import Alias, Fault, parse, parse_list
from ..formats.pattern_table import PatternTable
from ..formats.sql_query import SqlQuery

Warn = Callable[[str], None]

_SQL_SECONDS = 5.0
_SQL_STEPS = 10_000
_LONGEST_KEY = 320  # of what is held against patterns
_INCLUDE_LIMIT = 256 << 20
_Stamp = tuple[int, int, int, int]


class Source(Protocol):
    """One alias map."""

    path: str

    def refresh(self, warn: Warn) -> None:
        """Read the source again when it has changed; raises OSError, ValueError."""

    def look_up(self, name: str) -> Alias | None:
        """Return what a name (lower case) stands for; raises OSError, ValueError."""

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Return the number of entries, the longest and the total length of their texts, and all faults."""


def owner_of(status: os.stat_result) -> int:
    """Return the uid whose rights apply to what a file names; never those of whoever owns the queue."""
    return -1 if status.st_uid in (0, os.getuid()) else status.st_uid


def open_regular(path: str) -> int:
    """Open a regular file for reading; raises OSError, and never waits for another process."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return descriptor


def read_include(path: str, uid: int) -> tuple[int, Iterator[str]]:
    """Open an include file named by an alias of this uid; returns whose rights apply in it, and its lines.

    Someone who is not root may have read what he could read himself: his own files and those
    that everybody can. Behind a link are nobody's rights (-1). Raises OSError.
    """
    descriptor = open_regular(path)
    status = os.fstat(descriptor)
    fault = ""
    if uid >= 0 and status.st_uid != uid and not status.st_mode & stat.S_IROTH:
        fault = f"uid {uid}, who owns the alias, may not read it"
    elif status.st_size > _INCLUDE_LIMIT:
        fault = "it is too large"
    if fault:
        os.close(descriptor)
        raise OSError(fault)
    return owner_of(status) if _is_itself(path, descriptor, status) else -1, _lines(descriptor)


def _is_itself(path: str, descriptor: int, status: os.stat_result) -> bool:
    """Say whether a file is reached by its only name and no link: whoever made a link is not the file's owner."""
    return status.st_nlink == 1 and os.readlink(f"/proc/self/fd/{descriptor}") == os.path.normpath(path)


def _lines(descriptor: int) -> Iterator[str]:
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
        yield from file


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_uid


@dataclass(frozen=True, slots=True)
class _Text:
    """What a text file said when it was read."""

    aliases: dict[str, Alias] = field(default_factory=dict)
    faulty: dict[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class _ReadFile:
    """A file that is read whole, again when it changes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: _Stamp | None = None
        self._is_read = False

    def refresh(self, warn: Warn) -> None:
        """Read the file again when it has changed; raises OSError."""
        try:
            stamp: _Stamp | None = _stamp(os.stat(self.path))
        except FileNotFoundError:
            stamp = None
        if self._is_read and stamp == self._seen:
            return
        text, uid = "", -1
        if stamp is not None:
            with open(open_regular(self.path), encoding="utf-8", errors="surrogateescape") as file:
                status = os.fstat(file.fileno())
                text, uid, stamp = file.read(), owner_of(status), _stamp(status)
        for fault in self._take(text, uid):
            warn(f"{self.path}, line {fault.line}: {fault.text}")
        self._seen, self._is_read = stamp, True

    def _take(self, text: str, uid: int) -> tuple[Fault, ...]:
        raise NotImplementedError


class TextAliases(_ReadFile):
    """An aliases(5) file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._text = _Text()

    def _take(self, text: str, uid: int) -> tuple[Fault, ...]:
        entries, faults = parse(text)
        aliases = {entry.name: Alias(entry.targets, uid) for entry in entries}
        faulty = {f.name: f"{self.path}, line {f.line}: {f.text}" for f in faults if f.name}
        self._text = _Text(aliases, faulty, tuple(faults))  # at once: several threads look names up
        return self._text.faults

    def look_up(self, name: str) -> Alias | None:
        """Return what a name stands for; raises ValueError when its line has a fault."""
        text = self._text
        if name in text.faulty:
            raise ValueError(text.faulty[name])
        return text.aliases.get(name)

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Return the number of entries, the longest and the total length of their texts, and all faults."""
        text = self._text
        lengths = [len(", ".join(str(t) for t in alias.targets)) for alias in text.aliases.values()]
        total = sum(lengths) + sum(map(len, text.aliases))
        return len(text.aliases), max(lengths, default=0), total, list(text.faults)


class PatternAliases(_ReadFile):
    """A regexp or pcre table; what it gives stands as it is written, without $1 and the like."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._table, self._uid = PatternTable(""), -1

    def _take(self, text: str, uid: int) -> tuple[Fault, ...]:
        self._table, self._uid = PatternTable(text), uid
        return tuple(self._table.faults)

    def look_up(self, name: str) -> Alias | None:
        """Return what a name stands for; raises ValueError when the table has a fault, for it may mean any name."""
        table = self._table
        if table.faults:
            raise ValueError(f"{self.path}, line {table.faults[0].line}: {table.faults[0].text}")
        found = table.look_up(name[:_LONGEST_KEY])
        return None if found is None else Alias(tuple(parse_list(found)), self._uid)

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Return the number of rules, the longest and the total length of their texts, and all faults."""
        lengths = [len(text) for text in self._table.results()]
        return len(lengths), max(lengths, default=0), sum(lengths), list(self._table.faults)


class SqliteAliases:
    """An SQLite database, asked with the query of a Postfix sqlite_table(5) file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def refresh(self, warn: Warn) -> None:
        """Nothing is kept: each look-up asks the database."""

    def look_up(self, name: str) -> Alias | None:
        """Return what a name stands for; raises OSError when the database cannot be asked, ValueError."""
        with open(open_regular(self.path), encoding="utf-8", errors="surrogateescape") as file:
            query = SqlQuery(file.read(), self.path)
            uid = owner_of(os.fstat(file.fileno()))
        statement = query.statement(name)
        if statement is None:
            return None
        if uid < 0:
            uid = owner_of(os.stat(query.database))
        targets = [target for row in _ask(query.database, statement) for target in parse_list(query.result(row, name))]
        return Alias(tuple(targets), uid) if targets else None

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Ask for a name, to see that it can be done; raises OSError, ValueError."""
        self.look_up("postmaster")
        return 0, 0, 0, []


def _ask(database: str, statement: str) -> list[str]:
    """Return the first column of an answer; raises OSError, also when it takes too long."""
    import sqlite3  # a library that most instances do without

    deadline = time.monotonic() + _SQL_SECONDS
    try:
        connection = sqlite3.connect(f"file:{quote(database)}?mode=ro", timeout=_SQL_SECONDS, uri=True)
        try:
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _SQL_STEPS)
            return [str(row[0]) for row in connection.execute(statement) if row and row[0] is not None]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error
