"""postconf, postqueue, postsuper, postcat, postmap, postalias, postfix: thin names on mailctl's code.

Installed only where they are asked for. Options are Postfix's, as getopt reads them; one that means
nothing here is refused by name, never ignored. Whatever fails is one line "NAME: fatal: ...".
"""

import getopt
import importlib
import sys
from typing import NoReturn

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_UNAVAILABLE
from ...host.configuration_file import choose_directory
from ..output import printing

# name: (module, needs a dependency, its options)
VERBS = {
    "postconf": ("conf", False, "c:dnehxXHjmla#pv"),
    "postqueue": ("queue", False, "c:fi:jps:v"),
    "postsuper": ("super", True, "c:d:h:H:r:e:f:psSv"),
    "postcat": ("cat", True, "c:q:bdehnov"),
    "postmap": ("tables", False, "c:q:NfFhbmnoprsuUvwi"),
    "postalias": ("tables", False, "c:q:Nfnoprsuvwi"),
    "postfix": ("control", True, "c:Dv"),
}
_FATAL = 1
_HARMLESS = ("-v", "-D")  # ask for more of a log that says everything


def main(name: str, words: list[str], root: str) -> NoReturn:
    """Run a verb by its name and end the process; root is our tree."""
    try:
        code = printing(lambda: _run(name, words, root))
    except (getopt.GetoptError, MailError) as error:
        print(f"{name}: fatal: {error}", file=sys.stderr)
        # postqueue alone tells by its status that the services are down
        code = EX_UNAVAILABLE if getattr(error, "exit_code", 0) == EX_UNAVAILABLE and name == "postqueue" else _FATAL
    sys.exit(code)


def _run(name: str, words: list[str], root: str) -> int:
    if name not in VERBS:
        raise UsageError(f"there is no such verb; there are {', '.join(VERBS)}")
    module, is_slow, letters = VERBS[name]
    if is_slow and sys.flags.no_site:
        from ..interpreter import run_slow

        run_slow(root, name, words)
    options, arguments = getopt.gnu_getopt(words, letters) if name == "postconf" else getopt.getopt(words, letters)
    directory = choose_directory()
    kept = []
    for option, value in options:
        if option == "-c":
            directory = value
        elif option not in _HARMLESS:
            kept.append((option, value))
    code: int = importlib.import_module(f".{module}", __package__).main(name, kept, arguments, directory)
    return code
