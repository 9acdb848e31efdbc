"""mailctl queue: list, count, flush, and the verbs that steer what is queued.

The verbs that change something name messages by id, by what is known of them, or all of them by
ALL: who names nothing gets a usage error, so that a slip of the keys deletes nothing.
"""

import argparse
import re
import sys

from ...core.config import Config
from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...formats.listing import clean_json
from ...formats.queue_filter import QueueFilter
from ...host.configuration import load
from ...spool.queue_id import is_queue_id
from ..other_modes import mailq
from ..queue_view import counts
from ..steer import selected, steer
from . import queue_show
from .parser import Parser

_ALL = "ALL"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATES = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
# What a verb does, and the queues whose messages it is for.
_STEERING = {
    "hold": ("park messages: they wait until they are released", _STATES[:4]),
    "release": ("let parked messages go on", ("maildrop", "hold", "active")),
    "requeue": ("rewrite addresses anew and try at once", _STATES[1:5]),
    "delete": ("remove messages for good, with no bounce", _STATES),
    "expire": ("make the next attempt the last one, then bounce", _STATES[:-1]),
    "expire-now": ("the same with an attempt at once, also for parked ones", _STATES[:-1]),
}
_READING = {"show": queue_show.show, "summary": queue_show.table}
_HELP = f"""\
usage: mailctl queue VERB ...

  list              every message and why it waits, as mailq shows it
  count             how many there are
  summary           recipients that wait, by domain and age, as qshape
  show ID...        the story of messages: envelope, recipients, attempts;
                    with --eml the message itself
  flush [ID...]     try deferred messages now
  hold WHICH        {_STEERING["hold"][0]}
  release WHICH     {_STEERING["release"][0]}
  requeue WHICH     {_STEERING["requeue"][0]}
  delete WHICH      {_STEERING["delete"][0]}
  expire WHICH      {_STEERING["expire"][0]}
  expire-now WHICH  {_STEERING["expire-now"][0]}

WHICH is queue ids, - (ids on standard input) or ALL; --sender, --recipient,
--domain, --older, --newer, --match, --queue. All that is given must fit.
--dry-run prints the ids and changes nothing.

    mailctl queue hold --sender news@example.org
    mailctl queue delete --domain far.example --older 2d --dry-run
    mailctl queue release ALL"""


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl queue VERB`."""
    verb, *rest = arguments or ["?"]
    if verb in ("-h", "--help", "help"):
        print(_HELP)
        return EX_OK
    config, _ = load(directory)
    if verb in _STEERING:
        return _steer(config, verb, rest)
    if verb == "flush":
        from .flush import main as flush

        return flush(rest, directory)
    if verb == "list":
        parser = Parser("queue list", "List the queue, as mailq does.")
        parser.add_argument("-j", "--json", action="store_true", help="one line of JSON a message, as postqueue -j")
        return mailq(config, as_json=parser.parse_args(rest).json)
    if verb == "count":
        parser = Parser("queue count", "Print the number of queued messages.")
        parser.add_argument("-j", "--json", action="store_true", help="the number in each queue, as JSON")
        return count(config, parser.parse_args(rest).json)
    if verb in _READING:
        return _READING[verb](config, rest)
    verbs = ", ".join(("list", "count", "summary", "show", "flush", *_STEERING))
    raise UsageError(f"queue: one of {verbs} expected; `mailctl queue --help` explains them")


def count(config: Config, as_json: bool = False) -> int:
    """Print the number of queued messages."""
    found = counts(config)
    print(clean_json(found) if as_json else sum(found.values()))
    return EX_OK


def _checked(ids: list[str]) -> list[str]:
    if not all(map(is_queue_id, ids)):
        raise UsageError("queue ids expected, or ALL")
    return ids


# --- the verbs that change something ---------------------------------------------------------


def _steer(config: Config, verb: str, arguments: list[str]) -> int:
    options = _options(verb, arguments)
    ids = selected(config, options.filter, _STEERING[verb][1])
    if options.dry_run:
        sys.stdout.writelines(f"{queue_id}\n" for queue_id in ids)
        print(f"{verb}: would be {_messages(len(ids))}", file=sys.stderr)
        return EX_OK
    done, errors = steer(config, verb, ids)
    print(f"{verb}: {_messages(done)}")
    for error in errors:
        print(f"mailctl: {error}", file=sys.stderr)
    return MailError.exit_code if errors else EX_OK


def _messages(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"


def _options(verb: str, arguments: list[str]) -> argparse.Namespace:
    what, states = _STEERING[verb]
    parser = Parser(f"queue {verb}", f"{what[0].upper()}{what[1:]}. All that is given must fit; ALL is every message.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="queue ids, or ALL; - reads them from standard input")
    more: dict[str, str] = {"action": "append", "metavar": "A"}
    parser.add_argument("--sender", **more, help="an address, @domain, or <>", default=[])  # type: ignore[arg-type]
    parser.add_argument("--recipient", **more, help="an address or @domain", default=[])  # type: ignore[arg-type]
    parser.add_argument("--domain", **more, help="a recipient's domain; .domain: below it", default=[])  # type: ignore[arg-type]
    parser.add_argument("--older", type=_age, default=0, metavar="AGE", help="at least this old, such as 90m or 2d")
    parser.add_argument("--newer", type=_age, default=0, metavar="AGE", help="not yet so old")
    parser.add_argument(
        "--match",
        type=_pattern,
        action="append",
        default=[],
        help="an expression found in sender, recipient or reason",
    )
    parser.add_argument("--queue", action="append", default=[], choices=states, help="only in this queue")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the ids, and change nothing")
    options = parser.parse_args(arguments)
    options.filter = _filter(options)
    return options


def _filter(options: argparse.Namespace) -> QueueFilter:
    ids = [name for word in options.ids for name in (sys.stdin.read().split() if word == "-" else [word])]
    is_all = _ALL in ids
    found = QueueFilter(
        frozenset() if is_all else frozenset(_checked(ids)),
        tuple(options.sender),
        tuple(options.recipient),
        tuple(options.domain),
        options.older,
        options.newer,
        tuple(options.match),
        tuple(options.queue),
    )
    if not (options.ids or found.needs_messages or found.states):
        raise UsageError("name messages: by ids, by what they are, or ALL")
    if options.ids and not ids:
        raise UsageError("no ids on standard input")
    return found


def _age(text: str) -> int:
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    if not (number.isascii() and number.isdigit()) or not int(number):
        raise argparse.ArgumentTypeError(f"{text}: an age such as 90m, 12h or 2d expected")
    return int(number) * _UNITS[unit]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
