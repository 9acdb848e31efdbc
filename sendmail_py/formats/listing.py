"""The queue as mailq and `postqueue -j` print it, text that programs parse: Postfix's to the octet.

Entries come and go one at a time, so a long queue costs no memory. One line of sendmail's own
listing (Total requests) stands before the last for programs that look for that.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from .trace_headers import clean

_REASON_END = 76


@dataclass(slots=True)
class ListedMessage:
    """A queued message in short: arrived_at in microseconds since the epoch, size in octets.

    sender is "" for the null reverse-path; recipients are (address, reason or "") of those that
    still wait; expired says that an administrator has asked for its expiry.
    """

    queue_name: str
    queue_id: str
    arrived_at: int
    size: int
    sender: str
    recipients: list[tuple[str, str]] = field(default_factory=list)
    expired: bool = False


_NAMES = ListedMessage.__slots__
_values = attrgetter(*_NAMES)


def fields_of(message: ListedMessage) -> dict[str, Any]:
    """Return the fields of a message as a record carries them; dataclasses.asdict() takes five times as long."""
    return dict(zip(_NAMES, _values(message), strict=True))


def mailq_text(
    messages: Iterable[ListedMessage], local: Callable[[float], time.struct_time] = time.localtime
) -> Iterator[str]:
    """Yield mailq's listing, a message at a time; local turns seconds into the reader's time."""
    count = octets = 0
    for message in messages:
        lead = "\n" if count else _row("-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------")
        count += 1
        octets += message.size
        yield lead + "".join(_message_rows(message, local))
    if not count:
        yield "Mail queue is empty\n"
        return
    plural = "" if count == 1 else "s"
    yield f"\n\t\tTotal requests: {count}\n-- {octets // 1024} Kbytes in {count} Request{plural}.\n"


def _row(queue_id: str, size: str, arrival: str, address: str) -> str:
    return f"{queue_id:<11} {size:>7} {arrival:<20.20} {address}\n"


def _message_rows(message: ListedMessage, local: Callable[[float], time.struct_time]) -> Iterator[str]:
    state = {"active": "*", "hold": "!"}.get(message.queue_name, "") + ("#" if message.expired else "")
    arrival = time.asctime(local(message.arrived_at // 1_000_000))
    yield _row(message.queue_id + state, str(message.size), arrival, clean(message.sender) or "MAILER-DAEMON")
    last_reason = ""
    for address, reason in message.recipients:
        if reason != last_reason:
            last_reason = reason
            shown = clean(reason) or "reason unavailable"
            yield f"{'':>{max(_REASON_END - len(shown), 0)}}({shown})\n"
        yield _row("", "", "", clean(address))


def json_lines(messages: Iterable[ListedMessage]) -> Iterator[str]:
    """Yield each message as one line of JSON (postqueue(1), JSON OBJECT FORMAT)."""
    for message in messages:
        yield (
            json.dumps(
                {
                    "queue_name": message.queue_name,
                    "queue_id": message.queue_id,
                    "arrival_time": message.arrived_at // 1_000_000,
                    "message_size": message.size,
                    "forced_expire": message.expired,
                    "sender": clean(message.sender) or "MAILER-DAEMON",
                    "recipients": [_listed_recipient(*recipient) for recipient in message.recipients],
                }
            )
            + "\n"
        )


def _listed_recipient(address: str, reason: str) -> dict[str, str]:
    listed = {"address": clean(address)}
    return {**listed, "delay_reason": clean(reason)} if reason else listed


def clean_json(value: object) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=True)
