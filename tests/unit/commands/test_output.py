"""Commands that print, and a reader who leaves."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
sys.path.insert(0, {root!r})
from sendmail_py.commands.output import printing

def action():
    sys.stdout.write({first!r})
    sys.stdout.flush()
    sys.stdin.readline()  # the reader is gone
    for _ in range(100):
        sys.stdout.write({text!r})
    return 3

sys.exit(printing(action))
"""


@pytest.mark.parametrize("text", ["x\n", "x" * 100_000 + "\n"])
def test_a_reader_who_leaves_is_no_error(text: str) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    program = PROGRAM.format(root=root, first="begun\n", text=text)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.stdout.readline() == "begun\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stderr.read() == "" and process.wait(60) == 0
