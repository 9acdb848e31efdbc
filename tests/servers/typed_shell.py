"""A real interactive shell in a pseudo-terminal, with keys typed one after the other as a person does.

with TypedShell(["bash", "--norc", "-i"], environment) as shell:
    shell.type("source x\\n")
    shown = shell.type("mailctl qu\\t", until="queue")
"""

import os
import pty
import re
import select
import subprocess
import time

_LIMIT = 60.0
_ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07|[\x07\x0e\x0f]")


class TypedShell:
    """One shell; type() sends keys and returns what the terminal shows from then on, without its control codes."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        subprocess.run(["stty", "cols", "160", "rows", "200"], stdin=theirs, check=True)
        self._process = subprocess.Popen(
            command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> "TypedShell":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(_LIMIT)
        os.close(self._ours)

    def type(self, keys: str, until: str) -> str:
        """Send keys, and wait until the terminal shows a regular expression; returns what it showed."""
        os.write(self._ours, keys.encode())
        shown, end = b"", time.monotonic() + _LIMIT
        while True:
            text = _ESCAPE.sub("", shown.decode("utf-8", "replace"))
            if re.search(until, text):
                return text
            if time.monotonic() > end:
                raise AssertionError(f"after {keys!r} there is no {until!r} in: {text!r}")
            if select.select([self._ours], [], [], 0.1)[0]:
                shown += os.read(self._ours, 65536)
