"""The packets of the milter protocol, version 6: how an MTA writes what happens, and reads what a filter says.

Guarantees: a filter cannot make us keep more than PACKET_LIMIT octets, and what does not have the
form of its packet is a MilterError. A reply that a filter words is checked as SMTP's are.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from .reply import RemoteProtocolError, Reply, ReplyReader
from .server_replies import reply

PACKET_LIMIT = (1 << 20) + 1024
CHUNK = 65535
_U32 = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")
_HAS_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}(?: |$)")


class MilterError(Exception):
    """The filter says what no filter says."""


class Event(NamedTuple):
    """Something that happens: its octet, the flag of a filter that need not hear of it, and of one that is silent."""

    command: bytes
    skip: int
    no_reply: int


CONNECT: Final = Event(b"C", 0x1, 0x1000)
HELO: Final = Event(b"H", 0x2, 0x2000)
MAIL: Final = Event(b"M", 0x4, 0x4000)
RCPT: Final = Event(b"R", 0x8, 0x8000)
DATA: Final = Event(b"T", 0x200, 0x10000)
HEADER: Final = Event(b"L", 0x20, 0x80)
END_OF_HEADER: Final = Event(b"N", 0x40, 0x40000)
BODY: Final = Event(b"B", 0x10, 0x80000)
END: Final = Event(b"E", 0, 0)
OPTIONS, MACROS, ABORT, QUIT = b"O", b"D", b"A", b"Q"

KEEP_BLANKS = 0x100000  # SMFIP_HDR_LEADSPC: values of fields come and go with the blank after the colon
SKIP = 0x400
_EVENTS = (CONNECT, HELO, MAIL, RCPT, DATA, HEADER, END_OF_HEADER, BODY)
PROTOCOL = KEEP_BLANKS | SKIP | sum(event.skip | event.no_reply for event in _EVENTS)
ADD_FIELDS, CHANGE_BODY, ADD_RECIPIENTS, DELETE_RECIPIENTS, CHANGE_FIELDS = 0x1, 0x2, 0x4, 0x8, 0x10
QUARANTINE, CHANGE_SENDER, ADD_RECIPIENTS_WITH_PARAMETERS, SET_MACROS = 0x20, 0x40, 0x80, 0x100
ACTIONS = ADD_FIELDS | CHANGE_BODY | ADD_RECIPIENTS | DELETE_RECIPIENTS | CHANGE_FIELDS
ACTIONS |= QUARANTINE | CHANGE_SENDER | ADD_RECIPIENTS_WITH_PARAMETERS | SET_MACROS
MACRO_STAGES = ("connect", "helo", "mail", "rcpt", "data", "end_of_data", "end_of_header")


@dataclass(frozen=True, slots=True)
class Decision:
    """How it goes on: continue, accept, discard, skip, progress, or refuse with a reply."""

    what: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A header field to add at the end (index -1), to insert at an index, or to change, the index-th of its name."""

    index: int
    name: str
    value: str
    is_change: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A recipient to add or delete, or another sender; parameters as after RCPT or MAIL."""

    what: str
    address: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A part of a body that replaces the one there is."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The message is to be held."""

    reason: str


Answer = Decision | Field | Path | Body | Quarantine

_DECISIONS: Final = {
    b"c": Decision("continue"),
    b"a": Decision("accept"),
    b"d": Decision("discard"),
    b"s": Decision("skip"),
    b"p": Decision("progress"),
    b"r": Decision("refuse", reply(550, "5.7.1", "Command rejected")),
    b"t": Decision("refuse", reply(451, "4.7.1", "Service unavailable - try again later")),
    b"4": Decision("refuse", reply(421, "4.7.0", "Service unavailable")),
}


def packet(command: bytes, payload: bytes = b"") -> bytes:
    """Return a packet as octets."""
    return _U32.pack(len(payload) + 1) + command + payload


def strings(*values: str | bytes) -> bytes:
    """Return values as strings that end in NUL; a NUL within becomes a question mark."""
    octets = (v if isinstance(v, bytes) else v.encode("utf-8", "surrogateescape") for v in values)
    return b"".join(value.replace(b"\0", b"?") + b"\0" for value in octets)


def offer(version: int) -> bytes:
    """Return what an MTA says first: all that it can do."""
    return packet(OPTIONS, _OPTIONS.pack(version, ACTIONS, PROTOCOL))


class Agreed(NamedTuple):
    """What a filter wants: its version, actions, flags, and macros for some stages."""

    version: int
    actions: int
    flags: int
    macros: dict[str, list[str]]


