"""pickup: brings what users put into maildrop/ into the queue. It trusts nothing it finds there.

Identity is the file's owner, never its content. A copy's queue id follows from the original's
inode and ctime, so a message that was copied before a crash is recognised by its name and
never copied twice. Junk is left alone and logged once. Names arrive through the trigger FIFO;
a scan, rate-limited, finds what lost its trigger.
"""

import os
import selectors
import socket
import stat
import time

from ..core.address import Address
from ..core.envelope import Envelope, Mark, Recipient, Submitter
from ..core.errors import QueueFileError
from ..formats.queue_file import HEAD_LIMIT
from ..formats.submission_header import full_name_from_gecos
from ..host.sockets import connect, send_record
from ..host.users import UidCache
from ..spool.directories import check
from ..spool.layout import COMPLETE_MODE, CORRUPT, MAILDROP, TRIGGER
from ..spool.lock import take_role
from ..spool.maildrop import is_name
from ..spool.queue_id import base_id
from ..spool.store import Store, is_there, read_head
from .intake import Intake
from .service import Service

UNFINISHED_AGE = 36 * 3600
_BATCH = 50
_SCAN_COST = 10
_TRIGGER_OCTETS = 65536
# After a turn the next names may come together for so long: a single message never waits, and in a
# stream of them each costs less to those who submit at the same time.
_GATHERING = 0.025
_FULL_UID_MAP = "0 0 4294967295"


class Junk(Exception):
    """A file in maildrop/ that is no message from sendmail(1)."""


class Pickup:
    """The state of the service: what is known of maildrop/, and what qmgr has not been told yet."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.log = service.log
        self.config = service.config
        self.top = self.config.queue_directory
        self.store = Store(self.top)
        self.users = UidCache()
        self.qmgr: socket.socket | None = None
        self.intake = Intake(self.config, self.store)
        self.known: dict[str, tuple[int, int]] = {}
        self.junk: set[str] = set()
        self.new_ids: list[str] = []
        self.next_scan = 0.0
        self.group = os.stat(f"{self.top}/{MAILDROP}").st_gid
        self.overflow_uid = _overflow_uid()
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
        self.tell_qmgr()
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
        self.tell_qmgr()

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
            self.log.warning(f"{MAILDROP}/{name}: {error.strerror}; it waits")
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
        try:
            envelope = self._envelope(read_head(descriptor, limit=HEAD_LIMIT), status, name, queue_id)
        except QueueFileError as error:
            raise Junk(str(error)) from error
        offset = envelope.content_offset
        prepared = self.intake.submitted(envelope, descriptor, offset)
        self.known[name] = key
        lines = [f"{queue_id}: uid={status.st_uid} from=<{envelope.sender}>"]
        if prepared.message_id:
            lines.append(f"{queue_id}: message-id={prepared.message_id}")
        self.log.lines(lines)
        self.new_ids.append(queue_id)
        if len(self.new_ids) >= _BATCH:
            self.tell_qmgr()

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

    def _envelope(self, claimed: Envelope, status: os.stat_result, name: str, queue_id: str) -> Envelope:
        """Make the envelope from what a submitter may say; the rest is the kernel's word."""
        if not claimed.recipients:
            raise Junk("no recipients")
        if claimed.body not in ("", "7BIT", "8BITMIME") or claimed.ret not in ("", "FULL", "HDRS"):
            raise Junk("bad body type or return option")
        user = self.users.find(status.st_uid)
        login = user.name if user else f"uid-{status.st_uid}"
        submitter = Submitter(
            status.st_uid, login, claimed.submitter.pid, claimed.submitter.cwd, claimed.submitter.command
        )
        sender = claimed.reverse_path if claimed.reverse_path is not None else Address(login)
        e = Envelope(queue_id, status.st_ctime_ns // 1000, sender, [_fresh(r) for r in claimed.recipients], submitter)
        e.body, e.ret, e.envid, e.size = claimed.body, claimed.ret, claimed.envid, claimed.size
        e.queue_only, e.content_offset = claimed.queue_only, claimed.content_offset
        e.full_name = claimed.full_name or (full_name_from_gecos(user.gecos, login) if user else "")
        e.maildrop = name, status.st_ino, status.st_ctime_ns
        return e

    def _is_junk(self, name: str, reason: str) -> None:
        if name not in self.junk:
            self.junk.add(name)
            self.log.warning(f"{MAILDROP}/{name} is left alone: {reason}")

    # --- telling ----------------------------------------------------------------------------

    def tell_qmgr(self) -> None:
        """Tell qmgr what has come in; when it is down, it finds the files when it starts."""
        ids, self.new_ids = self.new_ids, []
        if not ids:
            return
        try:
            try:
                self._send_to_qmgr(ids)
            except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
                self._send_to_qmgr(ids)  # it was started again
        except OSError as error:
            self.log.warning(f"qmgr cannot be told of new mail now: {error}")

    def _send_to_qmgr(self, ids: list[str]) -> None:
        if self.qmgr is None:
            self.qmgr = connect(f"{self.config.run_directory}/public", timeout=5)
        try:
            send_record(self.qmgr, {"verb": "incoming", "ids": ids})
        except OSError:
            self.qmgr.close()
            self.qmgr = None
            raise


def _fresh(r: Recipient) -> Recipient:
    if r.mark != Mark.PENDING or r.target or not {"NEVER", "SUCCESS", "FAILURE", "DELAY"}.issuperset(r.notify):
        raise Junk("bad recipient")
    return Recipient(r.forward_path, r.original, r.notify)


def _overflow_uid() -> int:
    """Return the uid that stands for owners this user namespace does not know; -1 in a full one."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if " ".join(file.read().split()) == _FULL_UID_MAP:
            return -1
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return int(file.read())


def run(service: Service) -> None:
    """Serve until master says stop."""
    check(service.config.queue_directory, os.getuid())
    while not take_role(service.config.queue_directory, "pickup"):
        time.sleep(0.5)
    pickup = Pickup(service)
    trigger = os.open(f"{pickup.top}/{TRIGGER}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    selector = selectors.DefaultSelector()
    selector.register(trigger, selectors.EVENT_READ)
    selector.register(service.lifeline, selectors.EVENT_READ)
    pickup.scan()
    service.ready()
    while True:
        for key, _ in selector.select(max(0.0, pickup.next_scan - time.monotonic())):
            if key.fileobj is service.lifeline:
                return  # stop, or reload: master starts a fresh one
            pickup.triggered(os.read(trigger, _TRIGGER_OCTETS))
            time.sleep(_GATHERING)
        if time.monotonic() >= pickup.next_scan:
            pickup.scan()
