"""What is typed of a document, and what cannot be has a reason here.

A block of the kind `main.cf` becomes that file, a block of `sh` is typed by root, a `console` is a transcript
(tests/transcript.py). The other kinds are only shown.
"""

import json
import re
from typing import NamedTuple

from document_machine import WORLD, DocumentMachine

from tests.transcript import Block, Step, steps_of

MAIN_CF = "/etc/sendmail-py/main.cf"
_CONTAINER = "tests/integration/root/test_container.py"
_WARNINGS = ("mailctl check", "mailctl dkim check")  # they end with 1 when there is something to say


class Elsewhere(NamedTuple):
    """Why a block is not typed here, and the file with the test that does what it does."""

    why: str
    held_by: str


NOT_TYPED = {
    ("README.md", "make demo"): Elsewhere("needs no root", "tests/integration/test_readme.py"),
    ("README.md", "make test"): Elsewhere("it is what runs this", "Makefile"),
    ("README.md", "bin/mailctl -c ~/try init"): Elsewhere("needs no root", "tests/integration/test_readme.py"),
    ("README.md", "podman build"): Elsewhere("typed to a stand-in for the engine", _CONTAINER),
    ("docs/container.md", "podman build"): Elsewhere("typed to a stand-in for the engine", _CONTAINER),
    ("docs/log.md", "journalctl"): Elsewhere("no journald on the machine", "tests/unit/host/test_syslog.py"),
    ("docs/oauth.md", "mailctl oauth login google you@gmail.com"): Elsewhere(
        "a browser takes part", "tests/integration/test_oauth_stories.py"
    ),
    ("docs/oauth.md", "mailctl oauth login google you@example.org"): Elsewhere(
        "the key is Google's", "tests/integration/test_oauth_stories.py"
    ),
    ("docs/packaging.md", "alternatives"): Elsewhere("needs the packages", "packaging/tests/test_rpm.py"),
    ("docs/packaging.md", "# apt-get install"): Elsewhere(
        "two hosts take part", "tests/integration/root/test_deb_on_debian.py"
    ),
    ("docs/packaging.md", "python3 -m venv"): Elsewhere("has a machine", "tests/integration/root/test_pip_install.py"),
    ("docs/ten-faults.md", ""): Elsewhere("has a machine of its own", "tests/integration/root/test_ten_faults.py"),
}  # fmt: skip


def reason(name: str, block: Block) -> Elsewhere | None:
    """Return why a block is not typed here."""
    is_typed = block.kind == "console"  # "#" is root there, and begins a comment elsewhere
    first = next((line for line in block.lines if is_typed or not line.startswith("#")), "")
    found = [why for (document, start), why in NOT_TYPED.items() if document == name and first.startswith(start)]
    return found[0] if found else None


def is_done(name: str, block: Block) -> bool:
    """Say whether something is to be done with a block."""
    return block.kind in ("sh", "console", "main.cf") and not reason(name, block)


def play(host: DocumentMachine, block: Block) -> None:
    """Type a transcript or a script; of a script every command must succeed."""
    if block.kind == "console":
        for step in steps_of(block):
            host.shown(step)
        return
    for command in re.sub(r"\\\n\s*", "", block.text).splitlines():
        if command.startswith("# publish"):
            publish(host)
        elif command and not command.startswith("#"):
            status, output = host.typed(Step(block.section, block.number, True, command))
            allowed = (0, 1) if command.startswith(_WARNINGS) else (0,)
            assert status in allowed, f"{block.section}: {command}: status {status}\n{output}\n{host.log()[-3000:]}"


def publish(host: DocumentMachine) -> None:
    """Do what the administrator of the zone does with the record that has been shown."""
    shown = host.run("mailctl", "dkim", "show", "example.org").stdout.decode()
    for name, record in re.findall(r"^(\S+)\. IN TXT \( (.*) \)", shown, re.MULTILINE):
        host.path(f"{WORLD}/published").write_text(json.dumps({name.lower(): {"TXT": [record]}}))
