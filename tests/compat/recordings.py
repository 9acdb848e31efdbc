"""Recorded calls of sendmail by real programs, and a way to make each call again.

callers.json holds what the kernel saw of each call: argv, environment, umask, what the
descriptors were, and every octet of stdin (of popularity-contest's 56,904 the first 2,000). Its
sender, recipients and dot_ends_message were computed from these by a reader of its own; where
what a mailer should do differs from them, SHOULD says so.
"""

import base64
import json
import os
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.integration.instance import LIMIT, Instance

# What the mailers agree on, where the computed recipients or sender differ.
SHOULD = {
    # -t adds to the recipients that stand in the arguments, and the header has no Bcc.
    'Ruby mail / ActionMailer with arguments "-i -t"': {
        "recipients": ["a@example.org", "b@example.org", "cc@example.org", "bcc@example.org"]
    },
    # The last words of the header, "Full N", are two addresses for Postfix: they bounce by name.
    "bsd-mailx ... -- -f X (no passthrough)": {
        "recipients": ["-F", "-fbounce@example.org", "-odq", "a@example.org", "Full", "N"]
    },
    # UUCP's way to write a user; as a comment the address would be lost without a word.
    "rmail (sendmail package)": {"recipients": ["bob@example.net", "carol"]},
    # The same address, as it has to be quoted.
    "PHP mail() [escapeshell]": {"sender": '"quo te\\"d"@example.org;id'},
    "PHP mail() [emptyf]": {"sender": ""},
    "PHP mail() [emptyf2]": {"sender": ""},
}


@dataclass
class Recording:
    """One call; kind is submission, smtp (-bs), usage, newaliases or mailq. sender None: the caller's login."""

    caller: str
    version: str
    kind: str
    argv: list[str]
    umask: str
    env: dict[str, str]
    fds: dict[str, str]
    stdin: str | bytes = b""
    stdin_base64: str = ""
    sender: str | None = None
    recipients: list[str] | None = None
    dot_ends_message: bool = False

    def __post_init__(self) -> None:
        self.stdin = base64.b64decode(self.stdin_base64) if self.stdin_base64 else self.stdin.encode()
        if self.sender == "<>":
            self.sender = ""
        for name, value in SHOULD.get(self.caller, {}).items():
            setattr(self, name, value)

    @property
    def content(self) -> bytes:
        """The message that stdin holds: up to a lone dot and without stuffed dots, where the dot rule is in force."""
        if not self.dot_ends_message:
            return self.stdin
        lines = []
        for line in self.stdin.splitlines(keepends=True):
            if line.rstrip(b"\r\n") == b".":
                break
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines)


@dataclass
class Outcome:
    """What came of a call: the exit status, and all that it wrote to stdout and stderr."""

    status: int
    output: bytes
    said: bytes


def load() -> list[Recording]:
    """Return all recordings, in the order of the file."""
    rows = json.loads(Path(__file__).with_name("callers.json").read_text("utf-8"))
    return [Recording(**row) for row in rows]


def of_kind(kind: str) -> list[Recording]:
    """Return the recordings of one kind."""
    return [recording for recording in load() if recording.kind == kind]


def replay(recording: Recording, instance: Instance) -> Outcome:
    """Make the call again, to an instance; the caller is whoever runs the tests."""
    closed = "".join(f" {fd}>&-" for fd in "12" if recording.fds.get(fd) == "closed")
    program = f"{instance.tree}/bin/{os.path.basename(recording.argv[0])}"
    command = ["/bin/sh", "-c", f'umask {recording.umask}; exec "$0" "$@"{closed}', program, *recording.argv[1:]]
    environment = {**recording.env, "MAIL_CONFIG": str(instance.path)}
    with _stdin(recording) as stdin, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
        running = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=said, env=environment, cwd="/")
        try:
            status = running.wait(LIMIT)
        finally:
            running.kill()
        for file in (output, said):
            file.seek(0)
        return Outcome(status, output.read(), said.read())


def _stdin(recording: Recording):
    """Return what stdin was: a pipe, a socket, or a file without a name. All is written before the call."""
    kind = recording.fds["0"]
    if kind == "chr":
        return open("/dev/null", "rb")
    if kind in ("fifo", "sock") and len(recording.stdin) < 60_000:  # fits into a pipe
        if kind == "fifo":
            reader, writer = map(os.fdopen, os.pipe(), ("rb", "wb"), (0, 0))
        else:
            reader, end = socket.socketpair()
            writer = end.makefile("wb", 0)
            end.close()
        with writer:
            writer.write(recording.stdin)
        return reader
    descriptor = os.memfd_create("stdin")
    os.write(descriptor, recording.stdin)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.fdopen(descriptor, "rb")