def agreed(command: bytes, payload: bytes, version: int) -> Agreed:
    """Read a filter's answer to the offer; raises MilterError."""
    if command != OPTIONS or len(payload) < _OPTIONS.size:
        raise MilterError(f"the first packet is {command!r} of {len(payload)} octets")
    its_version, actions, flags = _OPTIONS.unpack_from(payload)
    if not 2 <= its_version <= version:
        raise MilterError(f"it speaks version {its_version}, which was not offered")
    if actions & ~ACTIONS:
        raise MilterError(f"it wants actions that were not offered: {actions:#x}")
    # An older filter has never heard of the newer events.
    flags |= (DATA.skip if its_version < 4 else 0) | (0x100 if its_version < 3 else 0)
    return Agreed(its_version, actions, flags, _macros(payload[_OPTIONS.size :]))


def _macros(rest: bytes) -> dict[str, list[str]]:
    macros = {}
    while len(rest) > 4:
        (stage,) = _U32.unpack_from(rest)
        names, _, rest = rest[4:].partition(b"\0")
        if stage < len(MACRO_STAGES):
            macros[MACRO_STAGES[stage]] = names.decode("utf-8", "replace").split()
    return macros


class PacketReader:
    """Cuts octets into packets."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Take octets."""
        self._buffer += data

    def next(self) -> tuple[bytes, bytes] | None:
        """Return the next packet, its command and payload, None while it is not all there; raises MilterError."""
        if len(self._buffer) < 4:
            return None
        (length,) = _U32.unpack_from(self._buffer)
        if not 1 <= length <= PACKET_LIMIT:
            raise MilterError(f"a packet of {length} octets")
        if len(self._buffer) < 4 + length:
            return None
        found = self._buffer[4:5], self._buffer[5 : 4 + length]
        self._buffer = self._buffer[4 + length :]
        return found

    @property
    def is_empty(self) -> bool:
        """True when nothing has come that was not taken."""
        return not self._buffer


def answer(command: bytes, payload: bytes) -> Answer:
    """Read what a filter says; raises MilterError."""
    if command in _DECISIONS:
        if payload:
            raise MilterError(f"{len(payload)} octets after {command!r}")
        return _DECISIONS[command]
    if command == b"y":
        return Decision("refuse", _worded(payload))
    if command == b"q":
        return Quarantine(_text(payload.rstrip(b"\0")))
    if command == b"b":
        return Body(payload)
    if command in (b"h", b"i", b"m"):
        return _field(command, payload)
    if command in _PATHS:
        address, *parameters = _split(payload)
        return Path(_PATHS[command], address, " ".join(parameters))
    raise MilterError(f"an answer that is not known: {command!r}")


_PATHS: Final = {b"+": "add", b"2": "add", b"-": "delete", b"e": "sender"}


def _field(command: bytes, payload: bytes) -> Field:
    index = -1
    if command != b"h":
        if len(payload) < 4:
            raise MilterError("a field without its index")
        (index,) = _U32.unpack_from(payload)
        payload = payload[4:]
    if len(parts := _split(payload)) != 2:
        raise MilterError("a field is a name and a value")
    name, value = parts
    if not name or not all("!" <= c <= "~" and c != ":" for c in name):
        raise MilterError(f"a field called {name[:40]!r}")
    return Field(max(index, 1) if command == b"m" else index, name, value, command == b"m")


def _split(payload: bytes) -> list[str]:
    if not payload.endswith(b"\0"):
        raise MilterError("a string without its end")
    return [_text(part) for part in payload[:-1].split(b"\0")]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _worded(payload: bytes) -> Reply:
    """Read a reply as a filter words it; %% is a percent sign, as for sendmail, and a lone one is dropped."""
    text = payload.rstrip(b"\0\r\n").replace(b"%%", b"\0").replace(b"%", b"").replace(b"\0", b"%")
    try:
        found = ReplyReader().feed(text + b"\r\n")
    except RemoteProtocolError as error:
        raise MilterError(str(error)) from None
    if len(found) != 1 or found[0].code < 400:
        raise MilterError(f"no reply that refuses: {payload[:80]!r}")
    code, lines = found[0].code, found[0].lines
    return Reply(code, tuple(_with_status(code, lines)))


def _with_status(code: int, lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        has_status = _HAS_STATUS.match(line) and line[0] == str(code)[0]
        yield line if has_status else f"{code // 100}.7.1 {line}"
