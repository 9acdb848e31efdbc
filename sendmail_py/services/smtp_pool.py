"""Idle sessions, kept a moment for the next message to the same nexthop."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..delivery.smtp_session import SmtpSession


class SessionPool:
    """Sessions by nexthop, the one used last first; keep_seconds is how long one may idle."""

    def __init__(self, keep_seconds: float, reuse_limit: int) -> None:
        self._keep_seconds = keep_seconds
        self._reuse_limit = reuse_limit
        self._idle: dict[str, list[tuple[SmtpSession, asyncio.TimerHandle]]] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()

    def worn_out(self, session: SmtpSession) -> bool:
        """Say whether a session has carried as many messages as it may."""
        return 0 < self._reuse_limit <= session.count

    def take(self, nexthop: str) -> SmtpSession | None:
        """Return an idle session that still stands."""
        sessions = self._idle.get(nexthop, [])
        while sessions:
            session, timer = sessions.pop()
            timer.cancel()
            if session.stream.is_idle:
                return session
            session.stream.abort()
        self._idle.pop(nexthop, None)
        return None

    def give_back(self, nexthop: str, session: SmtpSession) -> None:
        """Keep a session, or end it when it cannot or may not be used again."""
        if not session.stream.is_idle or self.worn_out(session) or not self._keep_seconds:
            self.end(session)
            return
        timer = asyncio.get_running_loop().call_later(self._keep_seconds, self._expire, nexthop, session)
        self._idle.setdefault(nexthop, []).append((session, timer))

    def end(self, session: SmtpSession) -> None:
        """Say goodbye without making anybody wait for it."""
        self._in_background(session.quit())

    async def close(self) -> None:
        """End every idle session and wait for the goodbyes (bounded by smtp_quit_timeout)."""
        for sessions in self._idle.values():
            for session, timer in sessions:
                timer.cancel()
                self.end(session)
        self._idle.clear()
        if self._goodbyes:
            await asyncio.wait(self._goodbyes)

    def _expire(self, nexthop: str, session: SmtpSession) -> None:
        left = [pair for pair in self._idle.get(nexthop, []) if pair[0] is not session]
        if left:
            self._idle[nexthop] = left
        else:
            self._idle.pop(nexthop, None)
        self.end(session)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)
