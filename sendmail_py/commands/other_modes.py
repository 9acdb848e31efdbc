"""The modes of sendmail(1) beside submission: mailq (-bp), newaliases (-bi) and -q."""

import os
import sys

from ..core.config import Config
from ..core.errors import MailError
from ..core.exitcodes import EX_DATAERR, EX_OK
from ..formats.aliases import Kind, parse
from ..formats.listing import json_lines, mailq_text
from ..host.alias_files import path_of
from ..host.configuration import load
from .ask import ask_one
from .queue_view import messages

# What stands before a target in the file, for sendmail's count of bytes.
_MARKS = {Kind.INCLUDE: ":include:", Kind.COMMAND: "|"}


def run(mode: str, directory: str, as_json: bool = False) -> int:
    """Run a mode by its letter; returns the exit code. Raises MailError."""
    config, _ = load(directory)
    if mode == "p":
        return mailq(config, as_json)
    return {"i": newaliases, "q": flush}[mode](config)


def mailq(config: Config, as_json: bool = False) -> int:
    """Print the queue, as Postfix's mailq or `postqueue -j` does; a reader that goes away is no error."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        for text in (json_lines if as_json else mailq_text)(messages(config)):
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    return EX_OK


def flush(config: Config) -> int:
    """Ask for an attempt at everything that is deferred."""
    ask_one(config, "public", {"verb": "flush"})
    return EX_OK


def newaliases(config: Config) -> int:
    """Check the alias files and say what they hold; each fault is named with file and line."""
    code = EX_OK
    for source in config.alias_maps:
        code = max(code, _check(source))
    sys.stdout.flush()
    return code


def _check(source: str) -> int:
    try:
        path = path_of(source)
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            entries, faults = parse(file.read())
    except ValueError as error:
        raise MailError(str(error)) from error
    except OSError as error:
        raise MailError(f"{path}: {error.strerror}") from error
    for fault in faults:
        print(f"newaliases: {path}, line {fault.line}: {fault.text}", file=sys.stderr)
    lengths = [len(", ".join(_MARKS.get(t.kind, "") + t.text for t in entry.targets)) for entry in entries]
    total = sum(lengths) + sum(len(entry.name) for entry in entries)
    print(f"{path}: {len(entries)} aliases, longest {max(lengths, default=0)} bytes, {total} bytes total")
    return EX_DATAERR if faults else EX_OK
