"""The public socket of qmgr: mailq for who may see the queue, queue verbs for root and the queue's owner.

One request a connection, as a record, but for what pickup tells; who asks is the kernel's word.
A long answer is sent in pieces, when the asker can take them, so that a listing never holds up
deliveries. An answer that is only there later leaves its connection at rest until then.
"""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from ..host.sockets import receive_record, send_record
from .permissions import Permissions
from .waiting import Later

_WITHOUT_ANSWER = ("incoming",)  # pickup keeps its connection
OPEN_TO_ALL = ("wait",)  # the other verbs are root's, or go by lists of users

Answer = Iterator[dict[str, Any]]
Handler = Callable[[dict[str, Any]], Answer | Later]


class Refused(Exception):
    """A request that is not granted, with the reason."""


class Asker:
    """One connection: first its request, then the rest of its answer. rests is for who counts them."""

    def __init__(self, end: socket.socket, uid: int, handlers: dict[str, Handler], permissions: Permissions) -> None:
        end.setblocking(False)
        self.end = end
        self.uid = uid
        self._handlers = handlers
        self._permissions = permissions
        self._answer: Answer | None = None
        self._unsent: dict[str, Any] | None = None
        self.later: Later | None = None
        self.rests = False

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.end.fileno()

    @property
    def is_answering(self) -> bool:
        """True when the connection waits to be written."""
        return self._answer is not None

    def serve(self) -> bool:
        """Read the request or send a piece of the answer; False when the connection is over."""
        try:
            if self.later is not None:
                return self._rest(self.later)
            if self._answer is None:
                received = receive_record(self.end)
                if received is None:
                    return False
                for descriptor in received[1]:
                    os.close(descriptor)
                answer = self._handle(received[0])
                if received[0]["verb"] in _WITHOUT_ANSWER:
                    return True
                if isinstance(answer, Later):
                    self.later = answer
                    return True
                self._answer = answer
            return self._send()
        except BlockingIOError:
            return True
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def close(self) -> None:
        """End the connection."""
        self.end.close()
        if self.later is not None:
            self.later.over()

    def _rest(self, later: Later) -> bool:
        """Answer when it is time to; who says something before that, or leaves, is let go."""
        if later.open:
            return False
        self.later = None
        later.over()
        self._answer = later.answer
        return self._send()

    def _handle(self, request: dict[str, Any]) -> Answer | Later:
        verb = request["verb"]
        handler = self._handlers.get(verb)
        if handler is None:
            return iter([{"error": f"unknown request {verb}"}])
        refusal = self._permissions.refusal(verb, self.uid)
        if refusal:
            return iter([refusal])
        try:
            return handler(request)
        except Refused as error:
            return iter([{"error": str(error)}])
        except OSError as error:
            return iter([{"error": f"{error.filename or 'the queue'}: {error.strerror or error}"}])

    def _send(self) -> bool:
        assert self._answer is not None
        if self._unsent is None:
            self._unsent = self._next(self._answer)
        if self._unsent is None:
            send_record(self.end, {"end": True})
            return False
        send_record(self.end, self._unsent)
        self._unsent = None
        return True

    def _next(self, answer: Answer) -> dict[str, Any] | None:
        """Return the next record; a queue that cannot be read is the last one, never an answer cut short."""
        try:
            return next(answer, None)
        except OSError as error:
            self._answer = iter(())
            return {"error": f"{error.filename or 'the queue'}: {error.strerror or error}"}
