"""The queue as mailq and `postqueue -j` print it, text that programs parse: Postfix's to the octet.

Entries come and go one at a time, so a long queue costs no memory. One line of sendmail's own
listing (Total requests) stands before the last for programs that look for that.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .trace_headers import clean

_REASON_END = 78
_STATES = {"active": "*", "hold": "!"}
_LONGEST = 4000  # characters of an address or a reason


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


def shown(text: str) -> str:
    """Return an address or a reason as far as a listing shows it."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def mailq_text(
    messages: Iterable[ListedMessage], local: Callable[[float], time.struct_time] = time.localtime
) -> Iterator[str]:
    """Yield mailq's listing, a message at a time; local turns seconds into the reader's time."""
    count = octets = 0
    second, arrival = -1, ""
    for message in messages:
        lead = "\n" if count else _HEADING
        count += 1
        octets += message.size
        if message.arrived_at // 1_000_000 != second:  # many come in one second
            second = message.arrived_at // 1_000_000
            arrival = time.asctime(local(second))
        yield lead + _message_text(message, arrival)
    if not count:
        yield "Mail queue is empty\n"
        return
    plural = "" if count == 1 else "s"
    yield f"\n\t\tTotal requests: {count}\n-- {octets // 1024} Kbytes in {count} Request{plural}.\n"


def _row(queue_id: str, size: str | int, arrival: str, address: str) -> str:
    return f"{queue_id:<11} {size:>7} {arrival:<20.20} {address}\n"


_HEADING = _row("-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------")
_BEFORE_RECIPIENT = _row("", "", "", "")[:-1]


def _message_text(message: ListedMessage, arrival: str) -> str:
    state = _STATES.get(message.queue_name, "") + ("#" if message.expired else "")
    text = _row(message.queue_id + state, message.size, arrival, clean(message.sender) or "MAILER-DAEMON")
    last_reason = ""
    rows = []
    for address, reason in message.recipients:
        if reason != last_reason:
            last_reason = reason
            why = f"({clean(reason) or 'reason unavailable'})"
            rows.append(f"{why:>{_REASON_END}}\n")
        rows.append(f"{_BEFORE_RECIPIENT}{clean(address)}\n")
    return text + "".join(rows)


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
