"""mailctl map TABLE KEY: what a table says of a key, as `postmap -q`.

Exit status 0 when it is found and 1 when it is not; 75 when the table cannot be asked. With - as the
key each line of standard input is one, and what is found is printed as "key, tab, value".
"""

import sys
from collections.abc import Iterable

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK, EX_TEMPFAIL
from ...formats.listing import clean_json
from ...formats.tables import TableError
from ...host.tables import Tables
from .parser import Parser

_NOT_FOUND = 1


class _Unavailable(MailError):
    """The table cannot be asked now."""

    exit_code = EX_TEMPFAIL


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("map", "Look a key up in a table.")
    parser.add_argument("table", help="type:name, such as hash:/etc/mail/transport")
    parser.add_argument("key", help="what to look up; - reads keys from standard input")
    parser.add_argument(
        "-j", "--json", action="store_true", help="one line of JSON a key; value is null where nothing is"
    )
    options = parser.parse_args(arguments)
    try:
        tables = Tables([options.table], lambda fault: print(f"mailctl: {fault}", file=sys.stderr))
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        if options.json:
            return _as_json(tables, [options.key] if options.key != "-" else (line.rstrip("\n") for line in sys.stdin))
        return _each_line(tables) if options.key == "-" else _one(tables, options.key)
    except TableError as error:
        raise _Unavailable(str(error)) from error


def _one(tables: Tables, key: str) -> int:
    found = tables.look_up(key)
    if found is None:
        return _NOT_FOUND
    print(found)
    return EX_OK


def _as_json(tables: Tables, keys: Iterable[str]) -> int:
    status = _NOT_FOUND
    for key in keys:
        found = tables.look_up(key)
        print(clean_json({"key": key, "value": found}))
        status = status if found is None else EX_OK
    return status


def _each_line(tables: Tables) -> int:
    status = _NOT_FOUND
    for line in sys.stdin:
        key = line.rstrip("\n")
        found = tables.look_up(key)
        if found is not None:
            print(f"{key}\t{found}")
            status = EX_OK
    return status
