"""Lookup tables: type:name from main.cf, opened, asked, and read again when they change.

Text tables (texthash, and hash, btree, lmdb, cdb, dbm, whose text is what counts: nothing is
compiled), regexp and pcre, cidr, inline, static, sqlite, socketmap. Guarantees: a table that cannot be asked
is a TableError that names it, never "not found"; and no look-up waits without a limit.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from ..formats.pattern_table import PatternTable
from ..formats.sql_query import SqlQuery
from ..formats.tables import (
    COMPILED,
    PATTERN_TYPES,
    TEXT_TYPES,
    CidrTable,
    Entries,
    TableError,
    parse_inline,
    parse_names,
    parse_text,
    split_name,
)
from . import sqlite
from .patterns import SHARED
from .read_file import ReadFile, Warn, open_regular
from .socketmap import Socketmap

LONGEST_KEY = 102400


class Table(Protocol):
    """One table. whole_keys: parts of an address, such as its domain, are not looked for in it."""

    whole_keys: bool

    def refresh(self, warn: Warn) -> None:
        """Read the table again when it has changed; raises OSError, ValueError."""

    def look_up(self, key: str) -> str | None:
        """Return the value of a key; raises OSError, ValueError."""


class _Text(ReadFile):
    """A file of "key value" lines."""

    whole_keys = False

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._entries = Entries()
        self._names: frozenset[str] = frozenset()

    def refresh(self, warn: Warn) -> None:
        try:
            super().refresh(warn)
        except FileNotFoundError:
            compiled = next((self.path + end for end in COMPILED if os.path.exists(self.path + end)), "")
            if not compiled:
                raise
            raise OSError(f"only its compiled form {compiled} is there; the text {self.path} is what is read") from None

    def _take(self, text: str, uid: int) -> list[str]:
        self._entries, self._names = parse_text(text), parse_names(text)
        return self._entries.faults

    def look_up(self, key: str) -> str | None:
        return self._entries.look_up(key)

    def holds(self, key: str) -> bool:
        """Say whether a key stands in the file, with a value or without."""
        return key.lower() in self._names


class PatternFile(ReadFile):
    """A regexp or pcre table; is_alias, has_groups: what its results are, see formats/pattern_table.py."""

    whole_keys = True

    def __init__(self, path: str, is_alias: bool = False, has_groups: bool = True) -> None:
        super().__init__(path)
        self._is_alias = is_alias
        self._has_groups = has_groups
        self.table, self.uid = PatternTable(""), -1
        self._current = (0, "", 0)

    def _take(self, text: str, uid: int) -> list[str]:
        self.table, self.uid = PatternTable(text, self._is_alias, self._has_groups), uid
        self._current = SHARED.number(), text, self._current[0]  # at once: several threads look keys up
        return [f"line {fault.line}: {fault.text}" for fault in self.table.faults]

    def look_up(self, key: str) -> str | None:
        """Return what the first pattern that fits says; a table with a fault says nothing, for it may mean any key."""
        return self.look_up_all([key])[0]

    def look_up_all(self, keys: list[str]) -> list[str | None]:
        """The same for several keys; raises OSError, ValueError."""
        if self.table.faults:
            raise ValueError(f"{self.path}, line {self.table.faults[0].line}: {self.table.faults[0].text}")
        if not self.table.results():
            return [None] * len(keys)
        number, text, before = self._current
        return SHARED.ask(number, text, [key[:LONGEST_KEY] for key in keys], before)


class _Cidr(ReadFile):
    """A cidr table."""

    whole_keys = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._table = CidrTable("")

    def _take(self, text: str, uid: int) -> list[str]:
        self._table = CidrTable(text)
        return self._table.faults

    def look_up(self, key: str) -> str | None:
        if self._table.faults:
            raise ValueError(f"{self.path}, {self._table.faults[0]}")
        return self._table.look_up(key)


class _Fixed:
    """A table that needs no file: inline, static, socketmap."""

    whole_keys = False

    def __init__(self, look_up: Callable[[str], str | None]) -> None:
        self.look_up = look_up

    def refresh(self, warn: Warn) -> None:
        """Nothing is kept."""


class SqliteFile:
    """An SQLite database, asked with the query of a sqlite_table(5) file."""

    whole_keys = False

    def __init__(self, path: str) -> None:
        self.path = path

    def refresh(self, warn: Warn) -> None:
        """Nothing is kept: each look-up asks the database."""

    def rows(self, key: str) -> tuple[list[str], str, os.stat_result]:
        """Return what is found, the database, and the state of the file with the query; raises OSError, ValueError."""
        with open(open_regular(self.path), encoding="utf-8", errors="surrogateescape") as file:
            query = SqlQuery(file.read(), self.path)
            status = os.fstat(file.fileno())
        statement = query.statement(key)
        rows = [] if statement is None else sqlite.ask(query.database, statement)
        return [query.result(row) for row in rows], query.database, status

    def look_up(self, key: str) -> str | None:
        """Return what is found, rows with commas between them."""
        return ",".join(row for row in self.rows(key.lower())[0] if row) or None


def open_table(text: str, has_groups: bool = True) -> Table:
    """Return the table of a name; nothing is read yet. Raises ValueError for what can never work.

    has_groups=False refuses patterns whose value has a part of the key in it.
    """
    kind, rest = split_name(text)
    if kind in TEXT_TYPES:
        return _Text(rest)
    if kind in PATTERN_TYPES:
        return PatternFile(rest, has_groups=has_groups)
    if kind == "cidr":
        return _Cidr(rest)
    if kind == "inline":
        return _Fixed(parse_inline(rest).look_up)
    if kind == "socketmap":
        return _Fixed(Socketmap(rest).look_up)
    if kind == "static":
        value = rest[1:-1].strip() if rest[:1] == "{" and rest[-1:] == "}" else rest
        return _Fixed(lambda _: value)
    return SqliteFile(rest)


class Tables:
    """Several tables, asked in order; the first that has a key decides. All must be readable."""

    def __init__(self, names: Iterable[str], warn: Warn, has_groups: bool = True) -> None:
        self.names = list(names)
        self._tables = [(name, open_table(name, has_groups)) for name in self.names]
        self._warn = warn

    def __bool__(self) -> bool:
        return bool(self._tables)

    def look_up(self, key: str, partial: bool = False) -> str | None:
        """Return the value of a key; partial: of a part of an address. Raises TableError."""
        return self.look_up_all([key], partial)[0]

    def look_up_all(self, keys: list[str], partial: bool = False) -> list[str | None]:
        """The same for several keys."""
        found: list[str | None] = [None] * len(keys)
        for name, table in self._tables:
            if partial and table.whole_keys:
                continue
            missing = [i for i, value in enumerate(found) if value is None]
            for i, value in zip(missing, self._ask(name, table, [keys[i] for i in missing]), strict=True):
                found[i] = value
        return found

    def holds(self, key: str) -> bool:
        """Say whether a key is in a table; in a text a line without a value counts."""
        for name, table in self._tables:
            found = self._ask(name, table, [key])[0]
            if found is not None or (isinstance(table, _Text) and table.holds(key)):
                return True
        return False

    def _ask(self, name: str, table: Table, keys: list[str]) -> list[str | None]:
        try:
            table.refresh(self._warn)
            if isinstance(table, PatternFile):
                return table.look_up_all(keys)
            return [table.look_up(key) for key in keys]
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise TableError(f"table {name}: {why}") from error


def check_tables(names: Iterable[str], has_groups: bool = True) -> None:
    """Raise ValueError for a name of a table that can never work, and for a pattern table with a fault."""
    for name in names:
        table = open_table(name, has_groups)
        if not isinstance(table, PatternFile):
            continue
        with contextlib.suppress(OSError):  # it may be there when it is needed; until then mail waits
            table.refresh(lambda fault: None)
        if table.table.faults:
            raise ValueError(f"{name}, line {table.table.faults[0].line}: {table.table.faults[0].text}")
