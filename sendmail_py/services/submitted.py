"""What a submitter may say of a message, and what is the kernel's word.

Whether it came as a file in maildrop/ or over the submit socket: the uid comes from the kernel,
the id and the time of arrival are ours, and a claim that is not a submitter's to make is dropped.
"""

from ..core.address import Address
from ..core.envelope import MAILBOX, Envelope, Mark, Recipient, Submitter
from ..core.errors import QueueFileError
from ..formats.queue_file import HEAD_LIMIT
from ..formats.queue_text import quote
from ..formats.submission_header import PreparedHeader, full_name_from_gecos
from ..host.users import User
from ..spool.message_file import read_head

_FULL_UID_MAP = "0 0 4294967295"
_LOGGED_DIRECTORY = 200
_NOTIFY = frozenset(("NEVER", "SUCCESS", "FAILURE", "DELAY"))


class Junk(Exception):
    """What is no message from sendmail(1)."""


def claimed_envelope(descriptor: int) -> Envelope:
    """Read the envelope at the beginning of a submitted file; raises Junk, OSError."""
    try:
        return read_head(descriptor, limit=HEAD_LIMIT)
    except QueueFileError as error:
        raise Junk(str(error)) from error


def login_of(user: User | None, uid: int) -> str:
    """Return the login name, or what stands for it where the user data base does not know the uid."""
    return user.name if user else f"uid-{uid}"


def checked_envelope(claimed: Envelope, uid: int, user: User | None, queue_id: str, arrived_at: int) -> Envelope:
    """Make the envelope of a submitted message; raises Junk. arrived_at is in microseconds."""
    if not claimed.recipients:
        raise Junk("no recipients")
    if claimed.body not in ("", "7BIT", "8BITMIME") or claimed.ret not in ("", "FULL", "HDRS"):
        raise Junk("bad body type or return option")
    login = login_of(user, uid)
    submitter = Submitter(uid, login, claimed.submitter.pid, claimed.submitter.cwd, claimed.submitter.command)
    sender = claimed.reverse_path if claimed.reverse_path is not None else Address(login)
    e = Envelope(queue_id, arrived_at, sender, [_fresh(r) for r in claimed.recipients], submitter)
    e.body, e.ret, e.envid, e.size = claimed.body, claimed.ret, claimed.envid, claimed.size
    e.queue_only, e.content_offset = claimed.queue_only, claimed.content_offset
    e.report, e.verify = claimed.report, claimed.verify
    e.full_name = claimed.full_name or (full_name_from_gecos(user.gecos, login) if user else "")
    return e


def _fresh(r: Recipient) -> Recipient:
    if r.mark != Mark.PENDING or r.target not in ("", MAILBOX) or not _NOTIFY.issuperset(r.notify):
        raise Junk("bad recipient")
    return Recipient(r.forward_path, r.original, r.notify, target=r.target)


def log_lines(e: Envelope, prepared: PreparedHeader) -> list[str]:
    """Return the lines that say who has sent a message. The claimed command line is for root's eyes: not here."""
    s = e.submitter
    cwd = quote(s.cwd[:_LOGGED_DIRECTORY])
    lines = [f"{e.queue_id}: uid={s.uid} from=<{e.sender}> login={s.login} pid={s.pid} cwd={cwd}"]
    if prepared.message_id:
        lines.append(f"{e.queue_id}: message-id={prepared.message_id}")
    return [*lines, *prepared.notes]


def overflow_uid() -> int:
    """Return the uid that stands for owners this user namespace does not know; -1 in a full one."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if " ".join(file.read().split()) == _FULL_UID_MAP:
            return -1
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return int(file.read())
