"""pickup's connection to qmgr: the ids of what has come in, told in batches.

When qmgr is down nothing is lost: it finds the files when it starts.
"""

import socket

from ..host.sockets import connect, send_record
from ..host.syslog import Log

_BATCH = 50
_MOST = 1000  # in one record


class QmgrLine:
    """The ids that qmgr has not been told yet, and the connection, which is kept."""

    def __init__(self, path: str, log: Log, timeout: float = 5) -> None:
        self._path = path
        self._log = log
        self._timeout = timeout
        self._end: socket.socket | None = None
        self.ids: list[str] = []

    def add(self, queue_id: str) -> None:
        """Take an id; a full batch is told at once."""
        self.ids.append(queue_id)
        if len(self.ids) >= _BATCH:
            self.tell()

    def tell(self) -> None:
        """Tell qmgr what has come in. With a time-out of 0 ids are kept where it would have to be waited for."""
        while self.ids:
            ids = self.ids[:_MOST]
            try:
                try:
                    self._send(ids)
                except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
                    self._send(ids)  # it was started again
            except BlockingIOError:
                return
            except OSError as error:
                self._log.warning(f"qmgr cannot be told of new mail now: {error}")
            del self.ids[: len(ids)]

    def _send(self, ids: list[str]) -> None:
        if self._end is None:
            self._end = connect(self._path, timeout=self._timeout)
        try:
            send_record(self._end, {"verb": "incoming", "ids": ids})
        except BlockingIOError:
            raise
        except OSError:
            self._end.close()
            self._end = None
            raise
