"""mailctl: finds the verb and the configuration directory, and ends with an exit code.

A verb is a module of this package with main(arguments, directory) -> exit code; it may raise
MailError, which becomes one line.
"""

import importlib
import os
import sys
from typing import NoReturn

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...host.configuration_file import choose_directory
from ..output import printing

# verb: (module, needs a dependency, what it does)
VERBS = {
    "start": ("start", True, "start the services"),
    "stop": ("control", False, "stop the services; deliveries in progress finish"),
    "reload": ("control", False, "read main.cf again"),
    "status": ("control", False, "show the services and the queue's size"),
    "flush": ("queue", False, "try everything that is deferred now"),
    "queue": ("queue", True, "list, count, flush, hold, release"),
    "test-delivery": ("test_delivery", False, "say what would become of mail to a recipient, without delivering"),
    "map": ("map", False, "look a key up in a table"),
    "config": ("config", False, "show or change main.cf"),
    "init": ("init", False, "write an instance that lives in one directory (with -c DIR)"),
    "setup": ("setup", False, "create users, queue and main.cf (root)"),
}


def main(words: list[str], root: str) -> NoReturn:
    """Run mailctl and end the process; root is our tree."""
    try:
        code = printing(lambda: _run(words, root))
    except MailError as error:
        print(f"mailctl: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


def _run(words: list[str], root: str) -> int:
    option, rest = "", words
    if rest[:1] == ["-c"]:
        if len(rest) < 2:
            raise UsageError("option -c needs a directory")
        option, rest = rest[1], rest[2:]
    if not rest or rest[0] in ("-h", "--help", "help"):
        print(usage())
        return EX_OK if rest else UsageError.exit_code
    verb = VERBS.get(rest[0])
    if verb is None:
        raise UsageError(f"unknown verb {rest[0]}; `mailctl help` lists them")
    if verb[1] and sys.flags.no_site:
        from ..interpreter import run_slow

        run_slow(root, "mailctl", words)
    directory = os.path.abspath(option) if option else choose_directory()
    code: int = importlib.import_module(f"sendmail_py.commands.mailctl.{verb[0]}").main(
        rest if verb[0] in ("control",) or rest[0] == "flush" else rest[1:], directory
    )
    return code


def usage() -> str:
    """Return the list of verbs."""
    lines = [f"  {name:<13} {text}" for name, (_, _, text) in VERBS.items()]
    return "\n".join(["usage: mailctl [-c DIR] VERB ...", "", *lines])
