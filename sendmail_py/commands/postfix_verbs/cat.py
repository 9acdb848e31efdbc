"""postcat: show a queued message: its envelope (-e), header (-h), body (-b); all without these. -q ID names it."""

import sys

from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...host.configuration import load
from ...spool.queue_id import is_queue_id
from ..mailctl import queue_show

_PARTS = ("-e", "-h", "-b")


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run the verb."""
    config, _ = load(directory)
    ids = [value for option, value in options if option == "-q"] + arguments
    if not ids or not all(is_queue_id(queue_id) for queue_id in ids):
        raise UsageError("queue ids are needed: postcat -q ID; a queue file can be read as it is, with less")
    parts = {option for option, _ in options if option in _PARTS} or set(_PARTS)
    for queue_id in ids:
        if "-e" in parts:
            print(f"*** ENVELOPE RECORDS {queue_id} ***", flush=True)
            queue_show.show(config, [queue_id])
            print(f"*** MESSAGE CONTENTS {queue_id} ***", flush=True)
        sys.stdout.flush()
        queue_show.export(config, queue_id, header="-h" in parts, body="-b" in parts)
        if "-e" in parts:
            print(f"*** MESSAGE FILE END {queue_id} ***")
    return EX_OK
