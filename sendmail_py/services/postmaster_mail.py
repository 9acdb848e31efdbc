"""Mail that the system writes to its postmaster by itself: digests and notices, plain text."""

import os
import time
from collections.abc import Iterable, Iterator

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient, Submitter
from ..formats.trace_headers import clean, message_id, rfc5322_date
from ..spool.store import Store


def write(store: Store, config: Config, sender: Address, to: Address, subject: str, lines: Iterable[str]) -> str:
    """Put a message into incoming/, durable, and return its queue id; raises OSError."""
    now = time.time()
    submitter = Submitter(os.getuid(), "MAILER-DAEMON", os.getpid())
    e = Envelope("", int(now * 1e6), sender, [Recipient(to)], submitter)
    e.body = "8BITMIME"
    text = _text(e, config.myhostname, time.localtime(now).tm_gmtoff, subject, lines)
    path = store.write(e, (line.encode("utf-8", "replace") for line in text), durable=True)
    store.commit(path, e.queue_id, durable=True)
    return e.queue_id


def _text(e: Envelope, host: str, utc_offset: int, subject: str, lines: Iterable[str]) -> Iterator[str]:
    seconds = e.arrived_at // 1_000_000
    yield f"Date: {rfc5322_date(seconds, utc_offset)}\nFrom: Mail Delivery System <MAILER-DAEMON@{host}>\n"
    yield f"To: {clean(str(e.recipients[0].forward_path))}\nSubject: {clean(subject)}\n"
    yield f"Message-Id: {message_id(seconds, e.queue_id, host)}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
    yield "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    yield f"This is the mail system at host {host}.\n\n"
    yield from (f"{line}\n" for line in lines)
