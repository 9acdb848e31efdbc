"""Lookup tables as text: their names in main.cf, and the kinds that are read whole.

Pure. The keys of text and inline tables know no case; a cidr table is asked with an IP address. A table
whose text cannot be understood says where, and none of its lines is guessed at.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

from .logical_lines import logical_lines

TEXT_TYPES = ("texthash", "hash", "btree", "lmdb", "cdb", "dbm")
PATTERN_TYPES = ("regexp", "pcre")
TYPES = (*TEXT_TYPES, *PATTERN_TYPES, "cidr", "inline", "static", "sqlite", "socketmap")
COMPILED = (".db", ".lmdb", ".cdb", ".dir", ".pag")

LookUp = Callable[[str, bool], str | None]  # of a key, and whether it is only a part of what is looked for


class TableError(OSError):
    """A table cannot be asked now: whoever depends on it waits."""


def nothing(key: str, partial: bool = False) -> None:
    """Hold nothing, as where no table is set."""


def split_name(text: str) -> tuple[str, str]:
    """Split type:rest, where proxy: before it means nothing; raises ValueError."""
    kind, colon, rest = text.removeprefix("proxy:").partition(":")
    if not colon:
        raise ValueError(f"{text}: type:name is expected, as in hash:/path")
    if kind not in TYPES:
        raise ValueError(f"{text}: table type {kind} is not supported; there are {', '.join(TYPES)}")
    if kind not in ("inline", "static", "socketmap") and not rest.startswith("/"):
        raise ValueError(f"{text}: an absolute path is needed")
    return kind, rest


def split_file(text: str) -> tuple[str, str]:
    """Split type:path, where proxy: before it means nothing; a path alone is one of a hash, as in Postfix."""
    kind, colon, path = text.removeprefix("proxy:").partition(":")
    return (kind, path) if colon else ("hash", kind)


@dataclass(slots=True)
class Entries:
    """What a table says, and what of it cannot be read."""

    values: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def look_up(self, key: str) -> str | None:
        """Return the value of a key."""
        return self.values.get(key.lower())


def parse_text(text: str) -> Entries:
    """Read "key value" lines as postmap(1) does; the first entry of a key counts."""
    found = Entries()
    for number, line in logical_lines(text):
        key, value = _split_key(line)
        if not value:
            found.faults.append(f"line {number}: a key and a value are expected")
        elif key in found.values:
            found.faults.append(f'line {number}: duplicate entry "{key}"')
        else:
            found.values[key] = value
    return found


def parse_names(text: str) -> frozenset[str]:
    """Read the keys alone: a line without a value counts where only the name is asked for."""
    return frozenset(_split_key(line)[0] for _, line in logical_lines(text))


def _split_key(line: str) -> tuple[str, str]:
    """Return the key in lower case, up to the first blank outside quotes, and the rest."""
    quoted, at = False, 0
    while at < len(line) and (quoted or line[at] not in " \t"):
        if line[at] == "\\" and quoted:
            at += 1
        elif line[at] == '"':
            quoted = not quoted
        at += 1
    return line[:at].lower(), line[at:].strip()


def parse_inline(text: str) -> Entries:
    """Read inline:{key=value, {key = text with blanks}}; raises ValueError."""
    inner = text.strip()
    if inner[:1] != "{" or inner[-1:] != "}":
        raise ValueError("inline:{key=value, ...} is expected")
    found = Entries()
    for element in _elements(inner[1:-1]):
        pair = element[1:-1] if element[0] == "{" else element
        key, equals, value = pair.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"inline: {element}: key=value is expected")
        found.values.setdefault(key.strip().lower(), value.strip())
    if not found.values:
        raise ValueError("inline: it is empty")
    return found


def known_values(kind: str, rest: str) -> list[str]:
    """Return what a table that stands in main.cf itself can say: one of static:, inline:; raises ValueError."""
    if kind == "static":
        return [rest.strip("{}")]
    return list(parse_inline(rest).values.values()) if kind == "inline" else []


def _elements(text: str) -> list[str]:
    words, depth, word = [], 0, ""
    for c in text:
        depth += (c == "{") - (c == "}")
        if depth == 0 and c in ", \t\n":
            words.append(word)
            word = ""
        else:
            word += c
    return [word for word in (*words, word) if word]


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class CidrTable:
    """cidr_table(5): networks in order; ! before one means every address that is not in it."""

    def __init__(self, text: str) -> None:
        self.faults: list[str] = []
        self._rows: list[tuple[tuple[tuple[_Network, bool], ...], str]] = []
        blocks: list[tuple[_Network, bool]] = []
        for number, line in logical_lines(text):
            try:
                self._line(line, blocks)
            except ValueError as error:
                self.faults.append(f"line {number}: {error}")
        if blocks:
            self.faults.append("an if without its endif")

    def _line(self, line: str, blocks: list[tuple[_Network, bool]]) -> None:
        word, _, rest = line.replace("\t", " ").partition(" ")
        if word.lower() == "endif":
            if not blocks:
                raise ValueError("an endif without its if")
            blocks.pop()
        elif word.lower() == "if":
            blocks.append(_network(rest.strip()))
        elif not rest.strip():
            raise ValueError("a network and a value are expected")
        else:
            self._rows.append(((*blocks, _network(word)), rest.strip()))

    def look_up(self, key: str) -> str | None:
        """Return the value of the first network that an address is in; None for what is no address."""
        try:
            address = ipaddress.ip_address(key.strip("[]").removeprefix("IPv6:"))
        except ValueError:
            return None
        for conditions, value in self._rows:
            if all((address in network) != negated for network, negated in conditions):
                return value
        return None


def _network(text: str) -> tuple[_Network, bool]:
    negated = text.startswith("!")
    return ipaddress.ip_network(text.lstrip("! ").replace("[", "").replace("]", "")), negated


def netstring(text: str) -> bytes:
    """Return a text as a netstring."""
    data = text.encode("utf-8", "surrogateescape")
    return b"%d:%s," % (len(data), data)


def socketmap_reply(data: bytes) -> str | None:
    """Read the answer of a socketmap server; raises ValueError for one that is no answer, or says "not now"."""
    status, _, text = data.decode("utf-8", "surrogateescape").partition(" ")
    if status == "OK":
        return text
    if status == "NOTFOUND":
        return None
    raise ValueError(f"the server says {status[:20]} {text[:200]}")
