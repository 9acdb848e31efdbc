"""Idle sessions, kept a moment for the next message to the same nexthop, or to another with the same host.

A session is found under the nexthop that it was made for, without a look-up, and under its place: the
address with all that a session there has to have. Destinations that share a mail exchanger share sessions so.
"""

import asyncio
import time
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..core.access_list import is_allowed
from ..core.config import Config
from ..delivery.smtp_session import SmtpSession
from ..host.configuration_file import read_text
from ..host.syslog import Log

_Key = TypeVar("_Key")


@dataclass(slots=True, eq=False)
class _Idle:
    session: SmtpSession
    nexthop: str
    timer: asyncio.TimerHandle | None = None


class SessionPool:
    """The idle sessions of one agent, those used last first."""

    def __init__(self, config: Config, log: Log) -> None:
        self._keep_seconds: float = config.smtp_connection_cache_time_limit
        self._reuse_seconds: float = config.smtp_connection_reuse_time_limit
        self._reuse_limit: int = config.smtp_connection_reuse_count_limit
        self._keeps_all: bool = config.smtp_connection_cache_on_demand
        self._keeps: list[str] = config.smtp_connection_cache_destinations
        self._log = log
        self._by_nexthop: dict[str, list[_Idle]] = {}
        self._by_place: dict[Hashable, list[_Idle]] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()

    def worn_out(self, session: SmtpSession) -> bool:
        """Say whether a session has carried as many messages as it may, or for as long."""
        if 0 < self._reuse_limit <= session.count:
            return True
        return 0 < self._reuse_seconds <= time.monotonic() - session.since

    def take(self, nexthop: str) -> SmtpSession | None:
        """Return an idle session made for a nexthop that still stands."""
        return self._take(self._by_nexthop.get(nexthop, []))

    def take_at(self, place: Hashable) -> SmtpSession | None:
        """Return an idle session with a place that still stands."""
        return self._take(self._by_place.get(place, []))

    def has_at(self, place: Hashable) -> bool:
        """Say whether take_at() would return a session."""
        return any(idle.session.stream.is_idle for idle in self._by_place.get(place, []))

    def give_back(self, nexthop: str, session: SmtpSession, by_place_alone: bool = False) -> None:
        """Keep a session, or end it when it cannot or may not be used again."""
        if not session.stream.is_idle or self.worn_out(session) or not self._may_keep(nexthop):
            self.end(session)
            return
        idle = _Idle(session, nexthop)
        idle.timer = asyncio.get_running_loop().call_later(self._keep_seconds, self._expire, idle)
        if not by_place_alone:
            self._by_nexthop.setdefault(nexthop, []).append(idle)
        self._by_place.setdefault(session.place, []).append(idle)

    def end(self, session: SmtpSession) -> None:
        """Say goodbye without making anybody wait for it."""
        self._in_background(session.quit())

    async def close(self) -> None:
        """End every idle session and wait for the goodbyes (bounded by smtp_quit_timeout)."""
        for idle in [idle for sessions in self._by_place.values() for idle in sessions]:
            self._expire(idle)
        if self._goodbyes:
            await asyncio.wait(self._goodbyes)

    def _may_keep(self, nexthop: str) -> bool:
        if self._keeps_all or not self._keeps or not self._keep_seconds:
            return self._keeps_all and self._keep_seconds > 0
        try:
            return is_allowed(self._keeps, nexthop, read_text)
        except (OSError, ValueError) as error:
            self._log.warning(f"smtp_connection_cache_destinations: {error}")
            return False

    def _take(self, sessions: list[_Idle]) -> SmtpSession | None:
        while sessions:
            idle = sessions[-1]
            self._forget(idle)
            if idle.session.stream.is_idle:
                return idle.session
            idle.session.stream.abort()
        return None

    def _expire(self, idle: _Idle) -> None:
        self._forget(idle)
        self.end(idle.session)

    def _forget(self, idle: _Idle) -> None:
        if idle.timer:
            idle.timer.cancel()
        _remove(self._by_nexthop, idle.nexthop, idle)
        _remove(self._by_place, idle.session.place, idle)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)


def _remove(table: dict[_Key, list[_Idle]], key: _Key, idle: _Idle) -> None:
    sessions = table.get(key, [])
    if idle in sessions:
        sessions.remove(idle)
    if not sessions:
        table.pop(key, None)
