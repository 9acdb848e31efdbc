"""postsuper: hold (-h), release (-H), requeue (-r), delete (-d) and expire (-e, -f) messages.

What Postfix's -s and -p repair at a start is repaired by the queue manager at its own; they do nothing here.
"""

import sys

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...formats.queue_filter import QueueFilter
from ...host.configuration import load
from ...spool.queue_id import is_queue_id
from ..steer import selected, steer

_VERBS = {
    "-d": ("delete", "Deleted"),
    "-h": ("hold", "Placed on hold"),
    "-H": ("release", "Released from hold"),
    "-r": ("requeue", "Requeued"),
    "-e": ("expire", "Expired"),
    "-f": ("expire-now", "Expired"),
}
_QUEUES = {"maildrop", "incoming", "active", "deferred", "hold", "corrupt"}
_WHERE = {"-h": {"maildrop", "incoming", "active", "deferred"}, "-H": {"hold", "active"}}


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run the verb."""
    config, _ = load(directory)
    if odd := set(arguments) - _QUEUES:
        raise UsageError(f"unknown queue name: {', '.join(sorted(odd))}")
    errors: list[str] = []
    for option, value in options:
        if option not in _VERBS:
            print(f"postsuper: {option}: the queue manager does this when it starts", file=sys.stderr)
            continue
        verb, said = _VERBS[option]
        ids = sys.stdin.read().split() if value == "-" else [value]
        is_all = ids == ["ALL"]
        if not is_all and (bad := [queue_id for queue_id in ids if not is_queue_id(queue_id)]):
            raise UsageError(f"invalid queue ID: {bad[0]}")
        if not ids:
            continue
        wanted = QueueFilter(frozenset() if is_all else frozenset(ids), (), (), (), 0, 0, (), tuple(arguments))
        done, faults = steer(config, verb, selected(config, wanted, _WHERE.get(option, _QUEUES - {"corrupt"})))
        errors += faults
        if done:
            print(f"postsuper: {said}: {done} message{'' if done == 1 else 's'}", file=sys.stderr)
    for error in errors:
        print(f"postsuper: {error}", file=sys.stderr)
    return MailError.exit_code if errors else EX_OK
