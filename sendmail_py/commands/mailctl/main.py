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
from ..terminal import HEAD, painted, wrapped

# verb: (module, needs a dependency, what it does); the groups are those of the help.
_GROUPS: dict[str, dict[str, tuple[str, bool, str]]] = {
    "The services": {
        "start": ("start", True, "start them"),
        "stop": ("control", False, "stop them; deliveries in progress finish"),
        "reload": ("control", False, "read main.cf again; one with a fault changes nothing"),
        "status": ("status", False, "services, queue, certificates, logins, last errors"),
        "check": ("check", True, "what keeps mail from coming and going, and its repair"),
    },
    "Messages": {
        "queue": ("queue", True, "list, show, summary, count, hold, release, delete ..."),
        "flush": ("flush", False, "try what is deferred now: all, -d DOMAIN, -i ID, -f SENDER"),
        "trace": ("trace", False, "a message's story, by queue id, Message-Id or address"),
        "send-test": ("send_test", False, "send a message, follow it, and explain what came of it"),
        "test-delivery": ("test_delivery", False, "say what would become of mail, and deliver nothing"),
        "tls-probe": ("tls_probe", True, "say what TLS mail to a domain would have, and why"),
    },
    "The configuration": {
        "config": ("config", False, "show, explain or change main.cf"),
        "import": ("import_", True, "take over that of Postfix, msmtp or ssmtp"),
        "map": ("map", False, "look a key up in a table"),
        "passwd": ("passwd", False, "users of the SMTP server: add, remove, list, verify"),
        "oauth": ("oauth", True, "logins by OAuth: login, list, test, remove"),
        "dkim": ("dkim", True, "keys of DKIM signatures: keygen, show, check"),
    },
    "Making an instance": {
        "init": ("init", False, "one that lives in one directory (with -c DIR)"),
        "setup": ("setup", False, "the system's: users, queue and main.cf (root)"),
    },
}
VERBS = {name: verb for group in _GROUPS.values() for name, verb in group.items()}
# Verbs without options of their own to explain: what they take, and what they do.
_SIMPLE = {
    "start": ("[--foreground]", "Start the services, and return when they work; --foreground: stay, for a supervisor."),
    "stop": ("", "Stop the services. Deliveries in progress finish, for at most stop_timeout."),
    "reload": ("", "Read main.cf again. One with a fault is reported, and the old one serves on."),
    "init": ("", "Write an instance that lives in the directory of -c, and runs as who makes it."),
    "oauth": ("login | list | test | remove ...", "Logins by OAuth. Each of the four explains itself: --help."),
}
_EXAMPLES = """\
Each verb explains itself: `mailctl help queue`. Those that read take --json.

    mailctl check                               is everything well?
    mailctl send-test you@example.org           does mail arrive?
    mailctl trace you@example.org               what became of it?
    mailctl queue summary                       what waits, and since when?
    mailctl config explain relayhost            what is this, and who set it?
    mailctl config -e relayhost=[192.0.2.7]     change it; then mailctl reload"""


def main(words: list[str], root: str, name: str = "mailctl") -> NoReturn:
    """Run mailctl, or by its name one of Postfix's verbs, and end the process; root is our tree."""
    os.umask(os.umask(0) & 0o077)  # a caller's may keep its own user from what is made here
    if name.startswith("post"):
        from ..postfix_verbs.main import main as verb

        verb(name, words, root)
    try:
        code = printing(lambda: run(words, root))
    except MailError as error:
        print(f"mailctl: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


def run(words: list[str], root: str) -> int:
    """Run a verb and return its exit code; raises MailError."""
    option, rest = "", words
    if rest[:1] == ["-c"]:
        if len(rest) < 2:
            raise UsageError("option -c needs a directory")
        option, rest = rest[1], rest[2:]
    if rest[:1] == ["help"] and rest[1:]:
        words = rest = [*rest[1:], "--help"]
    if not rest or rest[0] in ("-h", "--help", "help"):
        print(usage())
        return EX_OK if rest else UsageError.exit_code
    verb = VERBS.get(rest[0])
    if verb is None:
        raise UsageError(f"unknown verb {rest[0]}{_near(rest[0])}; `mailctl help` lists them")
    if rest[0] in _SIMPLE and rest[1:2] in (["-h"], ["--help"]):
        takes, does = _SIMPLE[rest[0]]
        print(f"usage: mailctl {rest[0]} {takes}".rstrip(), wrapped(does, 0), sep="\n\n")
        return EX_OK
    if verb[1] and sys.flags.no_site:
        from ..interpreter import run_slow

        run_slow(root, "mailctl", words)
    directory = os.path.abspath(option) if option else choose_directory()
    code: int = importlib.import_module(f"sendmail_py.commands.mailctl.{verb[0]}").main(
        rest if verb[0] in ("control",) else rest[1:], directory
    )
    return code


def _near(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, VERBS, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def usage() -> str:
    """Return the verbs by what they are for, and a few lines to begin with."""
    lines = ["usage: mailctl [-c DIR] VERB ...", ""]
    for title, group in _GROUPS.items():
        lines += [painted(title, HEAD), *(f"  {name:<13}  {text}" for name, (_, _, text) in group.items()), ""]
    return "\n".join([*lines, _EXAMPLES])
