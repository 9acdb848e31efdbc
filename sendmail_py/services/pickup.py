"""pickup: brings what users put into maildrop/ into the queue. It trusts nothing it finds there.

Identity is the file's owner, never its content. A copy's queue id follows from the original's
inode and ctime, so a message that was copied before a crash is recognised by its name and
never copied twice. Junk is left alone and logged once. Names arrive through the trigger FIFO;
a scan, rate-limited, finds what lost its trigger.
"""

import os
import select
import stat
import time

from ..core.envelope import Envelope
from ..core.errors import QueueFileError
from ..formats.submission_header import PreparedHeader
from ..host.users import UidCache
from ..spool.directories import check
from ..spool.flow import is_slow
from ..spool.layout import COMPLETE_MODE, CORRUPT, INCOMING, MAILDROP
from ..spool.maildrop import is_name
from ..spool.message_file import read_message
from ..spool.queue_id import base_id
from ..spool.store import Store, is_there
from .admission import Admission
from .intake import Intake
from .local_filters import local_filters
from .pickup_filtering import Filtering
from .pickup_loop import Loop
from .qmgr_line import QmgrLine
from .role import wait_for_role
from .service import Service
from .submitted import Junk, checked_envelope, claimed_envelope, log_lines, overflow_uid

UNFINISHED_AGE = 36 * 3600
_SCAN_COST = 10
_FOUND_AT_START = 500


