"""mailctl trace: the whole story of a message, by its queue id, its Message-Id or an address.

Told from the log: maillog_file and what was rotated from it, or the system's mail log, or the journal;
and from the queue, for what still waits there.
"""

import json
import os
import re
import sys

from ...core.errors import MailError
from ...core.exitcodes import EX_OK
from ...formats.advice import advice
from ...formats.log_event import event as log_event
from ...formats.mail_trace import Event, Reader, families, origin, stories
from ...formats.queue_reader import read_history
from ...host.configuration import load
from ...spool import message_file
from ...spool.store import Store
from ..terminal import BAD, GOOD, ODD, painted, wrapped
from .log_source import NoLog, source_of_log
from .parser import Parser

_WIDTH = 7
_COLOURS = {"sent": GOOD, "deferred": ODD, "bounced": BAD}
_OUTCOME = re.compile(rf"\bstatus=({'|'.join(_COLOURS)})\b")


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("trace", "Tell the whole story of a message: retries, aliases, bounces, restarts.")
    parser.add_argument("what", metavar="ID|MESSAGE-ID|ADDRESS")
    parser.add_argument("--log", action="append", default=[], metavar="FILE", help="read this log; - is standard input")
    parser.add_argument("-j", "--json", action="store_true", help="one line of JSON a message")
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    lines, source = source_of_log(config, options.log)
    reader = Reader(config.syslog_name)
    wanted = families(reader.events(lines()), options.what)
    if not wanted and "@" not in options.what:  # a user of this host, as mail is addressed to him
        wanted = families(reader.events(lines()), f"{options.what}@{config.myorigin}")
    found = stories(reader.events(lines()), wanted)
    store = Store(config.queue_directory)
    rows = [_told(queue_id, events, found, store) for queue_id, events in found.items()]
    rows += [_told(queue_id, [], found, store) for queue_id in wanted - found.keys() if _state(store, queue_id)]
    if not rows:
        raise NoLog(f"{options.what}: nothing in {source}, and not in the queue")
    for number, row in enumerate(rows):
        sys.stdout.write(json.dumps(row) + "\n" if options.json else "\n" * bool(number) + _text(row))
    return EX_OK


# --- one message -----------------------------------------------------------------------------


def _state(store: Store, queue_id: str) -> str:
    """Return where a message is in the queue; "" when it is not, or when that is not ours to know."""
    try:
        return store.find(queue_id) or ""
    except OSError:
        return ""


def _told(queue_id: str, events: list[Event], found: dict[str, list[Event]], store: Store) -> dict[str, object]:
    parent, how = origin(queue_id, found)
    state = _state(store, queue_id)
    rows = [{"time": event.time, "service": event.service, "text": event.text} for event in events]
    if not rows and state:
        rows = _history(store, state, queue_id)
    told: dict[str, object] = {"queue_id": queue_id, "queue_name": state or None}
    advised = _advice(queue_id, rows)
    more = ({"parent": parent, "how": how} if parent else {}) | ({"advice": advised} if advised else {})
    return told | more | {"events": rows}


def _advice(queue_id: str, rows: list[dict[str, str]]) -> str:
    """Return what to do about the last attempt, where that did not bring the message to its end."""
    attempts = [log_event(f"{queue_id}: {row['text']}") for row in rows]
    last = next((attempt for attempt in reversed(attempts) if attempt["event"] == "delivery"), None)
    return advice(last["dsn"], last.get("text", "")) if last and last["status"] != "sent" else ""


def _history(store: Store, state: str, queue_id: str) -> list[dict[str, str]]:
    """Return the attempts that the queue file remembers, for a message of which the log knows nothing any more."""
    try:
        descriptor = store.open(state, queue_id)
        try:
            history = message_file.read_history(descriptor, message_file.read_head(descriptor))
        finally:
            os.close(descriptor)
    except (OSError, MailError):
        return []
    return [
        {"time": stamp, "service": "queue", "text": f"to=<{to}>, relay={relay}, dsn={status}, status={outcome} ({why})"}
        for stamp, to, outcome, status, relay, why in read_history(history)
    ]


def told_line(when: str, service: str, text: str) -> str:
    """Return a line of the log as a story shows it, with what came of an attempt in its colour."""
    head = f"  {when}  {service:<{_WIDTH}} "
    line = wrapped(head + text, len(when) + 4)
    found = _OUTCOME.search(line)
    return line if not found else line.replace(found[0], painted(found[0], _COLOURS[found[1]]), 1)


def _text(row: dict[str, object]) -> str:
    parent = f", {row['how']}, from {row['parent']}" if "parent" in row else ""
    now = f"now in {row['queue_name']}" if row["queue_name"] else "not in the queue now"
    lines = [wrapped(f"{row['queue_id']}{parent} ({now})", 2)]
    events = row["events"]
    assert isinstance(events, list)
    lines += [told_line(event["time"], event["service"], event["text"]) for event in events]
    lines += [wrapped(f"  {row['advice']}", 2)] if "advice" in row else []
    return "".join(f"{line}\n" for line in lines)
