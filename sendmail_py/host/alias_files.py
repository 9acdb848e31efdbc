"""The alias files of alias_maps, read as text and kept until they change.

A type before the path (hash:, lmdb:, texthash:) is accepted: the text source is what is read,
and no compiled form is needed. A file that does not exist holds no aliases.
"""

import os
import time
from collections.abc import Callable

from ..formats.aliases import Target, parse

_TYPES = ("hash", "lmdb", "btree", "cdb", "dbm", "texthash")
_CHECK_SECONDS = 1.0
_Stamp = tuple[int, int, int]


def path_of(source: str) -> str:
    """Return the path of an alias map; raises ValueError for a type that is no text file."""
    kind, colon, path = source.partition(":")
    if not colon:
        return source
    if kind not in _TYPES:
        raise ValueError(f"alias_maps: {source}: table type {kind} is not supported")
    return path


class AliasFiles:
    """The aliases of several files; the first file that has a name decides."""

    def __init__(self, sources: list[str], warn: Callable[[str], None]) -> None:
        self._paths = [path_of(source) for source in sources]
        self._warn = warn
        self._stamps: dict[str, _Stamp | None] = {}
        self._names: dict[str, dict[str, tuple[Target, ...]]] = {}
        self._faults: dict[str, dict[str, str]] = {}
        self._checked = float("-inf")

    def look_up(self, name: str) -> tuple[Target, ...] | None:
        """Return what an alias (lower case) stands for; raises OSError (cannot read), ValueError (a bad line)."""
        now = time.monotonic()
        if now - self._checked > _CHECK_SECONDS:
            for path in self._paths:
                self._refresh(path)
            self._checked = now
        for path in self._paths:
            if name in self._faults[path]:
                raise ValueError(self._faults[path][name])
            found = self._names[path].get(name)
            if found is not None:
                return found
        return None

    def _refresh(self, path: str) -> None:
        try:
            status = os.stat(path)
            stamp: _Stamp | None = (status.st_ino, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            stamp = None
        if path in self._stamps and self._stamps[path] == stamp:
            return
        if stamp is None:
            self._names[path], self._faults[path] = {}, {}
        else:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                entries, faults = parse(file.read())
            self._names[path] = {entry.name: entry.targets for entry in entries}
            self._faults[path] = {
                fault.name: f"{path}, line {fault.line}: {fault.text}" for fault in faults if fault.name
            }
            for fault in faults:
                self._warn(f"{path}, line {fault.line}: {fault.text}")
        self._stamps[path] = stamp
