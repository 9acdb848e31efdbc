"""Dovecot as the one who knows users and passwords: its auth service, over its socket (auth-client).

One connection for all logins of the process, made when it is first needed and again when it was lost.
Guarantee: what was under way then is "cannot be told now", never a wrong password.
"""

import asyncio
import contextlib
import os

from ..host.syslog import Log
from ..protocol import dovecot_auth as lines
from ..protocol.sasl_server import Challenge, SaslError, decode, encode

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 100.0  # PAM and LDAP may be slow, and Dovecot waits a while before it says no
_LINE_LIMIT = 1 << 16
_NUMBERS = 1 << 31


class Dovecot:
    """The backend of smtpd_sasl_type = dovecot; path may also be inet:host:port."""

    def __init__(self, path: str, service: str, log: Log) -> None:
        self._path = path
        self._service = service
        self._log = log
        self._greeting = lines.Greeting()
        self._writer: asyncio.StreamWriter | None = None
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[lines.Answer]] = {}
        self._last = 0

    async def refresh(self) -> None:
        """Connect unless that is done; raises OSError."""
        async with self._connecting:
            if self._writer is None:
                try:
                    await asyncio.wait_for(self._connect(), _CONNECT_SECONDS)
                except (OSError, TimeoutError, ValueError, lines.DovecotError) as error:
                    why = getattr(error, "strerror", "") or str(error) or "no answer"
                    raise OSError(f"Dovecot's auth service at {self._path}: {why}") from error

    async def _connect(self) -> None:
        if self._path.startswith("inet:"):
            host, _, port = self._path.removeprefix("inet:").rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_LINE_LIMIT)
        else:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=_LINE_LIMIT)
        try:
            writer.write(lines.hello(os.getpid()))
            greeting = lines.Greeting()
            while not greeting.is_done:
                greeting.take(await _line(reader))
        except BaseException:
            writer.close()
            raise
        self._greeting, self._writer = greeting, writer
        self._reading = asyncio.get_running_loop().create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give each answer to who waits for it, until the connection ends."""
        try:
            while True:
                answer = lines.read(await _line(reader))
                waiting = self._waiting.pop(answer.number, None) if answer else None
                if answer and waiting and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, ValueError, lines.DovecotError) as error:
            self._log.warning(f"Dovecot's auth service at {self._path}: {error}")
        finally:
            self._writer = None
            writer.close()
            lost, self._waiting = self._waiting, {}
            for waiting in lost.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("the connection was lost"))

    def mechanisms(self, options: list[str]) -> list[str]:
        """Return the mechanisms that the security options leave."""
        return self._greeting.allowed(options)

    def begin(self, mechanism: str, facts: dict[str, str]) -> "_DovecotLogin":
        """Begin a login."""
        self._last = self._last % _NUMBERS + 1
        return _DovecotLogin(self, self._last, mechanism, {"service": self._service, "nologin": "", **facts})

    async def connection(self) -> object:
        """Return the connection for a login that begins; raises OSError."""
        await self.refresh()
        return self._writer

    async def ask(self, number: int, request: bytes, connection: object) -> lines.Answer:
        """Send a request over a connection and return its answer; raises OSError, also where that is there no more."""
        if self._writer is None or self._writer is not connection:
            raise OSError(f"Dovecot's auth service at {self._path}: the connection was lost amid the login")
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(request)
        try:
            return await asyncio.wait_for(waiting, _ANSWER_SECONDS)
        except TimeoutError as error:
            raise OSError(f"Dovecot's auth service at {self._path} gave no answer") from error
        finally:
            self._waiting.pop(number, None)

    def tell(self, request: bytes, connection: object) -> None:
        """Send what has no answer, if the connection is still there."""
        if self._writer and self._writer is connection:
            with contextlib.suppress(OSError):
                self._writer.write(request)


async def _line(reader: asyncio.StreamReader) -> str:
    """Return the next line; raises OSError at the end, ValueError for one that is too long."""
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise ConnectionError("the connection was closed")
    return line[:-1].decode("utf-8", "replace")


class _DovecotLogin:
    """One login, under its number."""

    def __init__(self, dovecot: Dovecot, number: int, mechanism: str, facts: dict[str, str]) -> None:
        self._dovecot = dovecot
        self._number = number
        self._mechanism = mechanism
        self._facts = facts
        self._connection: object = None  # the one that the login was begun on: no other knows of it
        self._accepted = ""
        self.user = ""

    async def go_on(self, response: bytes | None) -> Challenge | str:
        """Take a response; raises SaslError, OSError."""
        if self._accepted:  # Dovecot had something to say with its OK; the client has heard it
            return self._accepted
        text = None if response is None else encode(response)
        if self._connection:
            request = lines.goes_on(self._number, text or "")
            return self._read(await self._dovecot.ask(self._number, request, self._connection))
        self._connection = await self._dovecot.connection()
        request = lines.auth(self._number, self._mechanism, self._facts, text)
        return self._read(await self._dovecot.ask(self._number, request, self._connection))

    def _read(self, answer: lines.Answer) -> Challenge | str:
        self.user = answer.user or self.user
        if answer.kind == "CONT":
            return Challenge(decode(answer.data))
        if answer.kind == "FAIL":
            if answer.is_temporary:
                raise OSError("Dovecot cannot tell now")
            raise SaslError("authentication failure")
        if not answer.user:
            raise OSError("Dovecot named no user")
        if answer.data:
            self._accepted = answer.user
            return Challenge(decode(answer.data))
        return answer.user

    def give_up(self) -> None:
        """Tell Dovecot that the client has given up."""
        if self._connection:
            self._dovecot.tell(lines.cancel(self._number), self._connection)
