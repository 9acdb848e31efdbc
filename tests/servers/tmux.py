"""A real terminal of 80 columns and 24 lines: a command is typed into tmux, and the screen is read.

    with Terminal(tmp_path, {"PATH": ...}) as terminal:
        screen = terminal.run("mailctl", "status")

A screen has everything that was shown, also what has been scrolled away.
"""

import re
import shlex
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

COLUMNS, LINES = 80, 24
_LIMIT = 60
_ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Screen:
    """What a command showed: lines as they stand there, with and without colours, and lines that the terminal broke."""

    text: str
    coloured: str
    broken: list[str]

    @property
    def lines(self) -> list[str]:
        """Return the lines without colours."""
        return self.text.splitlines()


class Terminal:
    """tmux with a server of its own."""

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        self._socket = str(place / f"tmux-{uuid.uuid4().hex[:8]}")
        self._environment = environment
        (place / "tmux.conf").write_text("set -g history-limit 5000\nset -g remain-on-exit on\nset -g status off\n")
        self._conf = str(place / "tmux.conf")
        self._ask("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), "sleep 600")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("kill-server")

    def _ask(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, "-f", self._conf, *words],
            env={**self._environment, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "SHELL": "/bin/sh"},
            capture_output=True,
            timeout=_LIMIT,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode()

    def run(self, *words: str, **environment: str) -> Screen:
        """Run a command in a window of its own, and return its screen when it has ended."""
        done = uuid.uuid4().hex
        settings = [f"{name}={value}" for name, value in environment.items()]
        tmux = shlex.join(["tmux", "-S", self._socket, "wait-for", "-S", done])
        command = f"clear; {shlex.join(['env', *settings, *words])}; {tmux}; sleep 600"
        window = self._ask("new-window", "-P", "-F", "#{pane_id}", command).strip()
        self._ask("wait-for", done)
        text, joined, coloured = (
            self._ask("capture-pane", "-p", *option, "-S", "-", "-t", window) for option in ([], ["-J"], ["-e"])
        )
        self._ask("kill-pane", "-t", window)
        whole = [line.rstrip() for line in joined.splitlines()]
        broken = [line for line in whole if line not in {line.rstrip() for line in text.splitlines()}]
        return Screen(text.rstrip() + "\n", coloured.rstrip() + "\n", broken)
