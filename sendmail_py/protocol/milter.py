"""An MTA's side of the milter protocol without its socket: what a filter is to hear, and whether it answers.

Rule 1: an event is octets to be sent, and then, if is_answered() says so, packets to be read until a
Decision other than progress. Rule 2: only the end of the message may be answered with changes, and
only with those that the filter asked for when the session began.
"""

from collections.abc import Iterable

from . import milter_packets as packets
from .milter_packets import Agreed, Answer, Body, Decision, Event, Field, MilterError, Path, Quarantine, packet, strings

_NEEDS = {"add": packets.ADD_RECIPIENTS | packets.ADD_RECIPIENTS_WITH_PARAMETERS}
_NEEDS |= {"delete": packets.DELETE_RECIPIENTS, "sender": packets.CHANGE_SENDER}


class MilterProtocol:
    """One session with one filter."""

    def __init__(self, version: int = 6) -> None:
        self._offered = version
        self._agreed = Agreed(version, 0, 0, {})
        self._skipped = b""

    def offer(self) -> bytes:
        """Return what is said first."""
        return packets.offer(self._offered)

    def take_agreement(self, command: bytes, payload: bytes) -> None:
        """Read the answer to the offer; raises MilterError."""
        self._agreed = packets.agreed(command, payload, self._offered)

    def macros_for(self, stage: str) -> list[str] | None:
        """Return the macros that the filter asked for at a stage, None where it did not say."""
        return self._agreed.macros.get(stage)

    @property
    def keeps_blanks(self) -> bool:
        """True where values of fields come and go with the blank after the colon."""
        return bool(self._agreed.flags & packets.KEEP_BLANKS)

    def begin_message(self) -> None:
        """Forget what was skipped in the last message."""
        self._skipped = b""

    def is_sent(self, event: Event) -> bool:
        """Say whether the filter is to hear of an event."""
        return not self._agreed.flags & event.skip and event.command != self._skipped

    def is_answered(self, event: Event) -> bool:
        """Say whether the filter answers it."""
        return self.is_sent(event) and not self._agreed.flags & event.no_reply

    def octets(self, event: Event, payload: bytes, macros: Iterable[tuple[str, str]] = ()) -> bytes:
        """Return what an event is told with: its macros, which a filter hears of in any case, and itself."""
        pairs = b"".join(strings(name, value) for name, value in macros)
        told = packet(packets.MACROS, event.command + pairs) if pairs else b""
        return told + (packet(event.command, payload) if self.is_sent(event) else b"")

    def answer(self, event: Event, command: bytes, payload: bytes) -> Answer:
        """Read what a filter says to an event; raises MilterError."""
        said = packets.answer(command, payload)
        if isinstance(said, Decision):
            if said.what == "skip":
                self._skipped = event.command
            if said.what == "discard" and event in (packets.CONNECT, packets.HELO):
                return Decision("continue")  # there is nothing yet that could be discarded
            return said
        if isinstance(said, Quarantine) and self._agreed.actions & packets.QUARANTINE:
            return said
        if event is not packets.END or not self._agreed.actions & self._needs(said):
            raise MilterError(f"a change that it may not make: {command!r} after {event.command!r}")
        return said

    @staticmethod
    def _needs(said: Answer) -> int:
        if isinstance(said, Body):
            return packets.CHANGE_BODY
        if isinstance(said, Field):
            # Filters that only add have always inserted too.
            return packets.CHANGE_FIELDS if said.is_change else packets.ADD_FIELDS | packets.CHANGE_FIELDS
        return _NEEDS[said.what] if isinstance(said, Path) else packets.QUARANTINE


def connect_payload(name: str, address: str, port: int) -> bytes:
    """Return what is told of a client."""
    if name == "unknown":
        name = f"[{address}]"
    family = b"6" if ":" in address else b"4"
    return strings(name) + family + port.to_bytes(2, "big") + strings(address)


def field_payload(name: bytes, raw: bytes, keeps_blanks: bool) -> bytes:
    """Return what is told of a field: its lines parted by LF alone."""
    value = raw.partition(b":")[2].rstrip(b"\n").replace(b"\r\n", b"\n")
    if not keeps_blanks and value[:1] == b" ":
        value = value[1:]
    return strings(name, value)


def field_octets(field: Field, keeps_blanks: bool) -> bytes:
    """Return a field that a filter adds, with its line end: a line of it that begins with no blank gets one."""
    value = field.value.encode("utf-8", "surrogateescape").replace(b"\r\n", b"\n").replace(b"\r", b" ").rstrip(b"\n")
    first, *others = value.split(b"\n")
    lines = [first, *(line if line[:1] in (b" ", b"\t") else b"\t" + line for line in others if line.strip())]
    return field.name.encode() + (b":" if keeps_blanks else b": ") + b"\n".join(lines) + b"\n"
