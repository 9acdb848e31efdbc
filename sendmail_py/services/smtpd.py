"""smtpd: the SMTP server. A process comes with the first client, more while it is busy; they leave when idle.

master holds the listening sockets, so no client is lost between two processes. After a reload the
old process serves its clients to the end while the new one takes the next. At a stop clients
between two messages are told 421, and those amid one may end it within stop_timeout.
"""

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from ..core.config import Config
from ..host.cpu import wanted_seconds
from ..host.loop import loop_factory
from ..host.shared_counts import SharedCounts
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..routing.restriction_scene import Client
from ..spool.directories import check
from .listening import COUNTS, EXTRA
from .routes import routing_of
from .sasl_settings import path_of
from .service import Service
from .smtpd_auth_delays import AuthDelays
from .smtpd_certificates import wants_tls
from .smtpd_entrance import Entrance
from .smtpd_limits import Rates
from .smtpd_listener import Listener
from .smtpd_load import Load
from .smtpd_message import Taker
from .smtpd_proxied import ProxiedListener, is_proxied
from .smtpd_rules import unlimited_clients
from .smtpd_session import Session
from .smtpd_tls import chains_of
from .smtpd_world import World

if TYPE_CHECKING:
    from .smtpd_logins import Backend

_SWEEP = 1.0
_DRAIN = 0.1
_LISTENER = "listen "
_GOODBYE = replies.reply(421, "4.3.2", "Error: the server is stopping")


def run(service: Service) -> None:
    """Serve until there is no more reason to."""
    check(service.config.queue_directory, os.getuid())
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Server(service).serve())


def counts_of(service: Service) -> tuple[SharedCounts, bool]:
    """Return the counts of all processes, and whether this is one more beside another."""
    name = next(name for name in service.descriptors if name.startswith(COUNTS))
    _, slot, role = name.split(" ")
    descriptor = service.descriptors.pop(name)
    counts = SharedCounts(descriptor, int(slot))
    os.close(descriptor)
    return counts, role == EXTRA


class Server:
    """What the sessions share, and when the process ends."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.config = config = service.config
        self.log = service.log
        routing = routing_of(config, service.log.warning)
        self.world = World(config, routing, service.log)
        self.taker = Taker(config, service.log)
        unlimited = unlimited_clients(config)
        counts, self._is_extra = counts_of(service)
        self._load = Load(time.monotonic(), wanted_seconds())
        self.rates = Rates(config, unlimited, service.log, time.monotonic, counts)
        self.delays = AuthDelays(config, unlimited, time.monotonic, counts)
        self._backends: dict[tuple[str, ...], "Backend"] = {}
        found = {name.split(" ")[1] for name in service.descriptors if name.startswith(_LISTENER)}
        chains = chains_of(config, service.log, service.descriptors) if wants_tls(config, found) else []
        self._entrances = {kind: Entrance(kind, self, config, routing, chains) for kind in found}
        self._sessions: set[Session] = set()
        self._listeners: list[Listener] = []
        self._leave = asyncio.Event()
        self._stopping = False
        self._idle_since = time.monotonic()

    async def serve(self) -> None:
        """Take clients until told to leave, or idle; then serve those that are there to the end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log_unexpected)
        loop.add_reader(self._service.lifeline, self._master_speaks)
        loop.add_reader(self.taker.pool.wake, self.taker.collect)
        for name in self._service.descriptors:
            if name.startswith(_LISTENER):
                entrance = self._entrances[name.split(" ")[1]]
                end = self._service.socket(name)
                kind = ProxiedListener if is_proxied(entrance.config, end.getsockname()[1]) else Listener
                self._listeners.append(kind(end, entrance))
        self._service.ready()
        while not self._leave.is_set():
            self._sweep()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leave.wait(), _SWEEP)
        for listener in self._listeners:  # new clients are the next process's
            listener.close()
        await self._finish()
        self.world.close()

    async def _finish(self) -> None:
        """Wait for the clients that are there; at a stop not longer than stop_timeout."""
        end = None
        while self._sessions or self.taker.is_busy() or any(listener.arrivals for listener in self._listeners):
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
        what = self._service.order()
        if what == "stop":
            self._stopping = True
            asyncio.get_running_loop().remove_reader(self._service.lifeline)
        if what in ("stop", "reload"):
            self._leave.set()

    def backend(self, config: Config) -> "Backend":
        """Return who knows the users; entrances with the same settings share one."""
        from .smtpd_logins import backend_of  # most servers have no logins

        key = config.smtpd_sasl_type, path_of(config), config.smtpd_sasl_local_domain, config.smtpd_sasl_service
        if key not in self._backends:
            self._backends[key] = backend_of(config, self.log)
        return self._backends[key]

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

    def _sweep(self) -> None:
        """Let go who takes too long; leave when nobody has been here for a while."""
        now = time.monotonic()
        if self.rates.is_stressed():
            for session in self._sessions:
                session.hurry(now)
        for session in [s for s in self._sessions if s.deadline < now]:
            session.late()
        self._load.note(now, wanted_seconds())
        if self._load.is_busy() and not self._leave.is_set():
            self._service.tell({"more": True})
        is_idle = not self._sessions and not self.taker.is_busy() and now - self._idle_since >= self.config.max_idle
        if is_idle or (self._is_extra and self._load.is_calm()):
            self._leave.set()
