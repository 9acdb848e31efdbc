"""The dialogs of dialogs/server/*.txt: with the machine, the real `sendmail -bs` on pipes, and smtpd on a socket.

C: the client says   S: the server says (a last * stands for any text)   L: lf: lines end in a bare LF
P: the client says, without a line end
M: a message that was taken: <from> what MAIL wished -> to what RCPT wished, to | content
Each is played line by line, octet by octet, and with all that the client says at once.
"""

import os
import pathlib
import re
import select
import socket
import subprocess

import pytest

from sendmail_py.protocol.commands import Verb
from sendmail_py.protocol.server_commands import Mail, Rcpt
from sendmail_py.protocol.smtp_client import NEED_DATA
from sendmail_py.protocol.smtp_server import Content, SmtpServer
from sendmail_py.spool.message_file import read_head
from sendmail_py.spool.store import Store
from tests.integration.instance import Instance, wait_until
from tests.integration.loops import LOOPS, tree_of
from tests.servers.ports import free_port

DIALOGS = sorted((pathlib.Path(__file__).parent / "dialogs" / "server").glob("*.txt"))
EXTENSIONS = {
    "PIPELINING": "", "SIZE": "10240000", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "ENHANCEDSTATUSCODES": "",
    "CHUNKING": "",
}  # fmt: skip
every_dialog = pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
every_way = pytest.mark.parametrize("how", ["lines", "bytes", "at once"])


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    """An instance whose services are not started: what was taken stays in the maildrop."""
    return Instance(tmp_path_factory.mktemp("dialogs") / "i")


@pytest.fixture(scope="module", params=LOOPS)
def serving(request, tmp_path_factory):
    """An instance with an SMTP server, which keeps what it took."""
    path = tmp_path_factory.mktemp("dialogs")
    instance = Instance(
        path / "s",
        tree=tree_of(request.param, path / "tree"),
        smtpd_port=free_port(),
        defer_transports="local, smtp",
        smtpd_reject_unlisted_recipient="no",
        smtpd_error_sleep_time="0s",
        local_header_rewrite_clients="",
        smtpd_tls_security_level="none",
    )
    with instance:
        instance.start()
        yield instance


