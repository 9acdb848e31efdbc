"""What the README says to an ordinary user works as it is written, also when a whole block is pasted at once.

What it says to root, and every other page, is in tests/integration/root/test_documents.py.
"""

import os
import subprocess

import pytest

from tests.integration.instance import PATH, ROOT
from tests.transcript import Block, blocks

README = ROOT / "README.md"


def block(first: str) -> Block:
    """Return the block of commands that begins so."""
    (found,) = (b for b in blocks(README) if b.kind == "sh" and b.lines[0].startswith(first))
    return found


def paste(text, home):
    """Have a shell read the lines of a block, as from a terminal; it stops at the first that fails."""
    with open(home / "output", "w+b") as file:
        environment = {"HOME": str(home), "PATH": PATH}
        done = subprocess.run(
            ["/bin/sh", "-ex"], cwd=ROOT, env=environment, input=text.encode(), stdout=file, stderr=file, timeout=150
        )
    return done.returncode, (home / "output").read_text("utf-8", "replace")


@pytest.mark.real("make")
def test_the_demo_shows_both_messages(tmp_path):
    status, output = paste(block("make demo").text, tmp_path)
    assert status == 0, output
    assert "Both messages arrived" in output


def test_an_instance_of_ones_own_works_in_one_paste(tmp_path):
    status, output = paste(block("bin/mailctl -c ~/try init").text, tmp_path)
    assert status == 0, output
    assert "\nIt works.\n" in output and "status=sent" in output and "Mail queue is empty" in output
    assert not os.path.exists(tmp_path / "try")
