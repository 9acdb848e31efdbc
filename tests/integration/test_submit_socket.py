"""The submit socket: sendmail(1) where the spool is out of its reach, and clients that mean no good."""

import os
import socket
import subprocess
import time

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Envelope, Recipient, Submitter
from sendmail_py.formats.queue_file import render
from sendmail_py.formats.submit_records import DATA, RECORD_LIMIT, data_records, end_record
from sendmail_py.host.sockets import connect, receive_record
from tests.integration.instance import Instance, me, wait_until

MESSAGE = b"Subject: x\n\nhello\n"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("submit") / "i") as instance:
        instance.start()
        yield instance


@pytest.fixture
def outside(instance, tmp_path):
    """The environment of a caller who sees the sockets of the instance, and not its spool."""
    return caller_of(instance, tmp_path)


def caller_of(instance, path, **settings):
    text = f"queue_directory = {path}/nowhere\nrun_directory = {instance.path}/run\n"
    text += "".join(f"{name} = {value}\n" for name, value in settings.items())
    (path / "main.cf").write_text(text)
    return instance.environment | {"MAIL_CONFIG": str(path)}


def spooled(content=MESSAGE, *recipients, uid=4242):
    """What sendmail(1) would write into maildrop/; it may claim another uid."""
    paths = [Recipient(Address(name)) for name in recipients or (me(),)]
    envelope = Envelope("", 1, Address(me()), paths, Submitter(uid, "someone", 1, "/", "x"))
    return render(envelope) + content


