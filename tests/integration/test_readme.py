"""The README's commands work as they are written, in order, in a home directory of their own."""

import os
import re
import subprocess
import time

import pytest

from tests.integration.instance import LIMIT, PATH, ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PRIVILEGED = "# as root"


def ordinary_commands():
    """Return the commands that need no rights; `make test` is what runs this very test."""
    lines = [line for block in BLOCKS if not block.startswith(PRIVILEGED) for line in block.splitlines()]
    return [line for line in lines if line != "make test"]


def run(command, home):
    """Run a command as a reader of the README would, and return its status and output."""
    with open(home / "output", "w+b") as file:
        environment = {"HOME": str(home), "PATH": PATH}
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            timeout=150,
        )  # fmt: skip
    return done.returncode, (home / "output").read_text("utf-8", "replace")


@pytest.mark.real("make")
def test_every_command_that_needs_no_rights_works_as_written(tmp_path):
    commands = ordinary_commands()
    assert commands[0] == "make demo"
    assert len(commands) > 10
    for command in commands:
        end = time.monotonic() + LIMIT
        status, output = run(command, tmp_path)
        while status and command.startswith("cat ") and time.monotonic() < end:  # a reader is slower than a delivery
            time.sleep(0.05)
            status, output = run(command, tmp_path)
        assert status == 0, f"{command}\n{output}"
    assert not os.path.exists(tmp_path / "try")


def test_every_local_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
