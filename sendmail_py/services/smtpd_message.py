"""Messages that come by SMTP: the way into the queue, when their content is there.

Guarantees: "taken" is said when the queue file and its name are on disk, and qmgr hears of it then.
What is refused leaves nothing. What has to wait for the disk runs in threads, unless nobody else waits.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..core.config import Config
from ..core.envelope import Envelope
from ..core.errors import MailError
from ..formats.checks import Checked
from ..formats.submission_header import PreparedHeader
from ..host.syslog import Log
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..spool.draft import Draft
from ..spool.flow import is_slow
from ..spool.maildrop import check_space
from ..spool.store import Store
from .intake import Intake, Ready, Refusal
from .milter_message import ContentError, FilteredMessage
from .pool import Pool
from .qmgr_line import QmgrLine
from .smtpd_content import NO_ROOM, TROUBLE, Incoming, trouble
from .smtpd_milters import SessionFilters

_T = TypeVar("_T")
_THREADS = 12
_QUICK = 0.1  # seconds: what a message may take while all other clients wait
_SMALL = 1 << 18  # octets: a header of so many, all of short fields, is read in that time
_AGAIN = 0.05
_KEPT = 0.1  # seconds for which a look at the disk counts, if it found nothing against mail: many come in that time


@dataclass(slots=True)
class Arriving:
    """A message whose content has come. log and note, which follows the client there, are those of its session.

    pause is how long it waits, in seconds, while mail is to come in slowly. is_held says that it lies in hold/ now,
    lines are what the log has to say of it.
    """

    envelope: Envelope
    content: Incoming
    wishes: Checked
    log: Log
    note: str = ""
    is_logged: bool = False  # that it was refused
    draft: Draft | None = None
    pause: float = 0.0
    is_held: bool = False
    lines: Sequence[str] = ()

    def discard(self) -> None:
        """Leave nothing of it in the queue."""
        if self.draft:
            self.draft.discard()


class Taker:
    """Puts messages into the queue, and tells qmgr. collect() is due when the pool's descriptor is readable."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._store = Store(config.queue_directory)
        self._intake = Intake(config, self._store, log.warning)
        self._qmgr = QmgrLine(f"{config.run_directory}/public", log, timeout=0)
        self._is_to_tell_later = False
        self._seconds = 0.0  # that the last message took
        self._has_room_until = self._at_once_until = 0.0  # so long that is not looked at again
        self.begun = 0  # transactions whose content has not come
        self._ended: list[tuple[Arriving, Callable[[Reply], None], Reply]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.pool = Pool(_THREADS)

    def new_content(self) -> Incoming:
        """Return a place for the content of a message."""
        return Incoming(self._store.nameless, self._config.message_size_limit)

    def no_room(self) -> Reply | None:
        """Return the answer where there is too little room for a message."""
        now = time.monotonic()
        if now < self._has_room_until:
            return None
        try:
            check_space(self._config.queue_directory, self._config.message_size_limit, self._config.queue_minfree)
        except MailError as error:
            self._log.warning(str(error))
            return NO_ROOM
        self._has_room_until = now + _KEPT
        return None

    def _is_slow(self) -> bool:
        """Say whether qmgr wants mail to come in slowly."""
        now = time.monotonic()
        if self._config.in_flow_delay and now >= self._at_once_until:
            if is_slow(self._config.queue_directory):
                return True
            self._at_once_until = now + _KEPT
        return False

    def take(self, arriving: Arriving, filters: SessionFilters | None, answer: Callable[[Reply], None]) -> None:
        """Put a message into the queue; answer() is called in the loop when it is there, or is not taken.

        The disk is waited for in a thread; or at once, where no other message is on its way: then a thread
        would only cost time. A disk that was slow the last time, and a long message, is left to a thread.
        """
        if self._is_slow():
            arriving.pause = self._config.in_flow_delay
        if filters is not None:
            self._filter(arriving, filters, answer)
        elif self._is_for_a_thread(arriving):
            self.pool.submit(partial(self._stored, arriving), partial(self._note_end, arriving, answer))
        else:
            self._note_end(arriving, answer, self._stored(arriving))
            self._finish()

    def _is_for_a_thread(self, arriving: Arriving) -> bool:
        others = self.begun or self.pool.running
        return bool(others or arriving.pause or arriving.content.size > _SMALL or self._seconds > _QUICK)

    def collect(self) -> None:
        """Give the answers that the threads have found."""
        self.pool.collect()
        self._finish()

    def _note_end(self, arriving: Arriving, answer: Callable[[Reply], None], reply: Reply) -> None:
        self._ended.append((arriving, answer, reply))

    def _finish(self) -> None:
        """Log the messages that are taken, answer their clients, and tell qmgr of all of them together.

        The log says whose a message is before anybody is told to deliver it.
        """
        ended, self._ended = self._ended, []
        by_log: dict[Log, list[Sequence[str]]] = {}
        for arriving, _, _ in ended:
            by_log.setdefault(arriving.log, []).append(arriving.lines)
        for log, groups in by_log.items():
            _write_lines(log, groups)
        for arriving, answer, reply in ended:
            if reply.code < 400 and not arriving.is_held:
                self._qmgr.ids.append(arriving.envelope.queue_id)
            try:
                answer(reply)
            except Exception as error:  # a defect must not keep the answer from all other clients
                self._log.error(f"{arriving.envelope.queue_id}: not answered: {type(error).__name__}: {error}")
        self._tell()

    def _stored(self, arriving: Arriving) -> Reply:
        """Write the message durably."""
        started = time.monotonic() + arriving.pause
        try:
            return self._tried(arriving, lambda: self._committed(arriving, self._prepared(arriving)))
        finally:
            arriving.content.close()
            self._seconds = time.monotonic() - started

    def _prepared(self, arriving: Arriving) -> Ready:
        """Make the message ready for the queue, where it has its file already."""
        if arriving.pause:
            time.sleep(arriving.pause)
        envelope, content = arriving.envelope, arriving.content
        envelope.size = content.size
        arriving.draft = Draft(self._store, envelope.arrived_at)
        envelope.queue_id = arriving.draft.queue_id
        return self._intake.prepared(envelope, content.whole(), 0, arriving.wishes)

    def _committed(self, arriving: Arriving, ready: Ready) -> Reply:
        """Write the message durably."""
        self._intake.commit(ready, draft=arriving.draft)
        arriving.is_held = ready.checked.held and not arriving.envelope.refused
        with contextlib.suppress(Exception):  # the message is taken now, whatever becomes of the lines about it
            arriving.lines = _log_lines(arriving.envelope, ready.header, arriving.note)
        return replies.reply(250, "2.0.0", f"Ok: queued as {arriving.envelope.queue_id}")

    def _tried(self, arriving: Arriving, work: Callable[[], _T]) -> _T | Reply:
        """Do a part of the work; what goes wrong leaves nothing, and is an answer."""
        envelope, log = arriving.envelope, arriving.log
        try:
            return work()
        except Refusal as refusal:
            arriving.discard()
            log.lines(list(refusal.notes))
            arriving.is_logged = any(": reject: " in note for note in refusal.notes)
            status, _, text = str(refusal).partition(" ")
            if refusal.notes:  # the words of header_checks and body_checks
                return replies.reply(450 if status[0] == "4" else 550, status, text)
            return replies.reply(554, status, f"Error: {text}")
        except OSError as error:
            arriving.discard()
            log.error(f"{envelope.queue_id or 'NOQUEUE'}: not taken from {envelope.client}: {error}")
            return trouble(error)
        except Exception as error:  # a defect must not end all other sessions
            arriving.discard()
            log.error(f"{envelope.queue_id or 'NOQUEUE'}: not taken: {type(error).__name__}: {error}")
            return TROUBLE

    # --- with filters -------------------------------------------------------------------------

    def _filter(self, arriving: Arriving, filters: SessionFilters, answer: Callable[[Reply], None]) -> None:
        """Have filters look at a message between the two halves of the work; its client may go meanwhile."""

        async def work() -> None:
            try:
                reply = await self._filtered(arriving, filters)
            except Exception as error:  # a defect must not end all other sessions
                arriving.log.error(f"{arriving.envelope.queue_id}: not taken: {type(error).__name__}: {error}")
                arriving.discard()
                reply = TROUBLE
            finally:
                arriving.content.close()
                filters.release()
            self._note_end(arriving, answer, reply)
            self._finish()

        filters.reserve()
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prepared_for_filters(self, arriving: Arriving) -> FilteredMessage:
        return FilteredMessage(self._prepared(arriving), self._store.nameless, self._config.message_size_limit)

    async def _filtered(self, arriving: Arriving, filters: SessionFilters) -> Reply:
        message = await self._in_thread(lambda: self._tried(arriving, lambda: self._prepared_for_filters(arriving)))
        if isinstance(message, Reply):
            return message
        ready = message.ready

        def commit() -> Reply:
            message.finish(self._intake)
            return self._committed(arriving, ready)

        try:
            if not ready.envelope.refused and (refusal := await filters.message(message)):
                arriving.discard()
                return refusal
            return await self._in_thread(lambda: self._tried(arriving, commit))
        except ContentError as error:
            arriving.discard()
            return trouble(error.error)
        finally:
            message.close()

    async def _in_thread(self, job: Callable[[], _T]) -> _T:
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self.pool.submit(job, done.set_result)
        return await done

    def _tell(self) -> None:
        """Tell qmgr, or tell it later when it does not listen at once."""
        if self._qmgr.ids and not self._is_to_tell_later:
            self._qmgr.tell()
            if self._qmgr.ids:
                self._is_to_tell_later = True
                asyncio.get_running_loop().call_later(_AGAIN, self._tell_again)

    def _tell_again(self) -> None:
        self._is_to_tell_later = False
        self._tell()

    def is_busy(self) -> bool:
        """Say whether something is still on its way."""
        return self.pool.running > 0 or bool(self._tasks) or bool(self._qmgr.ids)


def _write_lines(log: Log, groups: Sequence[Sequence[str]]) -> None:
    """Write the lines of messages by one call; where these cannot be written, each message's that can."""
    try:
        log.lines([line for lines in groups for line in lines])
    except Exception:  # the messages are taken now, whatever becomes of the lines about them
        for lines in groups:
            with contextlib.suppress(Exception):
                log.lines(list(lines))


def _log_lines(e: Envelope, prepared: PreparedHeader, note: str) -> list[str]:
    lines = [f"{e.queue_id}: client={e.client}{note}"]
    if prepared.message_id:
        lines.append(f"{e.queue_id}: message-id={prepared.message_id}")
    return [*lines, *prepared.notes]
