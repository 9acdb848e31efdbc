"""docs/ten-faults.md as a test: an administrator breaks a host in ten ways, is told the cause, and repairs it.

What each section types last repairs it, by a command that the product has named before; then mail flows again.
"""

from collections.abc import Iterator
from itertools import groupby

import pytest
from debian_machine import DebianMachine, what_lacks
from machine import ROOT, wait_until

from tests.transcript import Step, steps

DOCUMENT = ROOT / "docs/ten-faults.md"
SECTIONS = {title: list(group) for title, group in groupby(steps(DOCUMENT), lambda step: step.section)}
FAULTS = [title for title in SECTIONS if title[0].isdigit()]


@pytest.fixture(scope="module")
def host() -> Iterator[DebianMachine]:
    if lacks := what_lacks():
        pytest.skip(f"needs {lacks}")
    with DebianMachine() as host:
        host.let_things_go_wrong()
        yield host
        host.stop()


def played(host: DebianMachine, section: list[Step]) -> list[tuple[Step, str]]:
    """Type a section's commands; what only looks is repeated until it sees what the document says."""
    return [(step, host.shown(step)) for step in section]


def test_there_are_ten() -> None:
    assert [title.partition(".")[0] for title in FAULTS] == [str(number) for number in range(1, 11)]


@pytest.mark.real("tcc")
@pytest.mark.parametrize("title", SECTIONS)
def test_the_cause_is_named_and_what_is_named_repairs_it(host: DebianMachine, title: str) -> None:
    told = played(host, SECTIONS[title])
    if title in FAULTS:
        last = told[-1][0].block
        said = "".join(output for step, output in told if step.block != last)
        assert any(step.block == last and step.command in said for step, _ in told), "the repair is not what was named"
        wait_until(lambda: host.run("mailq").stdout == b"Mail queue is empty\n", "an empty queue")
