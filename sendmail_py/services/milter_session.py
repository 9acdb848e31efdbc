"""One session with one filter: protocol/milter.py over a socket, each step within its time.

Guarantees: whatever a filter does - it is gone, hangs, or speaks nonsense - comes to its default_action,
once and for the rest of the session, with a line in the log; nothing waits longer than its time-outs, and a
filter that makes progress all the time not longer than four times as much.
"""

import asyncio
from collections.abc import Callable, Iterable

from ..core.endpoint import Service
from ..host.syslog import Log
from ..protocol import milter_packets as packets
from ..protocol.milter import MilterProtocol, field_payload
from ..protocol.milter_packets import Decision, Event, MilterError, PacketReader, Quarantine
from ..protocol.reply import Reply
from ..protocol.server_replies import reply
from .milter_message import ContentError, FilteredMessage

Macros = Callable[[str, list[str] | None], Iterable[tuple[str, str]]]  # of a stage, by the filter's own list


class Discard:
    """The message is taken and goes nowhere."""


DISCARD = Discard()
Verdict = Reply | Discard | None
DEFAULTS: dict[str, Reply | None] = {
    "accept": None,
    "quarantine": None,
    "reject": reply(550, "5.5.0", "Service unavailable"),
    "tempfail": reply(451, "4.7.1", "Service unavailable - try again later"),
    "shutdown": reply(421, "4.7.1", "Service unavailable - try again later"),
}
_PROLONGED = 4  # times its time-out a step may take, for a filter that says that it makes progress
_AT_ONCE = 64  # fields, before other sessions have their turn
_OF_CONNECTION = (packets.CONNECT, packets.HELO)


