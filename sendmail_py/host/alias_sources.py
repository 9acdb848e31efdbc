"""The kinds of alias maps: text files, pattern tables and SQLite databases.

Each is read when it changes, and says whose rights its programs and files are used with: those
of its owner, and default_privs (-1) when that is root. A file that is not there holds nothing.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ..formats.aliases import Alias, Fault, parse, parse_list
from .read_file import ReadFile, Warn, open_regular, owner_of, rights_in
from .tables import PatternFile, SqliteFile

_LONGEST_KEY = 320  # of what is held against patterns
_INCLUDE_LIMIT = 256 << 20


class Source(Protocol):
    """One alias map."""

    path: str

    def refresh(self, warn: Warn) -> None:
        """Read the source again when it has changed; raises OSError, ValueError."""

    def look_up(self, name: str) -> Alias | None:
        """Return what a name (lower case) stands for; raises OSError, ValueError."""

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Return the number of entries, the longest and the total length of their texts, and all faults."""


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
    return rights_in(path, descriptor), _lines(descriptor)


def _lines(descriptor: int) -> Iterator[str]:
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
        yield from file


@dataclass(frozen=True, slots=True)
class _Text:
    """What a text file said when it was read."""

    aliases: dict[str, Alias] = field(default_factory=dict)
    faulty: dict[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class TextAliases(ReadFile):
    """An aliases(5) file."""

    may_be_missing = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._text = _Text()

    def _take(self, text: str, uid: int) -> list[str]:
        entries, faults = parse(text)
        aliases = {entry.name: Alias(entry.targets, uid) for entry in entries}
        faulty = {f.name: f"{self.path}, line {f.line}: {f.text}" for f in faults if f.name}
        self._text = _Text(aliases, faulty, tuple(faults))  # at once: several threads look names up
        return [f"line {fault.line}: {fault.text}" for fault in faults]

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


class PatternAliases:
    """A regexp or pcre table; what it gives stands as it is written, without $1 and the like."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = PatternFile(path, is_alias=True)
        self._file.may_be_missing = True

    def refresh(self, warn: Warn) -> None:
        """Read the table again when it has changed; raises OSError."""
        self._file.refresh(warn)

    def look_up(self, name: str) -> Alias | None:
        """Return what a name stands for; raises ValueError when the table has a fault, OSError when it takes long."""
        uid = self._file.uid
        found = self._file.look_up(name[:_LONGEST_KEY])
        return None if found is None else Alias(tuple(parse_list(found)), uid)

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Return the number of rules, the longest and the total length of their texts, and all faults."""
        lengths = [len(text) for text in self._file.table.results()]
        return len(lengths), max(lengths, default=0), sum(lengths), list(self._file.table.faults)


class SqliteAliases:
    """An SQLite database, asked with the query of a Postfix sqlite_table(5) file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = SqliteFile(path)

    def refresh(self, warn: Warn) -> None:
        """Nothing is kept: each look-up asks the database."""

    def look_up(self, name: str) -> Alias | None:
        """Return what a name stands for; raises OSError when the database cannot be asked, ValueError."""
        rows, database, status = self._file.rows(name)
        uid = owner_of(status)
        if uid < 0 and rows:
            uid = owner_of(os.stat(database))
        targets = [target for row in rows for target in parse_list(row)]
        return Alias(tuple(targets), uid) if targets else None

    def summary(self) -> tuple[int, int, int, list[Fault]]:
        """Ask for a name, to see that it can be done; raises OSError, ValueError."""
        self.look_up("postmaster")
        return 0, 0, 0, []
