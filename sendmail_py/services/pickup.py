"""pickup: brings what users put into maildrop/ into the queue. It trusts nothing it finds there.

Identity is the file's owner, never its content. A copy's queue id follows from the original's
inode and ctime, so a message that was copied before a crash is recognised by its name and
never copied twice. Junk is left alone and logged once. Names arrive through the trigger FIFO;
a scan, rate-limited, finds what lost its trigger.
"""

import os
import selectors
import stat
import time

from ..core.envelope import Envelope
from ..core.errors import QueueFileError
from ..formats.submission_header import PreparedHeader
from ..host.users import UidCache
from ..spool.directories import check
from ..spool.layout import COMPLETE_MODE, CORRUPT, INCOMING, MAILDROP, TRIGGER
from ..spool.lock import take_role
from ..spool.maildrop import is_name
from ..spool.queue_id import base_id
from ..spool.store import Store, is_there, read_head
from .admission import Admission
from .intake import Intake
from .qmgr_line import QmgrLine
from .service import Service
from .submit import SubmitServer
from .submitted import Junk, checked_envelope, claimed_envelope, log_lines, overflow_uid

UNFINISHED_AGE = 36 * 3600
_SCAN_COST = 10
_TRIGGER_OCTETS = 65536
_FOUND_AT_START = 500
# After a turn the next names may come together for so long: a single message never waits, and in a
# stream of them each costs less to those who submit at the same time.
_GATHERING = 0.025
_SWEEP_SECONDS = 5.0
_LAST_SECONDS = 5.0


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
        self.intake = Intake(self.config, self.store, self.log.warning)
        self.admission = Admission(self.config, self.users, self.log)
        self.known: dict[str, tuple[int, int]] = {}
        self.junk: set[str] = set()
        self.next_scan = 0.0
        self.group = os.stat(f"{self.top}/{MAILDROP}").st_gid
        self.overflow_uid = overflow_uid()
        self.partial = b""

    # --- finding ----------------------------------------------------------------------------

    def scan(self) -> None:
        """Look at every name in maildrop/; the next scan waits ten times as long as this one took."""
        started = time.monotonic()
        names = set()
        with os.scandir(f"{self.top}/{MAILDROP}") as entries:
            for entry in entries:
                if is_name(entry.name):
                    names.add(entry.name)
                    self.take(entry.name, from_scan=True)
        self.known = {name: key for name, key in self.known.items() if name in names}
        self.junk &= names
        self.qmgr.tell()
        now = time.monotonic()
        self.next_scan = now + max(self.config.maildrop_scan_delay, _SCAN_COST * (now - started))

    def triggered(self, data: bytes) -> None:
        """Take the names that came through the FIFO; anybody may have written them."""
        *names, self.partial = (self.partial + data).split(b"\n")
        self.partial = self.partial[-64:]
        for name in dict.fromkeys(names):
            text = name.decode("ascii", "replace")
            if is_name(text):
                self.take(text, from_scan=False)
        self.qmgr.tell()

    def find_untold(self) -> None:
        """Tell qmgr of what an earlier pickup brought in without a chance to tell."""
        newest = sorted((queue_id for queue_id, _ in self.store.entries(INCOMING)), reverse=True)
        for queue_id in reversed(newest[:_FOUND_AT_START]):
            self.qmgr.add(queue_id)

    # --- taking -----------------------------------------------------------------------------

    def take(self, name: str, from_scan: bool) -> None:
        """Bring one file in, unless its copy exists; never raises for the file's sake."""
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
            self._is_junk(name, str(error))
        except OSError as error:
            self.log.warning(f"{MAILDROP}/{name}: {error.strerror or error}; it waits")
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
            self._is_junk(name, str(junk))
            return
        self._is_junk(name, error.strerror or str(error))

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
        prepared = self.intake.submitted(envelope, descriptor, envelope.content_offset)
        self.known[name] = status.st_ino, status.st_ctime_ns
        self.admission.count(uid, 0 if envelope.refused else number)
        self.taken(envelope, prepared)

    def taken(self, envelope: Envelope, prepared: PreparedHeader) -> None:
        """Log a message that is in the queue now, and remember to tell qmgr."""
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
                self.log.info(f"removed {path}: never finished")
                os.unlink(path)
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
            descriptor = self.store.open(state, queue_id)
        except FileNotFoundError:
            return True  # it has just moved on
        try:
            read_head(descriptor)
        except QueueFileError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _is_junk(self, name: str, reason: str) -> None:
        if name not in self.junk:
            self.junk.add(name)
            self.log.warning(f"{MAILDROP}/{name} is left alone: {reason}")


class Loop:
    """pickup's loop: names that come through the trigger, scans, the submit socket, and master's word."""

    def __init__(self, pickup: Pickup) -> None:
        service = pickup.service
        self.pickup = pickup
        self.is_leaving = False
        self.selector = selectors.DefaultSelector()
        self.server = SubmitServer(pickup, self.selector)
        self.trigger = os.open(f"{pickup.top}/{TRIGGER}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.listener = service.socket("submit")
        self.selector.register(self.trigger, selectors.EVENT_READ, self._triggered)
        self.selector.register(self.listener, selectors.EVENT_READ, lambda: self.server.accept(self.listener))
        self.selector.register(service.lifeline, selectors.EVENT_READ, self._leave)

    def serve(self) -> None:
        """Run until master says stop, or reload (it starts a fresh pickup then), and end what has begun."""
        pickup = self.pickup
        while not self.is_leaving:
            self._turn(self._pause())
            if time.monotonic() >= pickup.next_scan:
                pickup.scan()
            pickup.qmgr.tell()
            pickup.admission.publish()
        end = time.monotonic() + _LAST_SECONDS
        while self.server.open and time.monotonic() < end:
            self._turn(0.2)
        pickup.qmgr.tell()
        pickup.admission.keep()

    def _turn(self, pause: float) -> None:
        """Do what has come; after master's word no new mail, which is for who has the new configuration."""
        lifeline, new = self.pickup.service.lifeline, (self.trigger, self.listener)
        keys = [key for key, _ in self.selector.select(pause)]
        for key in sorted(keys, key=lambda key: key.fileobj is not lifeline):
            if not (self.is_leaving and key.fileobj in new):
                key.data()
        self.server.sweep()

    def _pause(self) -> float:
        pause = max(0.0, self.pickup.next_scan - time.monotonic())
        opening = self.pickup.admission.next_opening()
        if opening:
            pause = min(pause, opening)
        return min(pause, _SWEEP_SECONDS) if self.server.open else pause

    def _triggered(self) -> None:
        self.pickup.triggered(os.read(self.trigger, _TRIGGER_OCTETS))
        time.sleep(_GATHERING)

    def _leave(self) -> None:
        self.is_leaving = True
        for end in (self.pickup.service.lifeline, self.trigger, self.listener):
            self.selector.unregister(end)


def run(service: Service) -> None:
    """Serve until master says stop."""
    check(service.config.queue_directory, os.getuid())
    while not take_role(service.config.queue_directory, "pickup"):
        time.sleep(0.5)
    pickup = Pickup(service)
    loop = Loop(pickup)
    pickup.admission.publish()
    pickup.find_untold()
    pickup.scan()
    service.ready()
    loop.serve()
