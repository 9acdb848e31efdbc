"""The modes of sendmail(1) beside submission: mailq (-bp), newaliases (-bi) and -q."""

import os
import sys

from ..core.config import Config
from ..core.errors import MailError, UsageError
from ..core.exitcodes import EX_DATAERR, EX_OK
from ..formats.listing import json_lines, mailq_text
from ..formats.selection import Selection, parse
from ..host.alias_files import source_of
from ..host.configuration import load
from . import daemonless
from .ask import ask
from .output import printing
from .queue_view import messages
from .sendmail_options import Options

_EVERYTHING = Selection()
_INDENT = 12  # of what a terminal has no room for in a row of the listing: below the size


def run(mode: str, directory: str, options: Options) -> int:
    """Run a mode by its letter; returns the exit code. Raises MailError."""
    try:
        selection = parse(options.queue)
    except ValueError as error:
        raise UsageError(str(error)) from error
    config, _ = load(directory)
    if mode == "p":
        return printing(lambda: mailq(config, selection, options.json))
    if mode == "q":
        return flush(config, selection)
    return printing(lambda: newaliases(config))


def mailq(config: Config, selection: Selection = _EVERYTHING, as_json: bool = False) -> int:
    """Print the queue, as Postfix's mailq or `postqueue -j` does."""
    found = messages(config)
    if selection.limits:
        found = (m for m in found if selection.selects(m.queue_id, m.sender, (r[0] for r in m.recipients)))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    texts = (json_lines if as_json else mailq_text)(found)
    sys.stdout.writelines(map(_at_terminal, texts) if sys.stdout.isatty() else texts)
    return EX_OK


def _at_terminal(text: str) -> str:
    """Return rows of the listing as a terminal has room for them; programs read pipes, which get them whole."""
    from .terminal import wrapped  # it costs more than what most listings take

    return "\n".join(wrapped(line, _INDENT) for line in text.split("\n"))


def flush(config: Config, selection: Selection = _EVERYTHING) -> int:
    """Ask for an attempt at everything that is deferred and selected."""
    if selection.is_nothing:
        raise UsageError("-qL and -qQ: no message here is lost or quarantined; `mailctl queue release` frees held ones")
    return daemonless.with_services(config, lambda: _ask_for_attempts(config, selection))


def _ask_for_attempts(config: Config, selection: Selection) -> int:
    for _ in ask(config, "public", {"verb": "flush", "limits": selection.rows()}):
        pass
    return EX_OK


def newaliases(config: Config) -> int:
    """Check the alias files and say what they hold; each fault is named with file and line."""
    code = EX_OK
    for source in dict.fromkeys((*config.alias_maps, *config.alias_database)):
        code = max(code, check_aliases(source))
    return code


def check_aliases(text: str) -> int:
    """Check one source of aliases and say what it holds; returns the exit code. Raises MailError."""
    try:
        source = source_of(text)
        os.stat(source.path)
        source.refresh(lambda fault: print(f"newaliases: {fault}", file=sys.stderr))
        count, longest, total, faults = source.summary()
    except ValueError as error:
        raise MailError(str(error)) from error
    except OSError as error:
        raise MailError(f"{text.rpartition(':')[2]}: {error.strerror or error}") from error
    print(f"{source.path}: {count} aliases, longest {longest} bytes, {total} bytes total")
    return EX_OK if all(fault.harmless for fault in faults) else EX_DATAERR
