"""mailctl flush: try what is deferred now, all of it or what is selected by domain, id or sender.

Several options of one kind are alternatives; of different kinds all must fit.
"""

from ...core.config import Config
from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...formats.selection import Selection, by_origin
from ...host.configuration import load
from ...spool.queue_id import is_queue_id
from .. import daemonless
from ..ask import ask
from .parser import Parser


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("flush", "Try deferred mail now: all of it, or what is selected.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="queue ids; ALL is everything")
    for letter, name, text in (
        ("d", "domain", "with a recipient in this domain who still waits"),
        ("i", "id", "the message with this queue id"),
        ("f", "sender", "from this sender; <> is the null sender"),
    ):
        parser.add_argument(f"-{letter}", f"--{name}", action="append", default=[], metavar=name.upper(), help=text)
    options = parser.parse_args(arguments)
    ids = [*options.ids, *options.id]
    if ids != ["ALL"] and not all(is_queue_id(name) for name in ids):
        raise UsageError("queue ids expected, or ALL")
    config, _ = load(directory)
    selection = by_origin(() if ids == ["ALL"] else ids, options.sender, options.domain)
    return daemonless.with_services(config, lambda: _flush(config, selection))


def _flush(config: Config, selection: Selection) -> int:
    flushed = flush(config, selection)
    print(f"flush: {flushed} message{'' if flushed == 1 else 's'}")
    return EX_OK


def flush(config: Config, selection: Selection) -> int:
    """Ask for an attempt at what is selected; returns at how many messages."""
    answers = ask(config, "public", {"verb": "flush", "limits": selection.rows()})
    return sum(int(answer.get("flushed", 0)) for answer in answers)
