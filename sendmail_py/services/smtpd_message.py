"""Messages that come by SMTP: their content while it comes in, and the way into the queue.

Guarantees: "taken" is said when the queue file and its name are on disk, and qmgr hears of it then.
What is refused leaves nothing. A message in memory has at most _IN_MEMORY octets, a larger one goes
to a file without a name, and what has to wait for the disk runs in threads.
"""

import contextlib
import errno
import os
from collections.abc import Callable

from ..core.config import Config
from ..core.envelope import Envelope
from ..core.errors import MailError
from ..formats.submission_header import PreparedHeader
from ..host.syslog import Log
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..spool import atomic
from ..spool.layout import HOLD, INCOMING, TMP
from ..spool.maildrop import check_space
from ..spool.store import Store
from .intake import Intake, Refusal
from .pool import Pool
from .qmgr_line import QmgrLine

_IN_MEMORY = 1 << 16
_THREADS = 12
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TROUBLE = replies.reply(451, "4.3.0", "Error: queue file write error")
NO_ROOM = replies.reply(452, "4.3.1", "Insufficient system storage")


def trouble(error: OSError) -> Reply:
    """Return the answer where the disk fails: worth another attempt."""
    return NO_ROOM if error.errno in _NO_ROOM else TROUBLE


class Incoming:
    """The content of one message while it comes in."""

    __slots__ = ("_descriptor", "_limit", "_new_file", "_pieces", "has_bare_newline", "last", "size", "trouble")

    def __init__(self, new_file: Callable[[], int], limit: int) -> None:
        self._new_file = new_file
        self._limit = limit
        self._pieces: list[bytes] = []
        self._descriptor = -1
        self.size = 0
        self.last = b""
        self.has_bare_newline = False
        self.trouble: Reply | None = None

    def write(self, data: bytes) -> None:
        """Take a block; after trouble the rest passes by unwritten."""
        self.size += len(data)
        lone_start = data[:1] == b"\n" and self.last != b"\r"
        if lone_start or data.count(b"\n") - (data[:1] == b"\n") != data.count(b"\r\n"):
            self.has_bare_newline = True
        self.last = data[-1:]
        if self.trouble:
            return
        if self._limit and self.size > self._limit:
            self._fail(replies.TOO_LARGE)
            return
        self._pieces.append(data)
        if self._descriptor >= 0 or self.size > _IN_MEMORY:
            try:
                self._to_file(self._new_file)
            except OSError as error:
                self._fail(trouble(error))

    def _to_file(self, new_file: Callable[[], int]) -> None:
        if self._descriptor < 0:
            self._descriptor = new_file()
        pieces, self._pieces = self._pieces, []
        atomic.write_all(self._descriptor, pieces)

    def _fail(self, answer: Reply) -> None:
        self.trouble = answer
        self.close()

    def descriptor(self) -> int:
        """Return a file that holds the whole content; raises OSError."""
        if self._descriptor < 0:
            self._to_file(lambda: os.memfd_create("content"))
        return self._descriptor

    def close(self) -> None:
        """Forget the content."""
        self._pieces.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class Taker:
    """Puts messages into the queue, and tells qmgr. collect() is due when the pool's descriptor is readable."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._store = Store(config.queue_directory)
        self._intake = Intake(config, self._store, log.warning)
        self._qmgr = QmgrLine(f"{config.run_directory}/public", log)
        self._untold: list[str] = []
        self._telling = False
        self.pool = Pool(_THREADS)

    def new_content(self) -> Incoming:
        """Return a place for the content of a message."""
        return Incoming(self._store.nameless, self._config.message_size_limit)

    def no_room(self) -> Reply | None:
        """Return the answer where there is too little room for a message."""
        try:
            check_space(self._config.queue_directory, self._config.message_size_limit, self._config.queue_minfree)
        except MailError as error:
            self._log.warning(str(error))
            return NO_ROOM
        return None

    def take(self, envelope: Envelope, content: Incoming, answer: Callable[[Reply], None]) -> None:
        """Put a message into the queue; answer() is called in the loop when it is there, or is not taken."""
        self.pool.submit(lambda: self._stored(envelope, content), lambda reply: self._done(envelope, reply, answer))

    def _done(self, envelope: Envelope, reply: Reply, answer: Callable[[Reply], None]) -> None:
        if reply.code < 400:
            self._untold.append(envelope.queue_id)
            self._tell()
        answer(reply)

    def _stored(self, envelope: Envelope, content: Incoming) -> Reply:
        """Write the message durably; in a thread. The log says whose it is before anybody can deliver it."""
        try:
            envelope.size = content.size
            envelope.queue_id = self._store.reserve(envelope.arrived_at)
            prepared = self._intake.submitted(envelope, content.descriptor(), 0, durable=True)
        except Refusal as refusal:
            self._discard(envelope)
            self._log.lines(list(refusal.notes))
            status, _, text = str(refusal).partition(" ")
            if refusal.notes:  # the words of header_checks and body_checks
                return replies.reply(450 if status[0] == "4" else 550, status, text)
            return replies.reply(554, status, f"Error: {text}")
        except OSError as error:
            self._discard(envelope)
            self._log.error(f"{envelope.queue_id or 'NOQUEUE'}: not taken from {envelope.client}: {error}")
            return trouble(error)
        except Exception as error:  # a defect must not end all other sessions
            self._discard(envelope)
            self._log.error(f"{envelope.queue_id or 'NOQUEUE'}: not taken: {type(error).__name__}: {error}")
            return TROUBLE
        finally:
            content.close()
        self._log.lines(_log_lines(envelope, prepared))
        return replies.reply(250, "2.0.0", f"Ok: queued as {envelope.queue_id}")

    def _discard(self, envelope: Envelope) -> None:
        """Remove what is there, perhaps without being durable: it was not accepted."""
        for state in (TMP, INCOMING, HOLD) if envelope.queue_id else ():
            with contextlib.suppress(OSError):
                self._store.remove(state, envelope.queue_id)

    def _tell(self) -> None:
        """Tell qmgr in a thread, for it may be slow; what comes meanwhile is told together."""
        if self._telling or not self._untold:
            return
        self._telling = True
        self._qmgr.ids, self._untold = self._untold, []
        self.pool.submit(self._qmgr.tell, self._told)

    def _told(self, _: None) -> None:
        self._telling = False
        self._tell()

    def is_busy(self) -> bool:
        """Say whether something is still on its way."""
        return self.pool.running > 0


def _log_lines(e: Envelope, prepared: PreparedHeader) -> list[str]:
    lines = [f"{e.queue_id}: client={e.client}"]
    if prepared.message_id:
        lines.append(f"{e.queue_id}: message-id={prepared.message_id}")
    return [*lines, *prepared.notes]
