"""README.md as a new administrator reads it: from a Debian that has just been installed to mail that arrives.

Each recipe's main.cf is the whole file, and what is typed then is compared with what the README shows. What it says to
an ordinary user is in tests/integration/test_readme.py.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from debian_machine import DebianMachine, what_lacks
from document_machine import WORLD
from machine import ROOT
from played import MAIN_CF, is_done, play

from tests.transcript import Block, Step, blocks

README = ROOT / "README.md"
SECTIONS = {
    title: [block for block in group if is_done("README.md", block)]
    for title, group in groupby(blocks(README), lambda block: block.section)
}
BEFORE = {"An Internet mail host": f"cp {WORLD}/host.pem /etc/ssl/private/host.pem"}


@pytest.fixture(scope="module")
def host() -> Iterator[DebianMachine]:
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with DebianMachine() as host:
        yield host


def without_systemd(block: Block) -> Block:
    """Return the block with the other command where it names one for a host without systemd."""
    return replace(block, lines=tuple(re.sub(r"^systemctl .*without systemd: ", "", line) for line in block.lines))


def test_the_recipes_come_after_the_installation() -> None:
    done = [title for title, found in SECTIONS.items() if found]
    assert done[0] == "Installing it" and len(done) == 5


@pytest.mark.parametrize("title", [title for title, found in SECTIONS.items() if found])
def test_what_the_readme_says_is_done(host: DebianMachine, title: str) -> None:
    host.script(BEFORE.get(title, ":"))
    for block in SECTIONS[title]:
        if block.kind == "main.cf":
            host.path(MAIN_CF).write_text(block.text)
        else:
            play(host, without_systemd(block))


def typed(host: DebianMachine, command: str, as_root: bool = True) -> str:
    """Type a command that has to succeed."""
    status, output = host.typed(Step("afterwards", 0, as_root, command))
    assert status == 0, f"{command}\n{output}"
    return output


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("apt-get install exim4-daemon-light", "/usr/sbin/sendmail is another program (/usr/sbin/exim4)"),
        ("rm /usr/sbin/sendmail", "/usr/sbin/sendmail is not there"),
        (
            "rm /usr/local/share/ca-certificates/*; apt-get purge ca-certificates",
            "no certificate authority is known here",
        ),
    ],
)
def test_what_becomes_of_the_host_later_is_named_and_what_is_named_repairs_it(
    host: DebianMachine, command: str, says: str
) -> None:
    def repairs() -> list[str]:
        found = json.loads(host.run("mailctl", "check", "--json", check=False).stdout)
        return [row["repair"] for row in found if row["text"].startswith(says)]

    assert repairs() == []
    typed(host, command)
    (repair,) = repairs()
    typed(host, repair)
    assert repairs() == []
    assert "Mail queue is empty" in typed(host, "echo hello | sendmail -odi bob && mailq", as_root=False)


def test_nothing_that_was_started_survives_its_machine() -> None:
    def running(namespace: Path) -> list[Path]:
        return [path for path in Path("/proc").glob("[0-9]*/ns/pid") if is_same(path, namespace)]

    def is_same(path: Path, namespace: Path) -> bool:
        with contextlib.suppress(OSError):
            return path.readlink() == namespace
        return False  # it has ended

    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with DebianMachine() as host:
        namespace = Path(f"/proc/{host.pid}/ns/pid").readlink()
        host.script("setsid sleep 1000 > /dev/null 2>&1 &")
        assert len(running(namespace)) >= 3  # with the first and the world
    assert running(namespace) == []
