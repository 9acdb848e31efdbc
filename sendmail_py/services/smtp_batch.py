"""One batch: find the hosts, connect, deliver, and go on to the next host when one fails.

Every recipient has a result at the end, unless the agent was told to stop; then those without
one are untouched, and qmgr tries them again.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Scope, deferred
from ..core.route import LMTP
from ..delivery.smtp_opening import LoginFailure, Opening, TlsFailure, open_session
from ..delivery.smtp_session import SmtpSession
from ..delivery.smtp_stream import ConnectError, SessionError, connect
from ..formats.batch import Batch
from ..protocol.tls_policy import CLEAR
from ..routing.hosts import Target
from ..routing.transport import split_nexthops
from .agent import AgentChannel
from .smtp_hosts import HostFinder
from .smtp_pool import SessionPool
from .smtp_security import ClientSecurity

if TYPE_CHECKING:
    from .smtp_generic import GenericMaps

_LOOP = "5.4.6"


class BatchRun:
    """The way of one batch through sessions with its nexthop's hosts."""

    def __init__(
        self,
        batch: Batch,
        config: Config,
        finder: HostFinder,
        pool: SessionPool,
        security: ClientSecurity,
        generic: "GenericMaps | None",
        channel: AgentChannel,
        stopping: Callable[[], bool],
    ) -> None:
        self._batch = batch
        self._finder = finder
        self._pool = pool
        self._security = security
        self._generic = generic
        self._channel = channel
        self._config = config
        self._stopping = stopping
        self._unreported = {id(d): (n, list(range(len(d.recipients)))) for n, d in enumerate(batch.deliveries)}
        self._since = time.monotonic()
        self._connecting = 0.0
        self._lmtp = batch.transport == LMTP
        self._by_sender = not self._lmtp and security.logins.by_sender
        self._nexthop = batch.nexthop

    async def run(self) -> None:
        """Make the attempts, report every result, and end the batch."""
        try:
            await self._attempt()
        except Exception as error:
            self._channel.log.error(f"batch for {self._batch.nexthop}: {type(error).__name__}: {error}")
            self._end_rest(deferred("4.3.0", "internal error of the SMTP client", Scope.MESSAGE))
        if not self._pending():
            self._channel.end_batch(self._batch)

    async def _attempt(self) -> None:
        """Try the nexthop (or several that it names), then smtp_fallback_relay, while none can be found or reached."""
        await self._prepare()
        result = None
        for nexthop in self._nexthops() if self._pending() else ():
            self._nexthop = nexthop
            result = await self._try_nexthop()
            if not self._pending() or self._stopping():
                return
            if result is not None and result.status == _LOOP:  # a fallback would send it back here
                break
        if result and not self._stopping():
            self._end_rest(result)

    async def _prepare(self) -> None:
        """Have the addresses rewritten that other hosts are to see."""
        if self._generic is None or self._lmtp:
            return
        for delivery in self._batch.deliveries:
            if not await self._generic.prepare(delivery):
                self._ended(delivery)

    def _nexthops(self) -> list[str]:
        if self._lmtp:
            return [self._batch.nexthop]
        return [*split_nexthops(self._batch.nexthop), *self._config.smtp_fallback_relay] or [self._batch.nexthop]

    async def _try_nexthop(self) -> DeliveryResult | None:
        kept = self._pool.take(self._nexthop)
        if kept:
            with contextlib.suppress(SessionError):  # it had idled too long; this says nothing of the host
                await self._use(kept, self._pending())
        if not self._pending() or self._stopping():
            return None
        if self._lmtp:
            found = await self._finder.find_lmtp(self._nexthop)
        else:
            found = await self._finder.find(self._nexthop, self._is_named())
        return found if isinstance(found, DeliveryResult) else await self._try_each(found)

    def _is_named(self) -> bool:
        """Say whether a table names the nexthop: then it is not the domain that a recipient has."""
        if not (self._config.transport_maps or self._config.sender_dependent_relayhost_maps):
            return False
        domains = {
            r.forward_path.domain.lower().removesuffix(".") for d in self._batch.deliveries for r in d.recipients
        }
        return self._nexthop.lower() not in domains

    async def _try_each(self, targets: list[Target]) -> DeliveryResult | None:
        """Go through the targets until nothing is pending, else return the last trouble."""
        trouble = None
        failures = 0
        for target in targets:
            try:
                await self._all_over(target)
            except SessionError as error:
                trouble = error.result
                self._channel.log.info(trouble.reason)
                failures += not isinstance(error, ConnectError)
            if not self._pending() or self._stopping():
                return None
            if 0 < self._config.smtp_mx_session_limit <= failures:
                break
        return trouble

    async def _all_over(self, target: Target) -> None:
        """Deliver all over sessions with one target: a new one as long as the one before did some good."""
        while pending := self._pending():
            if self._stopping():
                return
            share = self._of_one_login(pending)
            try:
                await self._use(await self._open(target, self._opening(target, share[0])), share)
            except ConnectError:
                raise
            except LoginFailure as error:
                if not self._by_sender:
                    raise
                for delivery in share:  # what is wrong with one sender's login is no trouble of others
                    delivery.end_all(error.result)
                    self._ended(delivery)
            except SessionError:
                if len(self._pending()) == len(pending):
                    raise

    def _of_one_login(self, pending: list[Delivery]) -> list[Delivery]:
        """Return the first of the pending deliveries, and those that may share a session with it."""
        if not self._by_sender:
            return pending
        return [delivery for delivery in pending if delivery.sender == pending[0].sender]

    def _opening(self, target: Target, delivery: Delivery) -> Opening:
        return Opening() if self._lmtp else self._security.opening(self._nexthop, target, delivery.sender)

    async def _open(self, target: Target, opening: Opening) -> SmtpSession:
        """Return a new session that takes mail; raises SessionError. TLS that nobody insists on may fail."""
        timeout = self._config.smtp_connect_timeout
        stream = await connect(target.host, target.address, target.port, timeout, self._lmtp)
        session = SmtpSession(stream, self._config)
        try:
            await open_session(session, opening, self._config)
        except TlsFailure as error:
            if opening.policy.is_required or opening.login:
                raise
            self._channel.log.info(f"{error.result.reason}; trying again without TLS")
            return await self._open(target, replace(opening, policy=CLEAR))
        if stream.tls and self._config.smtp_tls_loglevel:
            trust = "Verified" if opening.policy.verifies else "Untrusted"
            self._channel.log.info(f"{trust} TLS connection established to {stream.relay}: {stream.tls}")
        return session

    async def _use(self, session: SmtpSession, deliveries: list[Delivery]) -> None:
        self._take_time()
        try:
            await session.deliver(deliveries, self._ended, lambda: self._may_go_on(session))
        except BaseException:
            session.stream.abort()
            raise
        if self._by_sender:
            self._pool.end(session)  # the next batch may be another sender's
        else:
            self._pool.give_back(self._nexthop, session)

    def _may_go_on(self, session: SmtpSession) -> bool:
        return not self._stopping() and not self._pool.worn_out(session)

    def _pending(self) -> list[Delivery]:
        return [d for d in self._batch.deliveries if None in d.results]

    def _end_rest(self, result: DeliveryResult) -> None:
        self._take_time()
        for delivery in self._pending():
            delivery.end_all(result)
            self._ended(delivery)

    def _take_time(self) -> None:
        """Count the time until now as spent on connecting."""
        now = time.monotonic()
        self._connecting += now - self._since
        self._since = now

    def _ended(self, delivery: Delivery) -> None:
        """Report what has a result now; the rest of a delivery may follow from another host."""
        now = time.monotonic()
        times = self._connecting, now - self._since
        number, waiting = self._unreported[id(delivery)]
        ready = [i for i in waiting if delivery.results[i] is not None]
        self._unreported[id(delivery)] = number, [i for i in waiting if delivery.results[i] is None]
        for recipient in ready:
            self._channel.report(self._batch, number, recipient, times)
        self._connecting = 0.0
        self._since = now
