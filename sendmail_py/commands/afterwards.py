"""What sendmail(1) still does when the message is safe: -odi waits for the delivery, -v and -bv say who gets a report.

Exit 0 is certain by then, so nothing that goes wrong here counts: when the services are down, do
not answer, or take longer than LONGEST seconds, the message is queued like any other.
"""

import os
import pwd

from ..core.envelope import Envelope
from ..core.errors import MailError
from ..host.configuration import load
from ..spool.maildrop import Drop
from ..spool.queue_id import base_id
from .ask import ask_one

LONGEST = 300.0


def tell(envelope: Envelope) -> None:
    """Say to whom the report will be mailed, as Postfix does; nobody need listen."""
    try:
        sender = pwd.getpwuid(os.getuid()).pw_name if envelope.reverse_path is None else str(envelope.sender)
        text = f"Mail Delivery Status Report will be mailed to <{sender}>.\n"
        os.write(1, text.encode("utf-8", "surrogateescape"))
    except (OSError, KeyError):
        return


def wait(directory: str, drop: Drop) -> None:
    """Wait until the first attempt at a message has ended, and that at each message which comes of it."""
    ctime, inode = drop.identity
    queue_id = drop.queue_id or base_id(ctime // 1000, inode)
    try:
        config, _ = load(directory)
        ask_one(config, "public", {"verb": "wait", "id": queue_id, "maildrop": drop.name}, timeout=LONGEST)
    except (MailError, OSError):
        return
