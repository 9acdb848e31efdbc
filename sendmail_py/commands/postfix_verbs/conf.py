"""postconf: show and change main.cf. There is no master.cf, and what asks for it is refused.

Ansible's roles set one parameter at a time: what only misses another one yet is written with a warning.
"""

from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...formats.tables import TYPES
from ..mailctl import config

# The release of Postfix whose parameters and behaviour ours follow: programs ask, to know what they may set.
MAIL_VERSION = "3.7.0"
_FACTS = {"-m": TYPES, "-l": ("dotlock", "fcntl"), "-a": ("dovecot", "file")}
_PASSED = ("-d", "-n", "-e", "-X", "-x", "-h", "-H", "-j")


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run the verb."""
    letters = [option for option, _ in options if option != "-p"]
    for letter in letters:
        if letter in _FACTS:
            print("\n".join(sorted(_FACTS[letter])))
            return EX_OK
    if "-#" in letters:
        raise UsageError("-#: use -X, which removes the line; no line is turned into a comment here")
    if any("=" in argument for argument in arguments) and not {"-e", "-X"} & set(letters):
        letters.append("-e")
    if "mail_version" in arguments and not {"-e", "-X"} & set(letters):
        arguments = [argument for argument in arguments if argument != "mail_version"]
        shown = {"-h": MAIL_VERSION, "-H": "mail_version"}
        line = next((shown[letter] for letter in letters if letter in shown), f"mail_version = {MAIL_VERSION}")
        print(line, flush=True)
        if not arguments:
            return EX_OK
    try:
        return config.run(
            [*(letter for letter in letters if letter in _PASSED), *_separated(arguments)], directory, is_step=True
        )
    except OSError as error:
        raise MailError(f"{error.filename or directory}: {error.strerror}") from error


def _separated(arguments: list[str]) -> list[str]:
    return ["--", *arguments] if arguments else []
