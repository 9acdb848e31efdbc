"""The filters of main.cf (smtpd_milters, non_smtpd_milters), one after another, for one session.

The first that has something against an event decides; each sees a message as the one before it has
left it.
"""

import asyncio
from collections.abc import Iterable

from .. import __version__
from ..core.config import Config
from ..core.endpoint import Service
from ..host.syslog import Log
from ..protocol import milter_packets as packets
from ..protocol.milter import connect_payload
from ..protocol.milter_packets import Event, strings
from .milter_message import FilteredMessage
from .milter_session import Milter, Verdict

_STAGES = {packets.CONNECT: "connect", packets.HELO: "helo", packets.MAIL: "mail", packets.RCPT: "rcpt"}
_STAGES |= {packets.DATA: "data"}


class Milters:
    """The filters of one session. values are those of the macros, without braces."""

    def __init__(self, services: Iterable[Service], config: Config, log: Log) -> None:
        self._config = config
        self._defaults = dict(text.partition("=")[::2] for text in config.milter_macro_defaults)
        self.values: dict[str, str] = {
            "j": config.myhostname,
            "v": config.milter_macro_v or f"sendmail-py {__version__}",
            "daemon_name": config.milter_macro_daemon_name,
        }
        self._milters = [Milter(service, log, self._macros) for service in services]
        self._is_busy = self._is_closing = False

    def _macros(self, stage: str, wanted: list[str] | None) -> list[tuple[str, str]]:
        found = []
        for name in wanted if wanted is not None else getattr(self._config, f"milter_{stage}_macros"):
            key = name.strip("{}")
            value = self.values.get(key) or self._defaults.get(key) or self._defaults.get(name)
            if value:
                found.append((f"{{{key}}}" if len(key) > 1 else key, value))
        return found

    @property
    def held(self) -> str:
        """Why the message is to be held, "" where it is not."""
        return next((milter.held for milter in self._milters if milter.held), "")

    async def connect(self, name: str, address: str, port: int) -> Verdict:
        """Begin; say who the client is."""
        await asyncio.gather(*(milter.open() for milter in self._milters))
        return await self._tell(packets.CONNECT, connect_payload(name, address, port))

    async def helo(self, name: str) -> Verdict:
        """Say HELO."""
        return await self._tell(packets.HELO, strings(name))

    async def mail(self, *words: str) -> Verdict:
        """Say MAIL: the path in brackets, and parameters."""
        return await self._tell(packets.MAIL, strings(*words))

    async def rcpt(self, *words: str) -> Verdict:
        """Say RCPT: the path in brackets, and parameters."""
        return await self._tell(packets.RCPT, strings(*words))

    async def data(self) -> Verdict:
        """Say that the content comes."""
        return await self._tell(packets.DATA, b"")

    async def _tell(self, event: Event, payload: bytes) -> Verdict:
        for milter in self._milters:
            verdict = await milter.tell(event, _STAGES[event], payload)
            if verdict is not None:
                return verdict
        return None

    async def message(self, message: FilteredMessage) -> Verdict:
        """Show a message, and apply what is changed."""
        for milter in self._milters:
            verdict = await milter.message(message)
            if verdict is not None:
                return verdict
        return None

    def reserve(self) -> None:
        """Keep the session open for a message, whatever becomes of its client."""
        self._is_busy = True

    def release(self) -> None:
        """Let it go: the message is through."""
        self._is_busy = False
        self.abort()  # for those that have not seen all of it
        if self._is_closing:
            self.close()

    def abort(self) -> None:
        """Say that a message that was begun does not come."""
        if not self._is_busy:
            for milter in self._milters:
                milter.abort()

    def close(self) -> None:
        """End the session, when the message under way is through."""
        self._is_closing = True
        if not self._is_busy:
            for milter in self._milters:
                milter.close()