class Client:
    """A client that speaks for itself."""

    def __init__(self, instance):
        self.end = connect(f"{instance.path}/run/submit", 20)
        self.greeting = receive_record(self.end)[0]

    def send(self, *records):
        for record in records:
            self.end.sendall(record)

    def answer(self):
        """The last word, or {} when the service hangs up without one."""
        try:
            received = receive_record(self.end)
        except ConnectionResetError:  # octets of ours that it did not read; its word comes after this
            received = receive_record(self.end)
        return received[0] if received else {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end.close()


def nothing_is_left(instance):
    wait_until(lambda: os.listdir(instance.path / "queue/tmp") == [], "tmp/ is empty")
    instance.wait_empty()


# --- sendmail(1) ---------------------------------------------------------------------------------


def test_who_cannot_reach_the_spool_is_served_over_the_socket(instance, outside):
    done = instance.run("sendmail", "-i", me(), input=b"Subject: out\n\nfrom outside\n", env=outside)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    text = instance.wait_for_mail(me(), b"from outside").decode()
    assert f"(sendmail-py, from userid {os.getuid()})" in text
    nothing_is_left(instance)


@pytest.mark.parametrize("size", [100, 262_144, 300_000, 3_000_000])
def test_a_message_of_any_size_arrives_octet_for_octet(instance, outside, size):
    line = f"size {size} ".encode() + bytes(c for c in range(32, 256)) + b"\n"
    body = (line * (size // len(line) + 1))[:size] + b"\n"
    instance.submit(b"Subject: sized\n\n" + body, "-i", me(), env=outside)
    instance.wait_for_mail(me(), b"\n\n" + body)
    nothing_is_left(instance)


def test_bcc_and_header_recipients_work_as_from_a_file(instance, outside):
    instance.submit(f"To: {me()}\nBcc: games\nSubject: both\n\nboth of you\n".encode(), "-t", env=outside)
    for user in (me(), "games"):
        assert b"Bcc" not in instance.wait_for_mail(user, b"both of you")


def test_a_session_of_smtp_on_a_pipe_works_too(instance, outside):
    lines = ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{me()}>", "DATA", "Subject: bs", "", "by bs", ".", "QUIT", ""]
    done = instance.run("sendmail", "-bs", input="\r\n".join(lines).encode(), env=outside)
    assert b"\n250 2.0.0 Ok: queued as " in done.stdout
    instance.wait_for_mail(me(), b"by bs")


def test_a_caller_who_waits_for_the_delivery_finds_it_done(instance, outside):
    done = instance.run("sendmail", "-odi", me(), input=b"Subject: w\n\nwaited for\n", env=outside)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"waited for" in instance.mailbox(me())


def test_many_callers_at_once_are_all_served(instance, outside):
    command = [f"{instance.tree}/bin/sendmail", "-i", me()]
    callers = [subprocess.Popen(command, stdin=subprocess.PIPE, env=outside) for _ in range(15)]
    for number, caller in enumerate(callers):
        caller.stdin.write(f"Subject: many\n\none of many: {number:02}\n".encode())
        caller.stdin.close()
    assert [caller.wait(60) for caller in callers] == [0] * len(callers)
    text = instance.wait_for_mail(me(), b"one of many: ", len(callers))
    assert all(text.count(b"one of many: %02d\n" % number) == 1 for number in range(len(callers)))


def test_the_queue_id_and_the_log_say_who_it_was(instance, outside, tmp_path):
    instance.run("sendmail", "-f", "logged@example.org", me(), input=MESSAGE, env=outside, cwd=tmp_path, check=True)
    (line,) = instance.wait_for_log(r"pickup\[\d+\]: [0-9A-F]+: uid=\d+ from=<logged@example\.org>")
    assert f"uid={os.getuid()} " in line and f" login={me()} pid=" in line and line.endswith(f' cwd="{tmp_path}"')


def test_too_large_a_message_is_65_and_leaves_nothing(instance, tmp_path):
    env = caller_of(instance, tmp_path, message_size_limit=0)  # the service knows better than the caller
    done = instance.run("sendmail", "-i", me(), input=b"x" * 10_300_000, env=env)
    assert (done.returncode, done.stderr.count(b"\n")) == (65, 1)
    assert b"message_size_limit (10240000" in done.stderr
    done = instance.run("sendmail", "-i", me(), input=b"x" * 40_000_000, env=env)  # refused before it is whole
    assert (done.returncode, done.stderr.count(b"\n")) == (65, 1), done.stderr
    nothing_is_left(instance)


def test_without_services_it_is_75_and_both_causes_are_named(tmp_path):
    instance = Instance(tmp_path / "i")
    done = instance.run("sendmail", me(), input=MESSAGE, env=caller_of(instance, tmp_path))
    assert (done.returncode, done.stderr.count(b"\n")) == (75, 1)
    assert b"nowhere/maildrop: No such file" in done.stderr
    assert f"({instance.path}/run/submit: No such file".encode() in done.stderr
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(f"{instance.path}/run/submit")  # nobody listens
    done = instance.run("sendmail", me(), input=MESSAGE, env=caller_of(instance, tmp_path))
    assert (done.returncode, done.stderr.count(b"\n")) == (75, 1)
    assert b"/run/submit: Connection refused)" in done.stderr


def test_a_caller_killed_in_the_middle_leaves_nothing(instance, outside):
    command = [f"{instance.tree}/bin/sendmail", "-i", me()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=outside) as caller:
        caller.stdin.write(b"Subject: cut\n\n" + b"cut off\n" * 100_000)  # more than is kept in memory
        caller.stdin.flush()
        wait_until(lambda: "socket:" in "".join(link(caller.pid, n) for n in fds(caller.pid)), "it is handing over")
        caller.kill()
    nothing_is_left(instance)
    assert b"cut off" not in instance.mailbox(me())


# --- other clients -----------------------------------------------------------------------------


def test_a_client_that_says_all_of_it_is_told_the_id_and_cannot_choose_who_it_is(instance):
    with Client(instance) as client:
        assert client.greeting["code"] == 0
        text = spooled(b"Subject: f\n\nforged uid\n", uid=0 if os.getuid() else 4242)
        client.send(*data_records(text), end_record(len(text)))
        answer = client.answer()
    assert answer["code"] == 0
    assert f"from userid {os.getuid()})".encode() in instance.wait_for_mail(me(), b"forged uid")
    instance.wait_for_log(f"{answer['id']}: uid={os.getuid()} from=.* pid={os.getpid()} ")


@pytest.mark.parametrize("cut", [0, 1, 30, 200])
def test_what_is_not_said_to_its_end_was_never_said(instance, cut):
    text = spooled(b"Subject: f\n\nnever to be seen\n")
    with Client(instance) as client:
        client.send(*data_records(text[:cut]))
    nothing_is_left(instance)
    assert b"never to be seen" not in instance.mailbox(me())


BAD = {
    "an empty message": lambda text: [end_record(0)],
    "an end before its time": lambda text: [*data_records(text), end_record(len(text) + 1)],
    "an end too late": lambda text: [*data_records(text), end_record(len(text) - 1)],
    "another record": lambda text: [*data_records(text), b"zzz"],
    "no queue file": lambda text: [*data_records(b"x" * 100), end_record(100)],
    "a torn head": lambda text: [*data_records(text[:40]), end_record(40)],
    "no recipients": lambda text: [*data_records(t := text.replace(b"to: ", b"tt: ")), end_record(len(t))],
    "a mark": lambda text: [*data_records(t := text.replace(b"[ ] <", b"[x] <")), end_record(len(t))],
    "a size beyond the end": lambda text: [
        *data_records(t := text.replace(b"size: 00", b"size: 99")),
        end_record(len(t)),
    ],
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_message_is_refused_with_65_and_leaves_nothing(instance, kind):
    with Client(instance) as client:
        client.send(*BAD[kind](spooled(b"Subject: f\n\nbad one\n")))
        answer = client.answer()
    assert answer["code"] == 65 and "not taken: " in answer["text"]
    nothing_is_left(instance)
    assert b"bad one" not in instance.mailbox(me())


def test_a_record_that_is_too_long_ends_the_connection(instance):
    with Client(instance) as client:
        client.send(DATA + b"x" * RECORD_LIMIT)
        assert client.answer() == {}
    nothing_is_left(instance)


def test_silent_clients_hold_nobody_up_and_too_many_are_sent_away(instance, outside):
    silent = [Client(instance) for _ in range(10)]
    try:
        assert all(client.greeting["code"] == 0 for client in silent)
        with Client(instance) as one_more:
            assert (one_more.greeting["code"], one_more.greeting["busy"]) == (75, True)
        instance.submit(b"Subject: past\n\npast the silent\n", me())  # maildrop/ is still open
        instance.wait_for_mail(me(), b"past the silent")
        command = [f"{instance.tree}/bin/sendmail", "-i", me()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=outside) as waiting:
            waiting.stdin.write(b"Subject: later\n\nafter the silent\n")
            waiting.stdin.close()
            time.sleep(0.5)
            assert waiting.poll() is None  # it tries again for a while
            silent.pop().end.close()
            assert waiting.wait(60) == 0
        instance.wait_for_mail(me(), b"after the silent")
    finally:
        for client in silent:
            client.end.close()
    nothing_is_left(instance)


def test_descriptors_that_a_client_sends_along_are_not_kept(instance):
    pid = instance.pid_of("pickup")
    before = len(fds(pid))
    text = spooled(b"Subject: f\n\nwith descriptors\n")
    with Client(instance) as client, open("/etc/passwd") as file:
        socket.send_fds(client.end, [DATA + text], [file.fileno()] * 20)
        client.send(end_record(len(text)))
        assert client.answer()["code"] == 0
        assert not [n for n in fds(pid) if link(pid, n) == "/etc/passwd"]
    instance.wait_for_mail(me(), b"with descriptors")
    nothing_is_left(instance)
    wait_until(lambda: len(fds(pid)) <= before + 2, "no descriptors are left over")


def fds(pid):
    return os.listdir(f"/proc/{pid}/fd")


def link(pid, number):
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except FileNotFoundError:
        return ""


def test_a_reload_in_the_middle_of_a_message_lets_it_end(instance):
    text = spooled(b"Subject: f\n\nacross a reload\n")
    with Client(instance) as client:
        client.send(*data_records(text[:50]))
        instance.mailctl("reload", check=True)
        client.send(*data_records(text[50:]), end_record(len(text)))
        assert client.answer()["code"] == 0
    instance.wait_for_mail(me(), b"across a reload")
    nothing_is_left(instance)
