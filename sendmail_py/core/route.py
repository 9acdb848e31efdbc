"""Route: where one recipient's mail goes next, and with whose rights."""

from dataclasses import dataclass

from .address import Address

LOCAL = "local"
SMTP = "smtp"
LMTP = "lmtp"
VIRTUAL = "virtual"
ERROR = "error"
RETRY = "retry"
DISCARD = "discard"

MAILBOXES = frozenset((LOCAL, VIRTUAL))  # transports whose destinations are mailboxes: one copy, one batch at a time


@dataclass(frozen=True, slots=True)
class Route:
    """A decision of routing: transport, nexthop, the address to use there, and a uid.

    For the transport `local`, target says what an expansion made of the address (core/envelope
    lists the forms), and uid with whose rights a program or file is used: -1 means default_privs.
    nexthop is then the text that names it in logs; for a mailbox (target "" or MAILBOX) it is the
    user's name, whose own rights apply. extension is what followed recipient_delimiter. For
    `virtual`, nexthop is the address that has the mailbox, and target is "GID:PATH": uid and GID
    own the mailbox, and a slash ends the path of a Maildir. For the transports `error` and `retry`,
    nexthop holds "x.y.z text"; for `discard` it is the text for the log.
    """

    transport: str
    nexthop: str
    address: Address
    uid: int = -1
    target: str = ""
    extension: str = ""

    def destination(self) -> tuple[str, str, int, str]:
        """Return the key by which deliveries are grouped and limited."""
        return self.transport, self.nexthop, self.uid, self.target
