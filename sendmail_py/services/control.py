"""The control socket of master: status for everybody, stop and reload for root and the owner.

One request a connection, as a record; who asks is the kernel's word. A connection that says
nothing holds up nobody.
"""

import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from ..host.sockets import listen, may_steer, peer_uid, receive_record, send_record

_CONNECTIONS = 50


class Control:
    """The socket and those who ask on it. stop() and reload() are master's; reload says what was wrong."""

    def __init__(
        self,
        path: str,
        selector: selectors.BaseSelector,
        status: Callable[[], dict[str, Any]],
        stop: Callable[[], None],
        reload: Callable[[], str],
    ) -> None:
        self._selector = selector
        self._status = status
        self._stop = stop
        self._reload = reload
        self._asking = 0
        self._waiting_for_stop: list[socket.socket] = []
        self._listener = listen(path, 0o666)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Let those go who wait for the stop, which is now complete."""
        for end in (*self._waiting_for_stop, self._listener):
            end.close()

    def _accept(self) -> None:
        try:
            end = self._listener.accept()[0]
        except OSError:
            return
        if self._asking >= _CONNECTIONS and not may_steer(peer_uid(end)):
            end.close()
            return
        end.setblocking(False)
        self._asking += 1
        self._selector.register(end, selectors.EVENT_READ, lambda: self._serve(end))

    def _serve(self, end: socket.socket) -> None:
        self._selector.unregister(end)
        self._asking -= 1
        keep = False
        try:
            received = receive_record(end)
            if received is not None:
                for descriptor in received[1]:
                    os.close(descriptor)
                answer = self._answer(str(received[0]["verb"]), peer_uid(end))
                keep = "stopping" in answer
                send_record(end, answer)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if keep:
            self._waiting_for_stop.append(end)
        else:
            end.close()

    def _answer(self, verb: str, uid: int) -> dict[str, Any]:
        if verb == "status":
            return self._status()
        if not may_steer(uid):
            return {"error": f"{verb}: permission denied", "denied": True}
        if verb == "reload":
            error = self._reload()
            return {"error": error} if error else {"ok": True}
        if verb == "stop":
            self._stop()
            return {"stopping": True}
        return {"error": f"unknown request {verb}"}
