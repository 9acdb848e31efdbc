"""A queue listing as the records in which the queue manager sends it, written and read.

A record holds rows: the fields of a message in their order. Guarantees: no record exceeds what one may hold, however
many recipients a message has; those that find no room follow in rows of their own, and reading joins them again.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from ..core.errors import MailError
from .listing import ListedMessage

_MESSAGES = 50
# What a record may hold of text. As JSON a character takes 12 octets at most, so 200,000 are never reached; an
# address or a reason is cut far below this (listing.shown).
_CHARACTERS = 15_000
_FRAME = 60  # what stands around the text of a message, and around that of a recipient
_RECIPIENT_FRAME = 20
_fields = attrgetter(*ListedMessage.__slots__)
Record = dict[str, Any]


def to_records(messages: Iterable[ListedMessage | None]) -> Iterator[Record]:
    """Yield a listing in records; None is a message that could not be read."""
    rows: list[tuple[Any, ...]] = []
    looked_at = used = 0
    for message in messages:
        for row, size in _rows(message) if message is not None else ():
            if used + size > _CHARACTERS:
                yield {"rows": rows}
                rows, looked_at, used = [], 0, 0
            rows.append(row)
            used += size
        looked_at += 1
        if looked_at >= _MESSAGES:
            yield {"rows": rows}
            rows, looked_at, used = [], 0, 0
    if rows:
        yield {"rows": rows}


def _rows(message: ListedMessage) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Yield a message as one row, or as one without recipients and rows of recipients, each with its size."""
    frame = len(message.queue_id) + len(message.sender) + _FRAME
    size = frame
    for address, reason in message.recipients:
        size += len(address) + len(reason) + _RECIPIENT_FRAME
    if size <= _CHARACTERS:
        yield _fields(message), size
        return
    name, queue_id, arrived, octets, sender, recipients, expired = _fields(message)
    yield (name, queue_id, arrived, octets, sender, (), expired), frame
    some: list[tuple[str, str]] = []
    size = 0
    for address, reason in recipients:
        more = len(address) + len(reason) + _RECIPIENT_FRAME
        if size + more > _CHARACTERS:
            yield (some,), size
            some, size = [], 0
        some.append((address, reason))
        size += more
    yield (some,), size


def from_records(records: Iterable[Record]) -> Iterator[ListedMessage]:
    """Yield the messages of a listing; raises MailError for records of another version."""
    message: ListedMessage | None = None
    for record in records:
        if "rows" not in record:
            raise MailError("the services are of another version: mailctl stop, then start")
        for row in record["rows"]:
            if len(row) == 1 and message is not None:
                message.recipients += map(tuple, row[0])
                continue
            if message is not None:
                yield message
            message = ListedMessage(*row)
            message.recipients = [(address, reason) for address, reason in message.recipients]
    if message is not None:
        yield message