class Pickup:
    """The state of the service: what is known of maildrop/, and what qmgr has not been told yet."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.log = service.log
        self.config = service.config
        self.top = self.config.queue_directory
        self.store = Store(self.top)
        self.users = UidCache()
        self.qmgr = QmgrLine(f"{self.config.run_directory}/public", self.log)
        self.intake = Intake(self.config, self.store, self.log.warning, local_filters(self.config, self.log))
        self.filtering = Filtering(self.scan_soon) if self.intake.filters else None
        self.admission = Admission(self.config, self.users, self.log)
        self.known: dict[str, tuple[int, int]] = {}
        self.junk: set[str] = set()
        self.next_scan = 0.0
        self.number = 0  # messages taken since the last trigger or scan began
        self.group = os.stat(f"{self.top}/{MAILDROP}").st_gid
        self.overflow_uid = overflow_uid()
        self.partial = b""
        self.word = select.poll()
        self.word.register(service.lifeline, select.POLLIN)

    # --- finding ----------------------------------------------------------------------------

    def scan(self) -> None:
        """Look at every name in maildrop/; the next scan waits ten times as long as this one took."""
        started = time.monotonic()
        self.number = 0
        names = set()
        with os.scandir(f"{self.top}/{MAILDROP}") as entries:
            for entry in entries:
                if self._has_word():
                    return
                if is_name(entry.name):
                    names.add(entry.name)
                    self.take(entry.name, from_scan=True)
                    if self._is_enough():
                        return
        self.known = {name: key for name, key in self.known.items() if name in names}
        self.junk &= names
        self.qmgr.tell()
        now = time.monotonic()
        self.next_scan = now + max(self.config.maildrop_scan_delay, _SCAN_COST * (now - started))

    def _has_word(self) -> bool:
        """Check whether master has spoken: what came after that is for the next pickup, whose first scan finds it."""
        return bool(self.word.poll(0))

    def _is_enough(self) -> bool:
        """While qmgr has too much mail, leave it at one message, and look again after in_flow_delay."""
        delay = self.config.in_flow_delay
        if not (self.number and delay and is_slow(self.top)):
            return False
        self.number = 0
        self.next_scan = time.monotonic() + delay
        self.qmgr.tell()
        return True

    def triggered(self, data: bytes) -> None:
        """Take the names that came through the FIFO; anybody may have written them."""
        self.number = 0
        *names, self.partial = (self.partial + data).split(b"\n")
        self.partial = self.partial[-64:]
        for name in dict.fromkeys(names):
            text = name.decode("ascii", "replace")
            if self._has_word():
                return
            if is_name(text):
                self.take(text, from_scan=False)
                if self._is_enough():
                    return
        self.qmgr.tell()

    def find_untold(self) -> None:
        """Tell qmgr of what an earlier pickup brought in without a chance to tell."""
        newest = sorted(self.store.settled(INCOMING)[0], reverse=True)
        for queue_id in reversed(newest[:_FOUND_AT_START]):
            self.qmgr.add(queue_id)

    # --- taking -----------------------------------------------------------------------------

    def take(self, name: str, from_scan: bool) -> None:
        """Bring one file in, unless its copy exists; never raises for the file's sake."""
        if self.filtering and name in self.filtering.names:
            return
        path = f"{self.top}/{MAILDROP}/{name}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self._not_opened(name, path, error)
            return
        try:
            self._take_open(name, path, descriptor, from_scan)
        except Junk as error:
            self._leave_junk(name, str(error))
        except OSError as error:
            self._waits(name, error)
        except Exception as error:  # a defect: one user's file must not end what all others' mail goes through
            self._leave_defect(name, error)
        finally:
            os.close(descriptor)

    def _not_opened(self, name: str, path: str, error: OSError) -> None:
        """Tell junk from a file still being written: its mode is its owner's alone, and we may be another user."""
        try:
            if isinstance(error, PermissionError) and not self._is_complete(os.lstat(path), path):
                return
        except FileNotFoundError:
            return
        except Junk as junk:
            self._leave_junk(name, str(junk))
            return
        self._leave_junk(name, error.strerror or str(error))

    def _take_open(self, name: str, path: str, descriptor: int, from_scan: bool) -> None:
        status = os.fstat(descriptor)
        if not self._is_complete(status, path):
            return
        key = (status.st_ino, status.st_ctime_ns)
        queue_id = base_id(status.st_ctime_ns // 1000, status.st_ino)
        if self.known.get(name) == key and not from_scan:
            return
        if from_scan and self._has_copy(queue_id, path):
            self.known[name] = key
            return
        self._take_whole(name, status, descriptor, queue_id)

    def _take_whole(self, name: str, status: os.stat_result, descriptor: int, queue_id: str) -> None:
        """Bring a complete file in, if its owner may submit."""
        uid = status.st_uid
        if text := self.admission.forbids(uid):
            raise Junk(f"{text}, by authorized_submit_users")
        if self.admission.closed(uid):
            return
        claimed = claimed_envelope(descriptor)
        envelope = checked_envelope(claimed, uid, self.users.find(uid), queue_id, status.st_ctime_ns // 1000)
        number = len(envelope.recipients)
        if text := self.admission.too_many(uid, number):
            envelope.refused = f"5.5.3 {text}"
        elif not self.admission.has_room(uid, number):
            return
        envelope.maildrop = name, status.st_ino, status.st_ctime_ns
        if self.filtering is None:
            prepared = self.intake.submitted(envelope, descriptor, envelope.content_offset)
            self._was_taken(name, status, envelope, number, prepared)
        elif self.filtering.has_room(uid, self.admission.is_limited(uid)):
            self._begin_filtering(self.filtering, name, status, descriptor, envelope)

    def _begin_filtering(
        self, filtering: Filtering, name: str, status: os.stat_result, descriptor: int, envelope: Envelope
    ) -> None:
        number = len(envelope.recipients)

        def done(result: PreparedHeader | Exception) -> None:
            if isinstance(result, OSError):
                self._waits(name, result)
            elif isinstance(result, Exception):
                self._leave_defect(name, result)
            else:
                self._was_taken(name, status, envelope, number, result)

        def work(own: int) -> PreparedHeader:
            return self.intake.submitted(envelope, own, envelope.content_offset)

        filtering.begin(name, status.st_uid, descriptor, work, done)

    def _was_taken(
        self, name: str, status: os.stat_result, envelope: Envelope, number: int, prepared: PreparedHeader
    ) -> None:
        self.known[name] = status.st_ino, status.st_ctime_ns
        self.admission.count(status.st_uid, 0 if envelope.refused else number)
        self.taken(envelope, prepared)

    def _waits(self, name: str, error: OSError) -> None:
        self.log.warning(f"{MAILDROP}/{name}: {error.strerror or error}; it waits")

    def scan_soon(self) -> None:
        """Look for what found no room with the filters."""
        self.next_scan = 0.0

    def taken(self, envelope: Envelope, prepared: PreparedHeader) -> None:
        """Log a message that is in the queue now, at once: a kill must not hide whose it was. Then tell qmgr."""
        self.number += 1
        self.log.lines(log_lines(envelope, prepared))
        self.qmgr.add(envelope.queue_id)

    def _is_complete(self, status: os.stat_result, path: str) -> bool:
        """Check what an honest submitter leaves behind; False for a file still being written, or gone."""
        if not stat.S_ISREG(status.st_mode):
            raise Junk("not a regular file")
        if not status.st_nlink:
            return False  # removed since it was opened
        if status.st_nlink != 1:
            raise Junk("it has more than one link")
        if status.st_mode & 0o7777 != COMPLETE_MODE:
            if status.st_mode & 0o7777 != 0o600:
                raise Junk(f"mode {status.st_mode & 0o7777:o}")
            if time.time() - status.st_mtime > UNFINISHED_AGE:
                os.unlink(path)  # at once: its owner may be about to finish it
                self.log.info(f"removed {path}: never finished")
            return False
        if status.st_gid != self.group:
            raise Junk(f"group {status.st_gid}")
        if status.st_uid == self.overflow_uid:
            raise Junk(f"its owner has no uid here (overflow uid {status.st_uid})")
        return True

    def _has_copy(self, queue_id: str, path: str) -> bool:
        """Say whether the queue has this message; a torn copy is removed while its original is here.

        qmgr removes an original before its copy: no copy, and the original still there when asked
        afterwards, means that the message is not in the queue.
        """
        state = self.store.find(queue_id)
        if state is None:
            return not is_there(path)
        if state != CORRUPT and self._is_whole(state, queue_id):
            return True
        if is_there(path) and self.store.find(queue_id) == state:
            self.log.warning(f"{queue_id}: removed a torn copy; its original is taken again")
            self.store.remove(state, queue_id)
            return False
        return True

    def _is_whole(self, state: str, queue_id: str) -> bool:
        try:
            read_message(self.store.path(state, queue_id))
        except QueueFileError:
            return False
        except FileNotFoundError:
            pass  # it has just moved on
        return True

    def _leave_junk(self, name: str, reason: str) -> None:
        """Leave a file where it is, and say so in the log once."""
        if name not in self.junk:
            self.junk.add(name)
            self.log.warning(f"{MAILDROP}/{name} is left alone: {reason}")

    def _leave_defect(self, name: str, error: Exception) -> None:
        """Leave a file that we cannot cope with, too; each scan tries it again."""
        self._leave_junk(name, f"internal error: {type(error).__name__}: {error}")


def run(service: Service) -> None:
    """Serve until master says stop."""
    check(service.config.queue_directory, os.getuid())
    if not wait_for_role(service):
        return
    pickup = Pickup(service)
    loop = Loop(pickup)
    pickup.admission.publish()
    pickup.find_untold()
    pickup.scan()
    service.ready()
    loop.serve()
