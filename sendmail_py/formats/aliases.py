"""aliases(5): the text of an alias file, and the address lists that it and include files hold.

Pure. Every fault carries its line number, so newaliases can point at it; one bad line does not
hide the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..core.address import Address

_SHOWN = 200  # octets of a line that a complaint quotes: users write such lines, and it is logged at each delivery
_INCLUDE = ":include:"


class Kind(Enum):
    """What stands on the right-hand side of an alias."""

    ADDRESS = "address"
    INCLUDE = "include"
    COMMAND = "command"
    FILE = "file"


_MARKS = {Kind.INCLUDE: _INCLUDE, Kind.COMMAND: "|"}


@dataclass(frozen=True, slots=True)
class Target:
    """One element of an address list.

    text is the path or the command without its mark. An ADDRESS has its address; real_user says
    that it was written \\name, so no alias applies to it.
    """

    kind: Kind
    text: str
    address: Address | None = None
    real_user: bool = False

    def __str__(self) -> str:
        return _MARKS.get(self.kind, "\\" if self.real_user else "") + self.text


@dataclass(frozen=True, slots=True)
class Alias:
    """What an alias stands for, and the uid whose rights its programs and files are used with (-1: default_privs)."""

    targets: tuple[Target, ...]
    uid: int = -1


@dataclass(frozen=True, slots=True)
class AliasEntry:
    """One alias: its name in lower case, what it stands for, and its line."""

    name: str
    targets: tuple[Target, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that cannot be used, and why; name is its alias where that much is clear.

    An alias with a fault exists: its mail has to wait until the line is mended. What is harmless is
    only told: the line counts for nothing, and no mail waits.
    """

    line: int
    text: str
    name: str = ""
    harmless: bool = False


def parse(text: str) -> tuple[list[AliasEntry], list[Fault]]:
    """Read an alias file; of two entries with one name the first counts, the other is a fault."""
    entries: dict[str, AliasEntry] = {}
    faults = []
    for number, line in logical_lines(text):
        name = ""
        try:
            name, rest = _name(line)
            entry = AliasEntry(name, _targets(name, rest), number)
        except ValueError as error:
            faults.append(Fault(number, str(error), name))
            continue
        if entry.name in entries:
            first = entries[entry.name].line
            faults.append(Fault(number, f'duplicate entry "{entry.name}", first on line {first}', harmless=True))
        else:
            entries[entry.name] = entry
    return list(entries.values()), faults


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its continuation lines joined, and the number of its first line.

    Empty lines and comments are left out, also between a line and its continuation.
    """
    number, joined = 0, ""
    for n, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if line[0] in " \t" and joined:
            joined += " " + stripped
            continue
        if joined:
            yield number, joined
        number, joined = n, line.rstrip()
    if joined:
        yield number, joined


def _targets(name: str, text: str) -> tuple[Target, ...]:
    targets = tuple(parse_list(text))
    if not targets:
        raise ValueError(f'alias "{name[:_SHOWN]}" has no value')
    return targets


def _name(line: str) -> tuple[str, str]:
    """Split a line into the alias in lower case, which may be quoted, and its value."""
    if line[0] in " \t":
        raise ValueError("a continuation line with nothing before it")
    if line.startswith('"'):
        end = _skip_quoted(line, 0)
        name, rest = _unquote(line[:end]), line[end:].lstrip()
        if not rest.startswith(":"):
            raise ValueError("no colon after the name; expected: name: value")
        return name.lower(), rest[1:]
    name, colon, rest = line.partition(":")
    name = name.strip()
    if not colon or not name:
        raise ValueError("expected: name: value")
    if " " in name or "\t" in name or "@" in name:
        raise ValueError(f'"{name[:_SHOWN]}" cannot be the name of an alias')
    return name.lower(), rest


def parse_list(text: str) -> list[Target]:
    """Read a list of addresses, files, commands and includes; raises ValueError naming what is wrong."""
    return [_target(element) for element in _split(text)]


def _split(text: str) -> Iterator[str]:
    """Yield the elements between commas; quotes, <> and comments may hold commas."""
    start = position = 0
    while position < len(text):
        if text[position] == ",":
            if element := text[start:position].strip():
                yield element
            start = position + 1
        position = _skip(text, position)
    if element := text[start:].strip():
        yield element


def _skip(text: str, position: int) -> int:
    """Return where the next character, quoted string, <address> or (comment) ends."""
    c = text[position]
    if c == "\\":
        return position + 2
    if c == '"':
        return _skip_quoted(text, position)
    if c == "(":
        return _skip_comment(text, position)
    if c == "<":
        end = text.find(">", position)
        if end < 0:
            raise ValueError(f"a < is not closed in: {text.strip()[:_SHOWN]}")
        return end + 1
    return position + 1


def _skip_quoted(text: str, position: int) -> int:
    position += 1
    while position < len(text):
        if text[position] == '"':
            return position + 1
        position += 2 if text[position] == "\\" else 1
    raise ValueError(f'a " is not closed in: {text.strip()[:_SHOWN]}')


def _skip_comment(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        c = text[position]
        depth += (c == "(") - (c == ")")
        position += 2 if c == "\\" else 1
        if not depth:
            return position
    raise ValueError(f"a ( is not closed in: {text.strip()[:_SHOWN]}")


def _unquote(text: str) -> str:
    out = []
    characters = iter(text[1:-1])
    for c in characters:
        out.append(next(characters, "") if c == "\\" else c)
    return "".join(out)


def _target(element: str) -> Target:
    is_quoted = element[0] == '"' and _skip_quoted(element, 0) == len(element)
    plain = _unquote(element) if is_quoted else element
    if plain[:9].lower() == _INCLUDE:
        return _with_text(Kind.INCLUDE, plain[9:].strip(), element)
    if plain.startswith("|"):
        return _with_text(Kind.COMMAND, plain[1:].strip(), element)
    if plain.startswith("/"):
        return Target(Kind.FILE, plain)
    real_user = element.startswith("\\")
    spec = element[1:] if real_user else _address_spec(element)
    address = Address.parse(spec)
    if not address.local_part or ((" " in spec or "\t" in spec) and '"' not in spec):
        raise ValueError(f"not an address (a comma missing?): {element[:_SHOWN]}")
    return Target(Kind.ADDRESS, spec, address, real_user)


def _with_text(kind: Kind, text: str, element: str) -> Target:
    if not text:
        raise ValueError(f"nothing after the mark in: {element[:_SHOWN]}")
    if text[0] == '"' and _skip_quoted(text, 0) == len(text):
        text = _unquote(text)  # |"program args" is "|program args"
    return Target(kind, text)


def _address_spec(element: str) -> str:
    """Return the address itself, without comments, and without the display name before <>."""
    kept = []
    position = 0
    while position < len(element):
        end = _skip(element, position)
        part = element[position:end]
        if part[0] == "<":
            return part[1:-1].strip()
        if part[0] != "(":
            kept.append(part)
        position = end
    return "".join(kept).strip()
