"""One batch: find the hosts, connect, deliver, and go on to the next host when one fails.

Every recipient has a result at the end, unless the agent was told to stop; then those without
one are untouched, and qmgr tries them again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Scope, deferred
from ..core.route import LMTP
from ..delivery.smtp_content import ChunksUnknown
from ..delivery.smtp_opening import LoginFailure, Opening, TlsFailure, open_session
from ..delivery.smtp_session import SmtpSession
from ..delivery.smtp_stream import ConnectError, SessionError, SmtpStream
from ..formats.batch import Batch
from ..protocol.tls_policy import CLEAR
from ..routing.hosts import Target
from ..routing.transport import split_nexthops
from .agent import AgentChannel
from .smtp_connector import Connector
from .smtp_hosts import HostFinder
from .smtp_pool import SessionPool
from .smtp_security import ClientSecurity

if TYPE_CHECKING:
    from .smtp_dkim import DkimSigner
    from .smtp_generic import GenericMaps

_LOOP = "5.4.6"


class BatchRun:
    """The way of one batch through sessions with its nexthop's hosts."""

    def __init__(
        self,
        batch: Batch,
        config: Config,
        finder: HostFinder,
        connector: Connector,
        pool: SessionPool,
        security: ClientSecurity,
        generic: "GenericMaps | None",
        signer: "DkimSigner | None",
        channel: AgentChannel,
        stopping: Callable[[], bool],
    ) -> None:
        self._batch = batch
        self._finder = finder
        self._connector = connector
        self._pool = pool
        self._security = security
        self._generic = generic
        self._signer = signer
        self._channel = channel
        self._config = config
        self._stopping = stopping
        self._unreported = {id(d): (n, list(range(len(d.recipients)))) for n, d in enumerate(batch.deliveries)}
        self._since = time.monotonic()
        self._connecting = 0.0
        self._lmtp = batch.transport == LMTP
        self._logs_tls = config.smtp_log_tls_feature_status and not self._lmtp
        self._tls = ""  # how far the last session has come with TLS, as Postfix logs it
        self._opened = 0  # sessions that came to where they take mail
        self._by_sender = not self._lmtp and security.logins.by_sender
        self._nexthop = batch.nexthop
        self._logins_refused: dict[int, DeliveryResult] = {}

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
        """Have the addresses rewritten that other hosts are to see, and the whole signed."""
        steps = [] if self._lmtp else [step for step in (self._generic, self._signer) if step]
        for delivery in self._batch.deliveries if steps else ():
            for step in steps:
                if not await step.prepare(delivery):
                    self._ended(delivery)
                    break

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
        """Go through the targets until nothing is pending, else return the last trouble.

        As with Postfix only sessions count against smtp_mx_session_limit that had come to where they take mail.
        """
        trouble = None
        failures = 0
        left = self._connector.in_order(targets)
        while left:
            opened = self._opened
            try:
                await self._all_over(*await self._reach(left))
            except SessionError as error:
                trouble = error.result
                if not isinstance(error, ConnectError):  # these are logged as they come
                    self._channel.log.info(trouble.reason)
                    failures += self._opened > opened
            if not self._pending() or self._stopping():
                return None
            if 0 < self._config.smtp_mx_session_limit <= failures:
                break
        return trouble

    async def _reach(self, left: list[Target]) -> tuple[Target, SmtpStream | None]:
        """Return the next target, which then leaves the list, with a connection unless none is needed.

        It is not where a session is kept, nor where it cannot be told how to begin one.
        """
        best = [target for target in left if target.preference == left[0].preference]
        first = self._pending()[0]
        openings = await asyncio.gather(*(self._opening(target, first) for target in best), return_exceptions=True)
        for target, opening in zip(best, openings, strict=True):
            if isinstance(opening, SessionError):  # _one_session() will hear it again, and knows whom it concerns
                needs_none = True
            elif isinstance(opening, BaseException):
                raise opening
            else:
                needs_none = self._pool.has_at(_place(target, opening))
            if needs_none:
                left.remove(target)
                return target, None
        return await self._connector.first(left, self._lmtp)

    async def _all_over(self, target: Target, stream: SmtpStream | None) -> None:
        """Deliver all over sessions with one target: a new one as long as the one before did some good.

        What is wrong with one sender's login is no trouble of others; its own mail goes on to the next target.
        """
        connections = [stream] if stream else []
        without: dict[int, SessionError] = {}
        try:
            while pending := [delivery for delivery in self._pending() if id(delivery) not in without]:
                if self._stopping():
                    return
                share = self._of_one_login(pending)
                try:
                    await self._one_session(target, connections, share)
                except LoginFailure as error:
                    if not self._by_sender:
                        raise
                    without |= {id(delivery): error for delivery in share}
                    refused = replace(error.result, scope=Scope.MESSAGE)  # the host is not dead for it
                    self._logins_refused |= {id(delivery): refused for delivery in share}
                except SessionError:
                    if not any(None not in delivery.results for delivery in pending):
                        raise
        finally:
            for connection in connections:
                connection.abort()
        if without:
            raise next(iter(without.values()))

    async def _one_session(self, target: Target, connections: list[SmtpStream], share: list[Delivery]) -> None:
        """Deliver over a kept session, over the connection that there is, or a new one; raises SessionError."""
        opening = await self._opening(target, share[0])
        if not connections and (kept := self._pool.take_at(_place(target, opening))):
            with contextlib.suppress(SessionError):  # it had idled too long
                await self._use(kept, share)
            return
        session = await self._open(target, opening, connections.pop() if connections else None)
        try:
            await self._use(session, share)
        except ChunksUnknown as error:
            self._channel.log.info(error.result.reason)
            self._connector.without_chunks.add(target)
            await self._use(await self._open(target, opening, None), share)

    def _of_one_login(self, pending: list[Delivery]) -> list[Delivery]:
        """Return the first of the pending deliveries, and those that may share a session with it."""
        if not self._by_sender:
            return pending
        return [delivery for delivery in pending if delivery.sender == pending[0].sender]

    async def _opening(self, target: Target, delivery: Delivery) -> Opening:
        return Opening() if self._lmtp else await self._security.opening(self._nexthop, target, delivery.sender)

    async def _open(self, target: Target, opening: Opening, stream: SmtpStream | None) -> SmtpSession:
        """Return a new session that takes mail; raises SessionError. TLS that nobody insists on may fail."""
        policy = opening.policy
        self._tls = f"{policy.word}?" if policy.level else policy.word
        stream = stream or await self._connector.again(target, self._lmtp)
        session = SmtpSession(stream, self._config, ["CHUNKING"] if target in self._connector.without_chunks else [])
        try:
            await open_session(session, opening, self._config)
        except TlsFailure as error:
            if opening.otherwise:
                self._channel.log.warning(f"MTA-STS: {error.result.reason} (testing: mail goes there all the same)")
                return await self._open(target, opening.otherwise, None)
            if policy.is_required or opening.login:
                raise
            self._channel.log.info(f"{error.result.reason}; trying again without TLS")
            session = await self._open(target, replace(opening, policy=CLEAR), None)
            session.tls_level = f"{policy.word}:none"
            return session
        finally:
            if stream.tls:
                self._tls = policy.word_with_tls
        session.place = _place(target, opening)
        session.tls_level = policy.word_with_tls if stream.tls or not policy.level else f"{policy.word}:none"
        self._security.tls.keep(target, policy, stream)
        self._opened += 1
        if stream.tls and self._config.smtp_tls_loglevel:
            self._channel.log.info(f"{policy.trust} TLS connection established to {stream.relay}: {stream.tls}")
        return session

    async def _use(self, session: SmtpSession, deliveries: list[Delivery]) -> None:
        self._take_time()
        self._tls = session.tls_level
        try:
            await session.deliver(deliveries, self._ended, lambda: self._may_go_on(session))
        except BaseException:
            session.stream.abort()
            raise
        # by sender: the next batch may be another sender's, whose login is another
        self._pool.give_back(self._nexthop, session, by_place_alone=self._by_sender)

    def _may_go_on(self, session: SmtpSession) -> bool:
        return not self._stopping() and not self._pool.worn_out(session)

    def _pending(self) -> list[Delivery]:
        return [d for d in self._batch.deliveries if None in d.results]

    def _end_rest(self, result: DeliveryResult) -> None:
        self._take_time()
        for delivery in self._pending():
            delivery.end_all(self._logins_refused.get(id(delivery), result))
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
        tls = self._tls if self._logs_tls else ""
        number, waiting = self._unreported[id(delivery)]
        ready = [i for i in waiting if delivery.results[i] is not None]
        self._unreported[id(delivery)] = number, [i for i in waiting if delivery.results[i] is None]
        for recipient in ready:
            self._channel.report(self._batch, number, recipient, times, tls)
        self._connecting = 0.0
        self._since = now


def _place(target: Target, opening: Opening) -> Hashable:
    """Return what has to be the same for a session to be used for another destination."""
    return target.address, target.port, opening.policy, opening.name, opening.login
