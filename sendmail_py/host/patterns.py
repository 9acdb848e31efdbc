"""Keys against patterns, with a limit of time: a process of its own does it (pattern_worker.py).

It is started by the first question, serves all tables of this process, and ends with it. Guarantees: a
question that takes too long is an OSError and does not take that time again for a minute; the next
question has a new process.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

SECONDS = 1.0
_REMEMBERED_SECONDS = 60.0
_REMEMBERED = 1000


class Patterns:
    """The process, and the tables that it has been given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: "subprocess.Popen[str] | None" = None
        self._given: set[int] = set()
        self._slow: dict[tuple[int, str], float] = {}
        self._number = 0

    def number(self) -> int:
        """Return a number for a table whose text is new."""
        with self._lock:
            self._number += 1
            return self._number

    def ask(self, number: int, text: str, keys: list[str], forget: int = 0) -> list[str | None]:
        """Return what a table says of each key; raises OSError when that takes too long."""
        with self._lock:
            key = number, "\n".join(keys)
            if self._slow.get(key, 0.0) > time.monotonic():
                raise OSError("a pattern has taken too long over this key a short while ago")
            request: dict[str, object] = {"table": number, "keys": keys, "forget": forget}
            if self._process is None or self._process.poll() is not None:
                self._start()
            if number not in self._given:
                request["text"] = text
            found = self._exchange(request)
            if found is None:
                status = self._stop()
                if status != -signal.SIGALRM:
                    raise OSError(f"the process that holds keys against patterns has ended (status {status})")
                if len(self._slow) >= _REMEMBERED:
                    self._slow.clear()
                self._slow[key] = time.monotonic() + _REMEMBERED_SECONDS
                raise OSError("a pattern takes too long over this key")
            self._given.add(number)
            self._given.discard(forget)
            return found

    def _exchange(self, request: dict[str, object]) -> list[str | None] | None:
        """Ask the process; None when it has ended over the question."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line.endswith("\n") else None

    def _start(self) -> None:
        import subprocess  # most instances have no patterns

        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pattern_worker.py")
        self._given.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-IS", worker, str(SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            cwd="/",
        )

    def _stop(self) -> int:
        """Make an end of the process; returns how it has ended: it closes its output only by ending."""
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()


SHARED = Patterns()
