"""The recorded sessions of programs that call `sendmail -bs`, held again: a command goes out when its reply is in."""

import contextlib
import re
import socket
import subprocess

import pytest

from tests.compat.recordings import of_kind
from tests.integration.instance import LIMIT

SESSIONS = of_kind("smtp")


def said_by_client(stdin: bytes) -> list[bytes]:
    """Part a recorded session at the places where the client waited: each command, and the content with its dot."""
    head, data, rest = stdin.partition(b"DATA\r\n")
    content, dot, after = rest.partition(b"\r\n.\r\n")
    return [*head.splitlines(keepends=True), *([data, content + dot] if data else []), *after.splitlines(keepends=True)]


@contextlib.contextmanager
def server(recording, resting):
    """Run the recorded command; yields our end of its standard input and output, and the process."""
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    command = [f"{resting.instance.tree}/bin/sendmail", *recording.argv[1:]]
    environment = {**recording.env, "MAIL_CONFIG": str(resting.instance.path)}
    with ours, theirs, subprocess.Popen(command, stdin=theirs, stdout=theirs, env=environment) as process:
        try:
            theirs.close()
            yield ours, process
        finally:
            process.kill()


def codes(end, parts: list[bytes]) -> list[tuple[str, int]]:
    """Say each part when the reply to the one before is complete; returns (verb, code)."""
    found = []
    with end.makefile("rb") as replies:
        for part in [b"banner", *parts]:
            if part != b"banner":
                end.sendall(part)
            line = replies.readline()
            while line[3:4] == b"-":
                line = replies.readline()
            found.append((re.split(rb"[ :\r]", part)[0].decode() if len(part) < 80 else "content", int(line[:3])))
    return found


@pytest.mark.parametrize("recording", SESSIONS, ids=[recording.caller for recording in SESSIONS])
def test_a_recorded_session_ends_well_and_what_it_sent_is_kept(recording, resting):
    parts = said_by_client(recording.stdin)
    with server(recording, resting) as (end, process):
        replies = codes(end, parts)
        assert process.wait(LIMIT) == 0
    expected = {"banner": 220, "DATA": 354, "QUIT": 221}
    assert replies == [(verb, expected.get(verb, 250)) for verb, _ in replies]
    files = resting.taken()
    if b"DATA\r\n" not in parts:
        assert files == []
        return
    (dropped,) = files
    sender, *recipients = [re.search(rb"<(.*)>", part)[1].decode() for part in parts if b"<" in part and len(part) < 80]
    assert (dropped.sender, dropped.recipients) == (sender, recipients)
    content = parts[parts.index(b"DATA\r\n") + 1].removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    assert dropped.content.replace(b"\r\n", b"\n") == content.replace(b"\r\n", b"\n")


def test_there_are_four_of_them():
    assert len(SESSIONS) == 4
