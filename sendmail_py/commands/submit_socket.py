"""Handing a message to pickup over the submit socket, where the caller cannot write into maildrop/.

A hardened unit sees /var read-only, a container may see no more of us than the socket. Exit 0
still means that the message is on disk: pickup fsyncs before it says so. When the services do not
run, or end before they answer, it is 75, and both reasons are named; after a message that was
whole by then, a second attempt may deliver it twice, and no attempt loses it.
"""

import socket
import time

from ..core.errors import MailError, MessageError, NotAllowed, SpoolError
from ..core.exitcodes import EX_DATAERR, EX_OK, EX_UNAVAILABLE
from ..formats.submit_records import data_records, end_record
from ..host.configuration import lenient, load
from ..host.sockets import connect, receive_record
from ..spool.maildrop import Drop

_ANSWER_SECONDS = 300.0
_BUSY_SECONDS = 30.0
_PAUSE = 0.2
_LAST_WORDS = 2


class SocketDrop(Drop):
    """A message being handed over: used like a file in maildrop/."""

    def __init__(self, directory: str, why: SpoolError) -> None:
        config, _ = load(directory)
        self.name = self.path = self.queue_id = ""
        self._why = why
        self._socket = f"{lenient(config, 'run_directory')}/submit"
        self._sent = 0
        until = time.monotonic() + _BUSY_SECONDS
        while not self._begin(may_wait=time.monotonic() < until):
            time.sleep(_PAUSE)

    def _begin(self, may_wait: bool) -> bool:
        """Connect and hear whether to go on; False when the service is busy just now."""
        try:
            self._end = connect(self._socket, _ANSWER_SECONDS)
        except BlockingIOError as error:  # its backlog is full
            if may_wait:
                return False
            raise self._failed(error) from error
        except OSError as error:
            raise self._failed(error) from error
        answer = self._heard()
        if answer.get("busy") and may_wait:
            self.abandon()
            return False
        self._obey(answer)
        return True

    def write(self, data: bytes) -> None:
        """Send octets."""
        for record in data_records(data):
            self._send(record)
        self._sent += len(data)

    def rewrite(self, offset: int, data: bytes) -> None:
        """Do nothing: the size is all that is ever rewritten, and pickup counts the octets itself."""

    def finish(self) -> None:
        """Say that this is all, and wait until it is safe."""
        self._send(end_record(self._sent))
        answer = self._heard()
        self._obey(answer)
        self.queue_id = str(answer.get("id", ""))
        self._end.close()

    def announce(self) -> None:
        """Do nothing: pickup knows."""

    def abandon(self) -> None:
        """Hang up: pickup forgets what it has."""
        self._end.close()

    def _send(self, record: bytes) -> None:
        try:
            self._end.sendall(record)
        except (BrokenPipeError, ConnectionResetError):
            self._obey(self._heard())  # it has said why
            raise self._failed("the service hung up") from None
        except OSError as error:
            self.abandon()
            raise self._failed(error) from error

    def _heard(self) -> "dict[str, object]":
        """Return the next answer."""
        for _ in range(_LAST_WORDS):
            try:
                received = receive_record(self._end)
            except ConnectionResetError:
                continue  # it had left octets of ours unread; what it said comes after this error
            except (OSError, ValueError) as error:
                self.abandon()
                raise self._failed(error) from error
            if received is not None and isinstance(received[0], dict):
                return received[0]
        self.abandon()
        raise self._failed(
            "the service ended before it answered; the message may have been taken" if self._sent else ""
        )

    def _obey(self, answer: "dict[str, object]") -> None:
        """Raise what a refusal asks for."""
        code, text = answer.get("code"), str(answer.get("text", ""))
        if code == EX_OK:
            return
        self.abandon()
        kinds: dict[object, type[MailError]] = {EX_DATAERR: MessageError, EX_UNAVAILABLE: NotAllowed}
        raise kinds.get(code, SpoolError)(text)

    def _failed(self, error: "OSError | ValueError | str") -> SpoolError:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error) or "no answer"
        if isinstance(error, socket.timeout):
            reason = "no answer in time"
        return SpoolError(f"{self._why}, and the services do not take it either ({self._socket}: {reason})")
