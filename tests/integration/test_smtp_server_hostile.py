"""Hostile clients (hostile_clients.py): each gets the answer that its row says, and leaves nothing behind.

A door is a port with what its clients must do before they may speak; every case that is for it is played there.
"""

import base64
import contextlib
import os
import re
import socket
import ssl
import struct

import pytest

from sendmail_py.spool.message_file import read_head
from sendmail_py.spool.store import Store
from tests.integration.hostile_clients import CASES, CHUNK_STEPS, MX, STEPS, SUBMISSION
from tests.integration.smtp_server import STRANGERS, Submission

DOORS = (MX, SUBMISSION)
CUT = (ConnectionError, ssl.SSLEOFError)  # the server has closed before it was told all
LOGIN = base64.b64encode(b"\0alice\0secret").decode()
OF_DOORS = [
    pytest.param(door, case, id=f"{door}: {case.name[:60]}") for door in DOORS for case in CASES if door in case.doors
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server for strangers and for alice, which keeps what it takes."""
    settings = {
        "defer_transports": "local, smtp",
        "smtpd_error_sleep_time": "0s",
        "smtpd_client_connection_count_limit": 0,
        "message_size_limit": 1_000_000,
        "queue_minfree": 1,
        "smtpd_timeout": "60s",
        "submission_options": "-o smtpd_junk_command_limit=101",  # EHLO before the login is one
    }
    users = {"alice": "secret"}
    with Submission(tmp_path_factory.mktemp("hostile") / "i", users, **settings, **STRANGERS) as served:
        served.start()
        assert served.connect_and_ask("alice@a.test")[:3] == "250"
        served.wait_for_log("disconnect")
        served.pid = served.pid_of("smtpd")
        yield served
        served.wait_for(lambda: not connections(served), "no connection is left")
        assert served.pid_of("smtpd") == served.pid
        assert os.listdir(served.path / "queue" / "tmp") == []
        assert "error:" not in served.log()


def connections(served):
    """Return the TCP sockets of smtpd that do not listen."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}", encoding="ascii") as file:
            inodes.update(row.split()[9] for row in file.readlines()[1:] if row.split()[3] != "0A")
    directory, found = f"/proc/{served.pid}/fd", set()
    for number in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"{directory}/{number}").removeprefix("socket:[").removesuffix("]"))
    return found & inodes


def enter(served, door):
    """Return a connection whose client may speak now; at submission it is under TLS, and has logged in."""
    if door == MX:
        line = served.connect()
        assert line.reply()[:3] == "220"
        return line
    line = served.connect_wrapped()
    assert line.reply()[:3] == "220" and line.ask("EHLO c.test")[:3] == "250"
    assert line.ask(f"AUTH PLAIN {LOGIN}")[:3] == "235"
    return line


def recipients_of(served, queue_id):
    store = Store(f"{served.path}/queue")

    def head():
        try:
            with open(store.open(store.find(queue_id) or "incoming", queue_id), "rb") as file:
                return read_head(file.fileno())
        except FileNotFoundError:  # it was moved meanwhile
            return None

    return {str(recipient.forward_path) for recipient in served.wait_for(head, "the message is there").recipients}


@pytest.mark.parametrize(("door", "case"), OF_DOORS)
def test_a_hostile_client_gets_the_answer_of_the_table(served, door, case):
    with enter(served, door) as line:
        heard, is_cut = b"", False
        try:
            line.end.sendall(case.says)
            if door == MX:
                line.end.shutdown(socket.SHUT_WR)  # TLS has nothing like it
        except CUT:
            is_cut = True  # the answer may be there all the same
        try:
            heard = line.file.read()
        except CUT:
            is_cut, heard = True, b""
        if is_cut and not heard:
            assert case.codes.endswith(("421", "521"))
            return
    assert re.fullmatch(rb"(?:\d{3}[ -][ -~]*\r\n)*", heard), "an answer is lines of printable ASCII"
    codes = [text[:3].decode() for text in heard.split(b"\r\n") if text[3:4] == b" "]
    assert re.fullmatch(case.codes.strip(), " ".join(codes)), heard[-400:]
    taken = re.findall(rb"queued as (\w+)", heard)
    assert len(taken) == case.taken
    for queue_id in taken:
        assert recipients_of(served, queue_id.decode()) == {"games@here.test"}


def reset(end):
    """Have the connection end by a reset, as of a crashed client."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("how", ["closes", "is reset"])
@pytest.mark.parametrize("steps", [STEPS, CHUNK_STEPS], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("door", DOORS)
def test_a_client_that_goes_at_any_step_leaves_nothing(served, door, steps, how):
    for number in range(1, len(steps) + 1):
        with enter(served, door) as line:
            for octets in steps[:number]:
                line.end.sendall(octets)
            if how == "is reset":
                reset(line.end)
    served.wait_for(lambda: os.listdir(f"{served.path}/queue/tmp") == [], "nothing is left in tmp/")
    with enter(served, door) as line:
        assert line.ask("NOOP") == "250 2.0.0 Ok"