class Milter:
    """The filter. held says why the message is to be held, where it is."""

    def __init__(self, service: Service, log: Log, macros: Macros) -> None:
        self._endpoint, self._settings = service
        self._log = log
        self._macros = macros
        self._machine = MilterProtocol(int(self._settings["protocol"]))
        self._packets = PacketReader()
        self._writer: asyncio.StreamWriter | None = None
        self._final: Reply | None = None  # the answer to everything from now on
        self._is_out = False  # it is not asked any more
        self._is_done = False  # nor about this message
        self._has_begun = False  # a message, which it must be told the end of
        self._always_held = ""
        self.held = ""

    async def open(self) -> None:
        """Connect, and agree on what is said."""
        try:
            async with asyncio.timeout(self._settings["connect_timeout"]):
                if self._endpoint.is_unix:
                    streams = await asyncio.open_unix_connection(self._endpoint.host)
                else:
                    streams = await asyncio.open_connection(self._endpoint.host, self._endpoint.port)
            self._reader, self._writer = streams
            async with asyncio.timeout(self._settings["command_timeout"]):
                await self._write(self._machine.offer())
                self._machine.take_agreement(*await self._packet())
        except (OSError, MilterError) as error:
            self._fail(error, "at the beginning")

    async def _write(self, octets: bytes) -> None:
        assert self._writer
        self._writer.write(octets)
        await self._writer.drain()

    async def _packet(self) -> tuple[bytes, bytes]:
        while (found := self._packets.next()) is None:
            data = await self._reader.read(65536)
            if not data:
                raise MilterError("it has closed the connection")
            self._packets.feed(data)
        return found

    def _fail(self, error: Exception, when: str) -> Verdict:
        fault = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        action = self._settings["default_action"]
        self._log.warning(f"milter {self._endpoint}: {fault} {when}; milter_default_action = {action}")
        self._hang_up()
        self._is_out = True
        self._final = DEFAULTS[action]
        if action == "quarantine":
            self.held = self._always_held = f"milter {self._endpoint} cannot be asked"
        return self._final

    # --- events -------------------------------------------------------------------------------

    async def tell(self, event: Event, stage: str, payload: bytes) -> Verdict:
        """Say what happens; returns what the filter has against it."""
        if event is packets.MAIL:
            self._is_done, self.held = False, self._always_held
        if self._is_out or self._is_done:
            return self._final
        if event not in _OF_CONNECTION:
            self._has_begun = True
        try:
            return await self._told(event, stage, payload, self._settings["command_timeout"])
        except (OSError, MilterError) as error:
            return self._fail(error, f"at {stage}")

    async def _told(
        self, event: Event, stage: str, payload: bytes, seconds: float, message: FilteredMessage | None = None
    ) -> Verdict:
        macros = self._macros(stage, self._machine.macros_for(stage)) if stage else ()
        async with asyncio.timeout(seconds):
            await self._write(self._machine.octets(event, payload, macros))
        if not self._machine.is_answered(event):
            return None
        async with asyncio.timeout(_PROLONGED * seconds):
            return await self._answered(event, seconds, message)

    async def _answered(self, event: Event, seconds: float, message: FilteredMessage | None) -> Verdict:
        while True:
            async with asyncio.timeout(seconds):
                said = self._machine.answer(event, *await self._packet())
            if isinstance(said, Quarantine):
                self.held = said.reason or "a filter wants it held"
            elif not isinstance(said, Decision):
                assert message
                message.apply(said, self._machine.keeps_blanks)
            elif said.what != "progress":
                return self._decided(event, said)

    def _decided(self, event: Event, said: Decision) -> Verdict:
        is_of_connection = event in _OF_CONNECTION
        if said.what == "accept" and is_of_connection:
            self._is_out = True
        elif said.what in ("accept", "discard"):
            self._is_done = True
        if said.what == "refuse" and said.reply and (is_of_connection or said.reply.code == 421):
            self._is_out, self._final = True, said.reply
        if self._is_out:
            self._hang_up()
        return DISCARD if said.what == "discard" else said.reply

    # --- the message --------------------------------------------------------------------------

    async def message(self, message: FilteredMessage) -> Verdict:
        """Show the filter a message, and apply what it changes."""
        if self._is_out or self._is_done:
            return self._final
        message.begin_changes()
        try:
            return await self._shown(message)
        except (OSError, MilterError) as error:
            message.undo_changes()
            return self._fail(error, "at the end of the message")
        except ContentError:  # what the filter still has to say of this message is not read
            self._hang_up()
            self._is_out, self._final = True, DEFAULTS["tempfail"]
            raise

    async def _shown(self, message: FilteredMessage) -> Verdict:
        machine, seconds = self._machine, self._settings["content_timeout"]
        machine.begin_message()
        for number, (name, raw) in enumerate(message.fields()):
            if not machine.is_sent(packets.HEADER):
                break
            if not number % _AT_ONCE:
                await asyncio.sleep(0)  # a filter that answers no fields is waited for nowhere here
            payload = field_payload(name, raw, machine.keeps_blanks)
            if (verdict := await self._told(packets.HEADER, "", payload, seconds)) or self._is_done:
                return verdict
        verdict = await self._told(packets.END_OF_HEADER, "end_of_header", b"", seconds)
        if verdict or self._is_done:
            return verdict
        for chunk in message.chunks() if machine.is_sent(packets.BODY) else ():
            if not machine.is_sent(packets.BODY):
                break
            if (verdict := await self._told(packets.BODY, "", chunk, seconds)) or self._is_done:
                return verdict
        verdict = await self._told(packets.END, "end_of_data", b"", seconds, message)
        self._has_begun = False
        message.end_of_changes()
        return verdict

    def abort(self) -> None:
        """Say that the message, if one was begun, does not come."""
        if self._has_begun and self._writer and not self._is_out:
            self._writer.write(packets.packet(packets.ABORT))
        self._has_begun = False

    def close(self) -> None:
        """End the session."""
        if self._writer and not self._is_out:
            self._writer.write(packets.packet(packets.QUIT))
        self._hang_up()
        self._is_out = True

    def _hang_up(self) -> None:
        if self._writer:
            self._writer.close()
