"""smtpd: the SMTP server. One process serves all clients; it comes with the first and leaves when idle.

master holds the listening sockets, so no client is lost between two processes. After a reload the
old process serves its clients to the end while the new one takes the next. At a stop clients
between two messages are told 421, and those amid one may end it within stop_timeout.
"""

import asyncio
import contextlib
import os
import time
from typing import Any

from ..host.loop import allow_descriptors, loop_factory
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..protocol.smtp_server import extensions
from ..routing.restriction_scene import Client
from ..spool.directories import check
from .routes import routing_of
from .service import Service
from .smtpd_limits import Rates
from .smtpd_message import Taker
from .smtpd_rules import is_stressed, smtpd_rules
from .smtpd_session import Session
from .smtpd_tls import context_of
from .smtpd_world import World

_STRESS_TIMEOUT = 10
_SWEEP = 1.0
_DRAIN = 0.1
_LISTENER = "listen "
_GOODBYE = replies.reply(421, "4.3.2", "Error: the server is stopping")


def run(service: Service) -> None:
    """Serve until there is no more reason to."""
    check(service.config.queue_directory, os.getuid())
    allow_descriptors()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Server(service).serve())


class Server:
    """What the sessions share, and when the process ends."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.config = config = service.config
        self.log = service.log
        routing = routing_of(config, service.log.warning)
        self.rules = smtpd_rules(config, routing)
        self.world = World(config, routing, service.log)
        self.taker = Taker(config, service.log)
        self.rates = Rates(config, self.rules.unlimited, service.log, time.monotonic)
        self.context = context_of(config, service.log, service.descriptors)
        self.extensions = extensions(config.message_size_limit)
        self._sessions: set[Session] = set()
        self._listeners: list[asyncio.Server] = []
        self._leave = asyncio.Event()
        self._stopping = False
        self._idle_since = time.monotonic()

    async def serve(self) -> None:
        """Take clients until told to leave, or idle; then serve those that are there to the end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log_unexpected)
        loop.add_reader(self._service.lifeline, self._master_speaks)
        loop.add_reader(self.taker.pool.wake, self.taker.pool.collect)
        for name in self._service.descriptors:
            if name.startswith(_LISTENER):
                end = self._service.socket(name)
                self._listeners.append(await loop.create_server(lambda: Session(self), sock=end, backlog=512))
        self._service.ready()
        while not self._leave.is_set():
            self._sweep()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leave.wait(), _SWEEP)
        await self._take_no_more()
        await self._finish()
        self.world.close()

    async def _take_no_more(self) -> None:
        """Leave new clients to the next process.

        What was accepted just now has its session before the listeners are closed: asyncio would
        drop it without a word, and keep its socket open.
        """
        loop = asyncio.get_running_loop()
        for end in [end for listener in self._listeners for end in listener.sockets]:
            loop.remove_reader(end.fileno())
        await asyncio.sleep(_DRAIN)
        for listener in self._listeners:
            listener.close()

    async def _finish(self) -> None:
        """Wait for the clients that are there; at a stop not longer than stop_timeout."""
        end = None
        while self._sessions or self.taker.is_busy():
            if self._stopping:
                end = end or time.monotonic() + self.config.stop_timeout
                for session in [s for s in self._sessions if s.is_at_rest()]:
                    session.say_goodbye(_GOODBYE)
                if time.monotonic() > end:
                    return
            self._sweep()
            await asyncio.sleep(_DRAIN)

    def _log_unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.log.error(f"{context.get('message')}: {context.get('exception')!r}")

    def _master_speaks(self) -> None:
        what, descriptors = self._service.order()
        if what == "reload" and descriptors:
            self.log.move_to(descriptors.pop(0))
        for descriptor in descriptors:
            os.close(descriptor)
        if what == "stop":
            self._stopping = True
            asyncio.get_running_loop().remove_reader(self._service.lifeline)
        if what in ("stop", "reload"):
            self._leave.set()

    # --- sessions -----------------------------------------------------------------------------

    def enter(self, session: Session, client: Client) -> Reply | None:
        """Take note of a connection; returns the answer where it is one too many."""
        self._sessions.add(session)
        return self.rates.opened(client)

    def left(self, session: Session, client: Client) -> None:
        """Take note of its end."""
        self._sessions.discard(session)
        self.rates.closed(client)
        if not self._sessions:
            self._idle_since = time.monotonic()

    def timeout(self) -> float:
        """Return how long a client may take now."""
        timeout = float(self.config.smtpd_timeout)
        return min(timeout, _STRESS_TIMEOUT) if is_stressed(self.config, self.rates.connections) else timeout

    def _sweep(self) -> None:
        """Let go who takes too long; leave when nobody has been here for a while."""
        now = time.monotonic()
        for session in [s for s in self._sessions if s.deadline < now]:
            session.late()
        if not self._sessions and not self.taker.is_busy() and now - self._idle_since >= self.config.max_idle:
            self._leave.set()
