"""The submit socket: mail of those who cannot write into maildrop/, taken by pickup.

Who submits is the kernel's word (SO_PEERCRED). The octets come in pieces into a file without a
name, and when the end has come they go through the same checks and the same intake as a file of
maildrop/. "Taken" is said when the message is on disk under its name. A crash before that leaves
nothing; one just after it leaves a message whose submitter was told to try again: then it comes
twice, and is never lost. Nothing here waits for a client: a record is read when it is there, what
has to be on disk goes through threads, and number, size and time of submissions are bounded.
"""

import contextlib
import os
import selectors
import socket
import time
from collections import Counter
from dataclasses import asdict
from typing import Protocol

from ..core.config import Config
from ..core.envelope import Envelope
from ..core.errors import MailError, too_large
from ..core.exitcodes import EX_DATAERR, EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE
from ..formats.queue_file import HEAD_LIMIT
from ..formats.submission_header import PreparedHeader
from ..formats.submit_records import DATA, RECORD_LIMIT, total_of
from ..host.sockets import peer, send_record
from ..host.syslog import Log
from ..host.users import UidCache, User
from ..spool import atomic
from ..spool.layout import HOLD, INCOMING, TMP
from ..spool.maildrop import check_space
from ..spool.queue_id import base_id
from ..spool.store import Store
from .admission import Admission, Answer
from .intake import Intake
from .pool import Pool
from .submitted import Junk, checked_envelope, claimed_envelope

_OF_A_USER = 10
_IN_ALL = 200
_IDLE_SECONDS = 300.0
_LONGEST_SECONDS = 3600.0
_ACCEPTED_A_TURN = 50
_SPACE_CHECKED_EVERY = 4 << 20
_THREADS = 2
_BUSY = Answer(EX_TEMPFAIL, "too many submissions at one time; try again", busy=True)

Done = tuple[Envelope, PreparedHeader | None, str]


class Submission:
    """One connection, and what has come over it so far."""

    def __init__(self, end: socket.socket, pid: int, uid: int) -> None:
        self.end = end
        self.pid = pid
        self.uid = uid
        self.began = self.heard = time.monotonic()
        self.descriptor = -1
        self.octets = 0
        self.is_storing = False

    def say(self, answer: Answer) -> bool:
        """Send an answer; False when the client is gone, or does not read."""
        try:
            send_record(self.end, asdict(answer))
        except OSError:
            return False
        return True

    def is_late(self, now: float) -> bool:
        """Say whether the client has taken too long."""
        return not self.is_storing and (now - self.heard > _IDLE_SECONDS or now - self.began > _LONGEST_SECONDS)

    def close(self) -> None:
        """Forget the connection and what came over it."""
        self.end.close()
        descriptor, self.descriptor = self.descriptor, -1
        atomic.let_go(descriptor)


class Owner(Protocol):
    """What the socket needs of pickup: the queue, the rules, and whom to tell."""

    config: Config
    log: Log
    store: Store
    users: UidCache
    intake: Intake
    admission: Admission
    overflow_uid: int

    def taken(self, envelope: Envelope, prepared: PreparedHeader) -> None:
        """Take note of a message that is in the queue now."""


