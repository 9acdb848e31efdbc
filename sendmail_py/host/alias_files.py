"""alias_maps: several sources of aliases, asked in order.

Text is what is read: hash:, btree:, lmdb:, cdb:, dbm: and texthash: before a path mean the text
file itself, and no compiled form is needed. proxy: changes nothing.
"""

from collections.abc import Callable, Iterable

from ..formats.aliases import Alias
from ..formats.tables import PATTERN_TYPES, TEXT_TYPES, split_file
from .alias_sources import PatternAliases, Source, SqliteAliases, TextAliases

_TYPES: dict[str, Callable[[str], Source]] = {
    **dict.fromkeys(TEXT_TYPES, TextAliases),
    **dict.fromkeys(PATTERN_TYPES, PatternAliases),
    "sqlite": SqliteAliases,
}


def source_of(text: str) -> Source:
    """Return the source that type:path, or a path, names; raises ValueError for a type that is not known here."""
    kind, path = split_file(text)
    if kind not in _TYPES:
        raise ValueError(f"{text}: table type {kind} is not supported")
    if not path.startswith("/"):
        raise ValueError(f"{text}: an absolute path is needed")
    return _TYPES[kind](path)


class AliasFiles:
    """The aliases of several sources; the first that has a name decides, but all must be readable.

    Each look-up sees the files as they are then: an alias counts as soon as it is written.
    """

    def __init__(self, sources: Iterable[str], warn: Callable[[str], None]) -> None:
        self._sources = [source_of(text) for text in sources]
        self._warn = warn

    def look_up(self, name: str) -> Alias | None:
        """Return what an alias (lower case) stands for; raises OSError (cannot read), ValueError (a bad line)."""
        for source in self._sources:
            source.refresh(self._warn)
        for source in self._sources:
            found = source.look_up(name)
            if found is not None:
                return found
        return None
