"""postqueue: list the queue (-p, -j), and try it now (-f, -i ID, -s SITE)."""

from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...formats.selection import by_origin
from ...host.configuration import load
from ...spool.queue_id import is_queue_id
from ..mailctl.flush import flush
from ..other_modes import mailq


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run the verb."""
    if len(options) != 1 or arguments:
        raise UsageError("one of -p, -j, -f, -i queue_id, -s site is needed")
    (option, value) = options[0]
    config, _ = load(directory)
    if option in ("-p", "-j"):
        return mailq(config, as_json=option == "-j")
    if option == "-i" and not is_queue_id(value):
        raise UsageError(f"Cannot flush mail queue - invalid queue ID: {value}")
    ids = [value] if option == "-i" else []
    domains = [value] if option == "-s" else []
    flush(config, by_origin(ids, (), domains))
    return EX_OK
