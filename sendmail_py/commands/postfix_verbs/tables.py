"""postmap and postalias: look a key up (-q), or see that a table can be read: nothing is compiled here."""

import sys

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...formats.tables import TEXT_TYPES, split_file
from ...host.alias_files import source_of
from ...host.tables import open_table
from ..mailctl import map as mailctl_map
from ..other_modes import check_aliases

_CHANGING = {"-i": "add the line to the text file, it is used at once", "-s": "the text file shows what is in it"}


class _CannotRead(MailError):
    """The table is not there, or not as it should be."""


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run postmap or postalias."""
    keys = [value for option, value in options if option == "-q"]
    for option, _value in options:
        if option in _CHANGING:
            raise UsageError(f"{option}: {_CHANGING[option]}")
    if not arguments:
        raise UsageError("a table is needed, such as hash:/etc/postfix/transport")
    tables = [":".join(split_file(argument)) for argument in arguments]
    if keys:
        return (_alias if name == "postalias" else _look_up)(tables, keys[-1], directory)
    for table in tables:
        if name == "postalias":
            check_aliases(table)
        else:
            _check(table)
    return EX_OK


def _look_up(tables: list[str], key: str, directory: str) -> int:
    for table in tables:
        if mailctl_map.main([table, "--", key] if key != "-" else [table, "-"], directory) == EX_OK:
            return EX_OK
    return 1


def _alias(tables: list[str], key: str, directory: str) -> int:
    for table in tables:
        source = source_of(table)
        source.refresh(lambda fault: print(f"postalias: warning: {fault}", file=sys.stderr))
        alias = source.look_up(key.lower())
        if alias is not None:
            print(", ".join(map(str, alias.targets)))
            return EX_OK
    return 1


def _check(table: str) -> None:
    """Read a table as whoever uses it will; what is odd in it is a warning, as with postmap."""
    kind, path = split_file(table)
    if kind not in TEXT_TYPES:
        raise UsageError(f"{table}: a table of this type is used as it is")
    try:
        open_table(table).refresh(lambda fault: print(f"postmap: warning: {fault}", file=sys.stderr))
    except OSError as error:
        raise _CannotRead(f"open {path}: {error.strerror or error}") from error
