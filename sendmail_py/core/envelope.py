"""Envelope, Recipient, Submitter and Mark: what is known of a message beside its content.

Light: plain classes, because sendmail(1) writes them too. Slots only where there are many: each
costs a little at every start.
"""

from .address import NULL_SENDER, Address


class Mark:
    """The check-box of a recipient: one byte in the queue file."""

    PENDING = " "
    DELIVERED = "x"
    FAILED = "-"


class Box:
    """A check-box that is no recipient's: its mark, and where it stands in the queue file."""

    def __init__(self, offset: int, mark: str = Mark.PENDING) -> None:
        self.offset = offset
        self.mark = mark


MAILBOX = "\\"  # the target of an address that was written \name


class Submitter:
    """Who handed the message in. uid is the kernel's word; the rest is claimed by the caller."""

    def __init__(self, uid: int, login: str = "", pid: int = 0, cwd: str = "", command: str = "") -> None:
        self.uid = uid
        self.login = login
        self.pid = pid
        self.cwd = cwd
        self.command = command
        self.helo = self.protocol = self.sasl_username = ""
        self.shows_login = False  # in the Received field; not written


class Recipient:
    """One forward-path with its DSN wishes (RFC 3461) and its mark.

    offset is where the mark stands in the queue file, -1 before it is written. target says what
    an expansion made of the address; only qmgr sets it, and a submission may say no more than MAILBOX:
    "" is an ordinary address, "|command line" a program, "/path" or "/path/" a file or Maildir,
    and MAILBOX only the mailbox of the user in forward_path, without aliases and .forward.
    forward_path stays the address that it came from. extension is the part of the local part
    after recipient_delimiter: worked out for an agent, not written.
    """

    __slots__ = ("extension", "forward_path", "mark", "notify", "offset", "original", "target")

    def __init__(
        self,
        forward_path: Address,
        original: str = "",
        notify: tuple[str, ...] = (),
        mark: str = Mark.PENDING,
        offset: int = -1,
        target: str = "",
        extension: str = "",
    ) -> None:
        self.forward_path = forward_path
        self.original = original
        self.notify = notify
        self.mark = mark
        self.offset = offset
        self.target = target
        self.extension = extension


class Envelope:
    """The envelope of one queued message.

    arrived_at is in microseconds since the epoch. maildrop is (name, inode, ctime_ns) of the
    submitted original or None. parent is (queue id, offset of the mark that answers for this
    child) or None. size is the length of the content in octets. reverse_path is None only in
    maildrop/, where it means: the submitter, as the file's owner tells. refused, "x.y.z reason",
    says that intake found the content unacceptable: every recipient fails with it (or, 2.0.0, gets nothing).
    controlling_uid is whose rights the targets of the recipients run with (-1: default_privs), and
    visited the names that must not be expanded again: "name" for an alias, "~name" for a .forward.
    report asks for a report of what the first pass comes to (sendmail -v), which reported says was
    written; verify asks what would become of each recipient, and nothing is delivered (sendmail
    -bv). delay_warned says that the sender knows of the delay, expire that the next attempt is the
    last. boxes says where the box of each of these flags stands in the queue file.
    """

    def __init__(
        self,
        queue_id: str,
        arrived_at: int,
        reverse_path: Address | None,
        recipients: list[Recipient],
        submitter: Submitter,
    ) -> None:
        self.queue_id = queue_id
        self.arrived_at = arrived_at
        self.reverse_path = reverse_path
        self.recipients = recipients
        self.submitter = submitter
        self.body = self.envid = self.ret = self.client = self.origin = self.full_name = self.refused = ""
        self.smtputf8 = self.delay_warned = self.expire = self.queue_only = False
        self.report = self.verify = self.reported = False
        self.boxes: dict[str, int] = {}
        self.size = 0
        self.content_offset = -1
        self.maildrop: tuple[str, int, int] | None = None
        self.parent: tuple[str, int] | None = None
        self.visited: tuple[str, ...] = ()
        self.controlling_uid = -1
        self.unknown: list[str] = []

    @property
    def sender(self) -> Address:
        """The reverse-path; the null sender where none is known."""
        return NULL_SENDER if self.reverse_path is None else self.reverse_path

    def box(self, flag: str) -> Box:
        """Return the box of a flag; raises KeyError where the file has none."""
        return Box(self.boxes[flag])

    def pending(self) -> list[Recipient]:
        """Return the recipients that still wait for a result."""
        return [r for r in self.recipients if r.mark == Mark.PENDING]
