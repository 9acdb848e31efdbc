"""mailctl queue show and summary: one message's story, and the whole queue in one table.

A message is read from the disk, with or without services, and only by root and the queue's owner: it
may hold what is nobody else's business.
"""

import json
import os
import sys
import time
from typing import Any

from ...core.config import Config
from ...core.envelope import Envelope
from ...core.errors import MailError, QueueFileError
from ...core.exitcodes import EX_NOPERM, EX_OK, EX_UNAVAILABLE
from ...formats.queue_reader import read_history
from ...formats.queue_story import story, story_text
from ...formats.queue_summary import summary, summary_rows, summary_text
from ...spool import message_file
from ...spool.layout import DEFERRED, INCOMING, MAILDROP
from ...spool.store import Store
from ..queue_view import messages
from ..terminal import width, wrapped
from .parser import Parser

_BLOCK = 1 << 18
_INDENT = 13
_LARGEST_HEADER = 1 << 24
_STATES = ("maildrop", "incoming", "active", "deferred", "hold")


class _NotThere(MailError):
    """There is no such message."""

    exit_code = EX_UNAVAILABLE


class _NotYours(MailError):
    """The queue is another user's."""

    exit_code = EX_NOPERM


def show(config: Config, arguments: list[str]) -> int:
    """Print the story of messages, or the message itself."""
    parser = Parser("queue show", "Tell the story of messages: envelope, recipients, attempts.")
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("-j", "--json", action="store_true", help="one line of JSON a message")
    parser.add_argument("--eml", action="store_true", help="print the message itself instead")
    options = parser.parse_args(arguments)
    store = _store(config)
    for number, queue_id in enumerate(options.ids):
        state, descriptor = _open(store, queue_id)
        try:
            envelope = message_file.read_head(descriptor)
            if options.eml:
                _export(descriptor, envelope)
                continue
            status = os.fstat(descriptor)
            due = status.st_mtime if state == DEFERRED else 0.0
            if state == MAILDROP:
                envelope.arrived_at, envelope.submitter.uid = status.st_ctime_ns // 1000, status.st_uid
            found = story(envelope, queue_id, state, read_history(message_file.read_history(descriptor, envelope)), due)
        except QueueFileError as error:
            raise _NotThere(f"{state}/{queue_id}: {error}") from error
        finally:
            os.close(descriptor)
        lead = "\n" if number and not options.json else ""
        sys.stdout.write(lead + (json.dumps(found) + "\n" if options.json else _told(found)))
    return EX_OK


def _told(found: dict[str, Any]) -> str:
    return "".join(f"{wrapped(line, _INDENT)}\n" for line in story_text(found, time.time()).splitlines())


def _store(config: Config) -> Store:
    top = config.queue_directory
    try:
        owner = os.stat(f"{top}/{INCOMING}").st_uid
    except PermissionError:
        owner = -1
    except OSError as error:
        raise _NotThere(f"queue {top}: {error.strerror}") from error
    if os.getuid() not in (0, owner):
        raise _NotYours("only root and the owner of the queue may read messages in it")
    return Store(top)


def _open(store: Store, queue_id: str) -> tuple[str, int]:
    """Open a message wherever it is; it may be moving."""
    for _ in range(5):
        state = store.find(queue_id)
        if state is None:
            path = dict(store.originals.paths()).get(queue_id)
            if path is None:
                break
            return MAILDROP, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return state, store.open(state, queue_id)
        except FileNotFoundError:
            continue
    raise _NotThere(f"{queue_id}: not in the queue; `mailctl trace {queue_id}` asks the log")


def export(config: Config, queue_id: str, header: bool, body: bool) -> None:
    """Print the header, the body, or both of a message."""
    _, descriptor = _open(_store(config), queue_id)
    try:
        envelope = message_file.read_head(descriptor)
        split = os.pread(descriptor, min(envelope.size, _LARGEST_HEADER), envelope.content_offset).find(b"\n\n") + 1
        split = split or envelope.size
        if header:
            _export(descriptor, envelope, 0, envelope.size if body else split)
        elif body:
            _export(descriptor, envelope, split + 1, envelope.size)
    except QueueFileError as error:
        raise _NotThere(f"{queue_id}: {error}") from error
    finally:
        os.close(descriptor)


def _export(descriptor: int, e: Envelope, start: int = 0, size: int = -1) -> None:
    sys.stdout.flush()
    at, end = e.content_offset + start, e.content_offset + (e.size if size < 0 else size)
    while at < end and (block := os.pread(descriptor, min(_BLOCK, end - at), at)):
        sys.stdout.buffer.write(block)
        at += len(block)
    sys.stdout.buffer.flush()


def table(config: Config, arguments: list[str]) -> int:
    """Print the queue by domain and age."""
    parser = Parser("queue summary", "Count recipients that wait, by domain and age in minutes, as qshape does.")
    parser.add_argument("-s", "--sender", action="store_true", help="messages by the domain of their sender")
    parser.add_argument("--queue", action="append", default=[], choices=_STATES, help="only this queue")
    parser.add_argument("-j", "--json", action="store_true", help="JSON")
    options = parser.parse_args(arguments)
    wanted = (m for m in messages(config) if not options.queue or m.queue_name in options.queue)
    found = summary(wanted, time.time(), options.sender)
    sys.stdout.write(json.dumps(summary_rows(found)) + "\n" if options.json else summary_text(found, width()))
    return EX_OK
