"""A listening socket that several processes share.

Each takes a few clients a turn of its loop, so that who is busy leaves the next ones to the others, and that a
turn which is long, for many are served in it, is not waited for by each who stands in the line; and
nothing that was accepted is lost when it leaves: a client is either in arrivals, or has its session.
"""

import asyncio
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

from ..protocol.proxy_header import Proxied
from .smtpd_session import Session

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

_PAUSE = 1.0
_AT_ONCE = 8


class Listener:
    """One socket; arrivals are the connections whose session has not begun yet."""

    def __init__(self, end: socket.socket, entrance: "Entrance") -> None:
        self._end = end
        self._entrance = entrance
        self._loop = asyncio.get_running_loop()
        self.arrivals: set[asyncio.Task[None]] = set()
        self._is_open = True
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._accept)

    def close(self) -> None:
        """Take no more clients; those in arrivals still come in."""
        self._is_open = False
        self._loop.remove_reader(self._end.fileno())
        self._end.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                end, peer = self._end.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # no more, another process was faster, or the client has gone
            except OSError as error:
                self._entrance.log.error(f"no client can be taken for a while: {error.strerror}")
                self._loop.remove_reader(self._end.fileno())
                self._loop.call_later(_PAUSE, self._resume)
                return
            self._take(end, peer)

    def _take(self, end: socket.socket, peer: Any) -> None:
        end.setblocking(False)
        if admission := self._admission(end, str(peer[0])):
            task = self._loop.create_task(admission)
            self.arrivals.add(task)
            task.add_done_callback(self.arrivals.discard)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._end.fileno(), self._accept)

    def _admission(self, end: socket.socket, peer: str) -> Coroutine[Any, Any, None] | None:
        """Return what lets a client in; None where it is not to come in, and its connection is closed."""
        return self._admit(end)

    async def _admit(self, end: socket.socket, proxied: Proxied | Literal[False] | None = False) -> None:
        """Begin the session."""
        try:
            await self._loop.connect_accepted_socket(lambda: Session(self._entrance, proxied), end)
        except OSError:
            end.close()  # it has gone already