class MachineServer:
    """The machine with a driver that takes everything, and keeps it in memory."""

    def __init__(self):
        self.machine = SmtpServer("here.test", EXTENSIONS, lf_sessions=True)
        self.out = self.machine.greeting()
        self.messages = []

    def say(self, octets):
        self.machine.receive_data(octets)
        while (event := self.machine.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                self.content += event.data
                continue
            self.out += self.machine.send(event.answer)
            self.note(event)

    def note(self, event):
        if isinstance(event, Mail):
            self.mail, self.to, self.content = event, [], b""
        elif isinstance(event, Rcpt):
            self.to.append(shown(event.address, ",".join(event.notify), event.original))
        elif getattr(event, "verb", None) in (Verb.DOT, Verb.LAST) and event.answer.code == 250:
            sender = shown(f"<{self.mail.sender}>", self.mail.body, self.mail.ret, self.mail.envid)
            self.messages.append(message_line(sender, self.to, self.content))

    def hear(self, expected):
        lines, self.out = self.out.decode().splitlines(), b""
        check(lines, expected)

    def end(self):
        return self.messages


class ProcessServer:
    """The program on two pipes."""

    def __init__(self, instance):
        self.maildrop = instance.path / "queue" / "maildrop"
        self.before = set(os.listdir(self.maildrop))
        self.process = subprocess.Popen(
            [instance.tree / "bin" / "sendmail", "-bs", "-odb", "-oem", "-om"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=instance.environment, bufsize=0,
        )  # fmt: skip

    def say(self, octets):
        self.process.stdin.write(octets)

    def hear(self, expected):
        """Every answer has to come while the client is silent and the pipe is open."""
        data = b""
        while data.count(b"\n") < len(expected):
            assert select.select([self.process.stdout], [], [], 60)[0], f"no answer after {data!r}"
            more = os.read(self.process.stdout.fileno(), 4096)
            assert more, f"no answer any more after {data!r}"
            data += more
        check(data.decode().splitlines(), expected)

    def end(self):
        rest, complaints = self.process.communicate(timeout=60)
        assert (rest, complaints, self.process.returncode) == (b"", b"", 0)
        return [self.read(name) for name in sorted(set(os.listdir(self.maildrop)) - self.before)]

    def read(self, name):
        with open(self.maildrop / name, "rb") as file:
            e = read_head(file.fileno())
            file.seek(e.content_offset)
            content = file.read()
        assert len(content) == e.size
        to = [shown(r.forward_path, ",".join(r.notify), r.original) for r in e.recipients]
        return message_line(shown(f"<{e.reverse_path}>", e.body, e.ret, e.envid), to, content)


class SocketServer:
    """The SMTP server on a socket."""

    def __init__(self, instance, port_name="smtpd_port"):
        self.store = Store(f"{instance.path}/queue")
        port = int(re.findall(rf"{port_name} = (\d+)", (instance.path / "main.cf").read_text())[-1])
        self.end_point = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.end_point.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = ""

    def say(self, octets):
        self.end_point.sendall(octets)

    def hear(self, expected):
        """Every answer has to come while the client is silent and the connection is open."""
        data = b""
        while data.count(b"\n") < len(expected):
            more = self.end_point.recv(4096)
            assert more, f"no answer any more after {data!r}"
            data += more
        self.heard += data.decode()
        check(data.decode().splitlines(), expected)

    def end(self):
        self.end_point.shutdown(socket.SHUT_WR)
        assert self.end_point.recv(4096) == b""
        self.end_point.close()
        return [self.read(queue_id) for queue_id in self.taken()]

    def taken(self):
        return re.findall(r"queued as (\w+)", self.heard)

    def read(self, queue_id):
        wait_until(lambda: self.store.find(queue_id) == "deferred", f"{queue_id} is deferred")
        with open(self.store.open("deferred", queue_id), "rb") as file:
            e = read_head(file.fileno())
            file.seek(e.content_offset)
            content = file.read(e.size)
        # The queue has a Received field more, and an empty line where a message began without a header.
        content = re.sub(rb"^Received: .*\n(?:\t.*\n)*\n?", b"", content)
        to = [shown(r.forward_path, ",".join(r.notify), r.original) for r in e.recipients]
        return message_line(shown(f"<{e.reverse_path}>", e.body, e.ret, e.envid), to, content)


def shown(*words):
    return " ".join(filter(None, map(str, words)))


def message_line(sender, to, content):
    text = content.replace(b"\r\n", b"\n").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return f"{sender} -> {', '.join(to)} | {text}".replace("utf-8;\\x", "utf-8;\\\\x")


def check(lines, expected):
    wanted = [line.removesuffix("*") for line in expected]
    assert [
        line[: len(w)] if e.endswith("*") else line for line, w, e in zip(lines, wanted, expected, strict=True)
    ] == wanted


def play(path, how, server):
    """Play a dialog; returns what must have been taken and what was."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    line_end = b"\n" if "L: lf" in lines else b"\r\n"
    said, expected = b"", []
    turns = [line for line in lines if line[:2] in ("C:", "P:", "S:")]
    for line, following in zip(turns, [*turns[1:], ""], strict=True):
        if line.startswith("S: "):
            expected.append(line[3:])
        else:
            said += line[3:].encode() + (b"" if line[:1] == "P" else line_end)
        if how == "at once":
            continue
        if line.startswith("S: ") and not following.startswith("S: "):
            server.hear(expected)
            expected = []
        for octets in [said] if how == "lines" else [said[i : i + 1] for i in range(len(said))]:
            server.say(octets)
        said = b""
    server.say(said)
    server.hear(expected)
    return [line[3:] for line in lines if line.startswith("M: ")], server.end()


@every_way
@every_dialog
def test_the_machine_answers_as_written(path, how):
    expected, taken = play(path, how, MachineServer())
    assert taken == expected


@every_way
@every_dialog
def test_sendmail_bs_answers_as_written_and_keeps_what_it_took(path, how, resting):
    expected, taken = play(path, how, ProcessServer(resting))
    assert taken == expected


@every_way
@every_dialog
def test_the_smtp_server_answers_as_written_and_keeps_what_it_took(path, how, serving):
    expected, taken = play(path, how, SocketServer(serving))
    assert [as_queued(line) for line in taken] == [as_queued(line) for line in expected]


def as_queued(line):
    """Return a line without what the queue adds: this host's domain, an empty line after a header without one."""
    return re.sub(r"(\\n)+$", "", line.replace("@here.test", ""))
