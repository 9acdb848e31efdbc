"""Connections to the targets of a destination, the best first, without waiting long for one that is silent.

Targets of the same preference race as in RFC 8305: each gets a short head start before the next. A worse
preference is for when the better ones have failed (RFC 5321 5.1). An address that was silent is tried
after the others for a while, so that not every message waits for it.
"""

import asyncio
import time
from collections.abc import Callable

from ..core.config import Config
from ..delivery.smtp_connect import SourceError, connect
from ..delivery.smtp_stream import ConnectError, SmtpStream
from ..host.syslog import Log
from ..protocol.transcript import PROTOCOL, Notice, Transcript
from ..routing.hosts import Target
from ..routing.report_rate import ReportRate

HEAD_START = 0.25  # seconds; what RFC 8305 recommends
_AVOID_SECONDS = 60.0
_AVOID_LIMIT = 1000

_Attempts = dict["asyncio.Task[SmtpStream]", Target]


class Connector:
    """Makes the connections of one agent. notify() hears what the postmaster is to be told of them."""

    def __init__(self, config: Config, log: Log, notify: Callable[[Notice], None] = lambda notice: None) -> None:
        self._timeout: float = config.smtp_connect_timeout
        self._sources = {False: config.smtp_bind_address, True: config.smtp_bind_address6}
        self._enforces_source: bool = config.smtp_bind_address_enforce
        self._log = log
        self._name: str = config.syslog_name
        self._told_of = frozenset(config.notify_classes) & {PROTOCOL}
        self._notify = notify
        self._rate = ReportRate(config.session_notice_rate_limit)
        self._silent: dict[Target, float] = {}
        self.without_chunks: set[Target] = set()  # that offer CHUNKING in vain

    def in_order(self, targets: list[Target]) -> list[Target]:
        """Return the targets with those last that were silent a moment ago."""
        now = time.monotonic()
        return sorted(dict.fromkeys(targets), key=lambda target: self._silent.get(target, 0.0) > now)

    async def first(self, targets: list[Target], lmtp: bool) -> tuple[Target, SmtpStream]:
        """Return the first connection that comes about, and where it leads; raises ConnectError when none does.

        What was tried in vain leaves targets, as does what was reached.
        """
        attempts: _Attempts = {}
        begun: dict[Target, float] = {}
        trouble = None
        try:
            while targets:
                pause = self._begin_next(targets, begun, attempts, lmtp)
                done, _ = await asyncio.wait(attempts, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for attempt in [attempt for attempt in attempts if attempt in done]:  # the better ones first
                    target = attempts.pop(attempt)
                    targets.remove(target)
                    try:
                        stream = attempt.result()
                    except ConnectError as error:
                        trouble = error
                        self._log.info(error.result.reason)
                        if time.monotonic() - begun[target] > HEAD_START:
                            self._avoid(target)
                        continue
                    self._overtaken(target, [attempts[slower] for slower in attempts.keys() - done], begun)
                    return target, stream
        finally:
            for attempt in attempts:
                attempt.cancel()
                attempt.add_done_callback(_abort)
        assert trouble is not None
        raise trouble

    def _overtaken(self, winner: Target, others: list[Target], begun: dict[Target, float]) -> None:
        """Remember of those that still do not answer, and were begun before the one that has, that they are slow."""
        self._silent.pop(winner, None)
        for target in others:
            if begun[target] < begun[winner]:
                self._avoid(target)

    def _begin_next(
        self, targets: list[Target], begun: dict[Target, float], attempts: _Attempts, lmtp: bool
    ) -> float | None:
        """Begin the next attempt if it may join those under way; returns what head start they have."""
        waiting = [target for target in targets if target not in begun]
        if waiting and (not attempts or waiting[0].preference == self._preference(attempts)):
            target = waiting.pop(0)
            begun[target] = time.monotonic()
            attempts[asyncio.ensure_future(self._connect(target, lmtp))] = target
        races = waiting and waiting[0].preference == self._preference(attempts)
        return HEAD_START if races else None

    @staticmethod
    def _preference(attempts: _Attempts) -> int:
        return next(iter(attempts.values())).preference

    async def again(self, target: Target, lmtp: bool) -> SmtpStream:
        """Return one more connection to a target; raises ConnectError."""
        try:
            return await self._connect(target, lmtp)
        except ConnectError as error:
            self._log.info(error.result.reason)
            raise

    async def _connect(self, target: Target, lmtp: bool) -> SmtpStream:
        place = target.host, target.address, target.port
        source = "" if lmtp else self._sources[":" in target.address]
        try:
            return self._listened_to(await connect(*place, self._timeout, lmtp, source))
        except SourceError as error:
            if self._enforces_source:
                raise
            self._log.warning(f"smtp_bind_address{'6' if ':' in source else ''}: {error.result.reason}")
            return self._listened_to(await connect(*place, self._timeout, lmtp))

    def _listened_to(self, stream: SmtpStream) -> SmtpStream:
        """Keep what is said on a connection, where the postmaster wants to hear of protocol errors."""
        if self._told_of:
            stream.machine.transcript = Transcript(self._told_of)
            stream.ended = self._ended
        return stream

    def _ended(self, stream: SmtpStream) -> None:
        transcript = stream.machine.transcript
        notice = transcript.notice(f"{self._name} SMTP client: errors from {stream.relay}") if transcript else None
        if notice and self._rate.has_room(notice.name, time.time()):  # qmgr counts for all agents
            self._notify(notice)

    def _avoid(self, target: Target) -> None:
        self._silent.pop(target, None)
        self._silent[target] = time.monotonic() + _AVOID_SECONDS
        while len(self._silent) > _AVOID_LIMIT:
            del self._silent[next(iter(self._silent))]


def _abort(attempt: "asyncio.Task[SmtpStream]") -> None:
    """Close a connection that came about after another one."""
    if not attempt.cancelled() and not attempt.exception():
        attempt.result().abort()
