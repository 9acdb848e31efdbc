"""mailctl send-test ADDRESS: send a message, follow it to the end of its first attempt, and explain what came of it.

Exit status 0 when it was delivered or handed over, 75 while it waits, 1 when it was refused.
"""

import os
import time
from typing import Any

from ...core.config import Config
from ...core.exitcodes import EX_OK, EX_TEMPFAIL
from ...formats.advice import advice
from ...formats.listing import clean_json
from ...formats.log_event import event as log_event
from ...formats.mail_trace import Event, Reader, families, origin, stories
from ...formats.trace_headers import rfc5322_date
from ...host.configuration import load
from .. import sendmail, sendmail_options
from ..ask import NotRunning, Unlisted, ask_one
from ..terminal import BAD, GOOD, ODD, painted, wrapped
from .log_source import source_of_log
from .parser import Parser
from .trace import told_line

_DELIVERED, _WAITS, _REFUSED = "delivered", "waits", "refused"
_CODES = {_DELIVERED: EX_OK, _WAITS: EX_TEMPFAIL, _REFUSED: 1}
_COLOURS = {_DELIVERED: GOOD, _WAITS: ODD, _REFUSED: BAD}
_TEXT = """\
From: {sender}
To: {recipient}
Subject: Test of sendmail-py on {host}
Date: {date}
Message-ID: {message_id}
Auto-Submitted: auto-generated

This is a test that an administrator of {host} has sent with `mailctl send-test`.
"""


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("send-test", "Send a message, follow it, and explain what came of it.")
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("-f", "--sender", default="", metavar="ADDRESS", help="the sender (default: who runs this)")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    message_id = f"<send-test.{time.time_ns()}.{os.getpid()}@{config.myhostname}>"
    is_running = _is_running(config)
    if not is_running and not options.json:
        waits = "The services are not running: the message will wait in maildrop/ until `mailctl start`."
        print(wrapped(waits, 2), flush=True)
    _send(config, directory, options.address, options.sender, message_id)
    if not options.json:
        print(wrapped(f"sent {message_id} to <{options.address}>", 2), flush=True)
    events, attempts = _deliveries(config, message_id)
    if options.json:
        told = [{"time": e.time, "service": e.service, "queue_id": e.queue_id, "text": e.text} for e in events]
        print(clean_json({"message_id": message_id, "running": is_running, "attempts": attempts, "events": told}))
    else:
        _tell(events, attempts)
    return _CODES[attempts[-1]["outcome"]] if attempts else EX_TEMPFAIL


def _is_running(config: Config) -> bool:
    try:
        ask_one(config, "control", {"verb": "status"}, timeout=5)
    except NotRunning:
        return False
    except Unlisted:
        return True  # nobody tells this user otherwise
    return True


def _send(config: Config, directory: str, recipient: str, sender: str, message_id: str) -> None:
    """Submit as sendmail -odi does, which waits until the first attempt has ended."""
    now = time.time()
    text = _TEXT.format(
        sender=sender or f"postmaster@{config.myorigin}",
        recipient=recipient,
        host=config.myhostname,
        date=rfc5322_date(int(now), time.localtime(now).tm_gmtoff),
        message_id=message_id,
    )
    words = ["-i", "-odi", *(["-f", sender] if sender else []), "--", recipient]
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    sendmail.submit(sendmail_options.parse(words, "sendmail"), directory, text.encode("utf-8", "surrogateescape"))


def _deliveries(config: Config, message_id: str) -> tuple[list[Event], list[dict[str, Any]]]:
    """Return what the log says of the message, and what each attempt came to."""
    lines, _ = source_of_log(config, [])
    reader = Reader(config.syslog_name)
    found = stories(reader.events(lines()), families(reader.events(lines()), message_id))
    events = [event for story in found.values() for event in story]
    reports = {queue_id for queue_id in found if "notification" in origin(queue_id, found)[1]}
    rows = [log_event(f"{event.queue_id}: {event.text}") for event in events if event.queue_id not in reports]
    return events, [_attempt(row) for row in rows if row["event"] == "delivery"]


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    word = {"sent": _DELIVERED, "deferred": _WAITS}.get(row["status"], _REFUSED)
    said = row.get("text", "")
    hint = "" if word == _DELIVERED else advice(row["dsn"], said)
    return {"outcome": word, "to": row["to"], "relay": row["relay"], "dsn": row["dsn"], "said": said, "advice": hint}


def _tell(events: list[Event], attempts: list[dict[str, Any]]) -> None:
    for event in events:
        print(told_line(event.time, event.service, f"{event.queue_id}: {event.text}"))
    for row in attempts:
        outcome, said = row["outcome"], f"by {row['relay']}: {row['said']}"
        if outcome != _DELIVERED:
            said = f"{row['dsn']} {row['said']}"
        line = wrapped(f"{outcome}: <{row['to']}>{' ' if outcome == _DELIVERED else ': '}{said}", 2)
        print(line.replace(outcome, painted(outcome, _COLOURS[outcome]), 1))
        if row["advice"]:
            print(wrapped(f"  {row['advice']}", 2))
    if not attempts:
        print("No attempt has been made yet; `mailctl queue list` shows what waits.")