class SubmitServer:
    """All connections. Register the listener with `accept`; call `sweep` now and then."""

    def __init__(self, pickup: Owner, selector: selectors.BaseSelector) -> None:
        self.pickup = pickup
        self.config = pickup.config
        self.log = pickup.log
        self.top = pickup.config.queue_directory
        self.selector = selector
        self.open: set[Submission] = set()
        self.of_user: Counter[int] = Counter()
        self._pool: Pool | None = None

    # --- a connection begins ------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take up the connections that wait."""
        for _ in range(_ACCEPTED_A_TURN):
            try:
                end = listener.accept()[0]
            except OSError:
                return
            end.setblocking(False)
            self._begin(Submission(end, *peer(end)))

    def _begin(self, submission: Submission) -> None:
        """Tell the client to go on, or why not."""
        refusal = self._refusal(submission.uid)
        if refusal is None:
            try:
                submission.descriptor = self.pickup.store.nameless()
            except OSError as error:
                refusal = Answer(EX_TEMPFAIL, f"queue {self.top}: {error.strerror}")
        if not submission.say(refusal or Answer(EX_OK)) or refusal:
            submission.close()
            return
        self.open.add(submission)
        self.of_user[submission.uid] += 1
        self.selector.register(submission.end, selectors.EVENT_READ, lambda: self._heard(submission))

    def _refusal(self, uid: int) -> Answer | None:
        if len(self.open) >= _IN_ALL or self.of_user[uid] >= _OF_A_USER:
            return _BUSY
        if uid == self.pickup.overflow_uid:
            return Answer(EX_UNAVAILABLE, f"the caller has no uid here (overflow uid {uid})")
        try:
            check_space(self.top, self.config.message_size_limit, self.config.queue_minfree)
            return self.pickup.admission.refusal(uid)
        except MailError as error:
            return Answer(error.exit_code, str(error))
        except OSError as error:
            return Answer(EX_TEMPFAIL, f"authorized_submit_users cannot be checked now: {error}")

    # --- what comes ---------------------------------------------------------------------------

    def _heard(self, submission: Submission) -> None:
        try:
            record, _, flags, _ = submission.end.recvmsg(RECORD_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            record, flags = b"", 0
        submission.heard = time.monotonic()
        if not record or flags & socket.MSG_TRUNC:
            self._end(submission)  # the client ended before its message did: nothing is taken
            return
        try:
            if record[:1] == DATA:
                self._append(submission, record[1:])
            else:
                self._finish(submission, total_of(record))
        except (MailError, Junk, ValueError, OSError) as error:
            self._end(submission, self._answer_to(error))

    def _append(self, submission: Submission, data: bytes) -> None:
        limit = self.config.message_size_limit
        before, submission.octets = submission.octets, submission.octets + len(data)
        if limit and submission.octets > limit + HEAD_LIMIT:
            raise too_large(limit)
        if before // _SPACE_CHECKED_EVERY != submission.octets // _SPACE_CHECKED_EVERY:
            check_space(self.top, limit, self.config.queue_minfree)
        atomic.write_all(submission.descriptor, (data,))

    def _finish(self, submission: Submission, total: int) -> None:
        """Have the message, which is whole now, read and put into the queue by threads: it may be large."""
        if total != submission.octets:
            raise Junk(f"{total} octets were sent, {submission.octets} have come")
        user = self.pickup.users.find(submission.uid)
        submission.is_storing = True
        self.selector.unregister(submission.end)
        self._threads().submit(lambda: self._read(submission, user), lambda read: self._was_read(submission, read))

    def _read(self, submission: Submission, user: User | None) -> Envelope | Answer:
        """Read and check what was sent; in a thread."""
        try:
            claimed = claimed_envelope(submission.descriptor)
            claimed.size = submission.octets - claimed.content_offset
            claimed.submitter.pid = submission.pid
            limit = self.config.message_size_limit
            if limit and claimed.size > limit:
                raise too_large(limit)
            return checked_envelope(claimed, submission.uid, user, "", time.time_ns() // 1000)
        except Exception as error:
            return self._answer_to(error)

    def _was_read(self, submission: Submission, read: Envelope | Answer) -> None:
        if isinstance(read, Answer):
            self._end(submission, read)
            return
        answer = self._over_limit(submission.uid, len(read.recipients))
        try:
            if not answer:
                self._name(read)
        except OSError as error:
            answer = self._answer_to(error)
        if answer:
            self._end(submission, answer)
            return
        self._threads().submit(lambda: self._store(submission, read), lambda done: self._stored(submission, done))

    def _answer_to(self, error: Exception) -> Answer:
        """Return what a client is told of an error."""
        if isinstance(error, MailError):
            return Answer(error.exit_code, str(error))
        if isinstance(error, (Junk, ValueError)):
            return Answer(EX_DATAERR, f"not taken: {error}")
        fault = error.strerror or str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return Answer(EX_TEMPFAIL, f"queue {self.top}: {fault}")

    def _over_limit(self, uid: int, recipients: int) -> Answer | None:
        admission = self.pickup.admission
        if text := admission.too_many(uid, recipients):
            return Answer(EX_UNAVAILABLE, text)
        if not admission.has_room(uid, recipients):
            return Answer(EX_TEMPFAIL, admission.closed(uid))
        return None

    def _name(self, envelope: Envelope) -> None:
        """Give the message its id, which holds the inode of its queue file: so the empty file comes first."""
        path = f"{self.top}/{TMP}/submit.{os.getpid()}"
        descriptor = atomic.create(path)
        try:
            envelope.queue_id = base_id(envelope.arrived_at, os.fstat(descriptor).st_ino)
        finally:
            os.close(descriptor)
        os.rename(path, f"{self.top}/{TMP}/{envelope.queue_id}")

    # --- into the queue -----------------------------------------------------------------------

    def _threads(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(_THREADS)
            self.selector.register(self._pool.wake, selectors.EVENT_READ, self._pool.collect)
        return self._pool

    def _store(self, submission: Submission, envelope: Envelope) -> Done:
        """Write the message durably; in a thread."""
        try:
            offset = envelope.content_offset
            return envelope, self.pickup.intake.submitted(envelope, submission.descriptor, offset, durable=True), ""
        except Exception as error:
            # What is there may be there without being durable: it was not accepted.
            for state in (TMP, INCOMING, HOLD):
                with contextlib.suppress(OSError):
                    self.pickup.store.remove(state, envelope.queue_id)
            return envelope, None, f"{type(error).__name__}: {error}"

    def _stored(self, submission: Submission, done: Done) -> None:
        envelope, prepared, fault = done
        if prepared is None:
            self.log.error(f"{envelope.queue_id}: not taken over the submit socket: {fault}")
            self._end(submission, Answer(EX_TEMPFAIL, f"queue {self.top}: {fault}"))
            return
        self.pickup.admission.count(submission.uid, len(envelope.recipients))
        self.pickup.taken(envelope, prepared)
        if not submission.say(Answer(EX_OK, id=envelope.queue_id)):
            self.log.info(f"{envelope.queue_id}: its submitter was gone before it heard so; the message may come again")
        self._end(submission)

    # --- the end ------------------------------------------------------------------------------

    def _end(self, submission: Submission, answer: Answer | None = None) -> None:
        if answer:
            submission.say(answer)
        if not submission.is_storing:
            self.selector.unregister(submission.end)
        submission.close()
        self.open.discard(submission)
        self.of_user[submission.uid] -= 1
        if not self.of_user[submission.uid]:
            del self.of_user[submission.uid]

    def sweep(self) -> None:
        """End the connections of clients that take too long."""
        now = time.monotonic()
        for submission in [s for s in self.open if s.is_late(now)]:
            self._end(submission, Answer(EX_TEMPFAIL, "the message did not come in time"))
