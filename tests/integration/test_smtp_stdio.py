"""`sendmail -bs` as programs use it: over pipes and sockets, to a mailbox, and with everything that can be wrong."""

import contextlib
import os
import re
import resource
import shutil
import smtplib
import socket
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.integration.instance import DOMAIN, Instance, me, wait_until

LINES = b"MAIL FROM:<alice@a.test>\r\nRCPT TO:<bob@b.test>\r\nDATA\r\n"
SMALL = LINES + b"Subject: small\r\n\r\nx\r\n.\r\n"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("stdio") / "i") as instance:
        instance.start()
        yield instance


@pytest.fixture
def resting(tmp_path):
    """An instance whose services are not started: what was taken stays in the maildrop."""
    return Instance(tmp_path / "i")


class Client(smtplib.SMTP):
    """Python's own SMTP client, at the other end of a socket that is our standard input and output."""

    def __init__(self, end):
        self.end = end
        super().__init__("sendmail", local_hostname="client.test")

    def _get_socket(self, host, port, timeout):
        return self.end


@contextlib.contextmanager
def client_of(instance, *words):
    """Run sendmail -bs for a client; it must end well by itself when the client has gone."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    command = [instance.tree / "bin" / "sendmail", "-bs", *words]
    with theirs:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=2, env=instance.environment)
    try:
        with ours, Client(ours) as client:
            client.process = process
            yield client
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)


def answers(instance, octets, *words, status=0, **more):
    """Say everything at once; returns the answers after the greeting, each with its code and status."""
    done = instance.run("sendmail", "-bs", *words, input=octets, **more)
    assert (done.returncode, done.stderr) == (status, b""), done
    greeting, *lines = done.stdout.decode().splitlines()
    assert greeting == f"220 {DOMAIN} ESMTP sendmail-py"
    return [line[:9] for line in lines]


def drops(instance):
    return sorted((instance.path / "queue" / "maildrop").iterdir())


# --- to the mailbox ------------------------------------------------------------------------------


def test_two_messages_reach_the_mailbox_under_the_ids_that_were_told(instance):
    with client_of(instance, "-odb", "-oem", "-om") as client:
        told = []
        for number in (1, 2):
            client.ehlo()
            client.mail("alice@example.org", ["BODY=8BITMIME", "SIZE=100"])
            assert client.rcpt(me())[0] == 250
            code, text = client.data(f"Subject: story {number}\nBcc: secret@b.test\n\n.dot\nä\n".encode())
            told.append(re.fullmatch(rb"2\.0\.0 Ok: queued as ([0-9A-F]{10,})", text)[1].decode())
            assert code == 250
    for number, queue_id in enumerate(told, 1):
        mailbox = instance.wait_for_mail(me(), b"Subject: story %d\n" % number)
        assert instance.wait_for_log(rf"{queue_id}: uid={os.getuid()} from=<alice@example\.org>")
        assert instance.wait_for_log(rf"{queue_id}: to=<{me()}@{DOMAIN}>.* status=sent")
    text = mailbox[mailbox.rindex(b"\nReturn-Path: ") + 1 :]
    assert text.startswith(b"Return-Path: <alice@example.org>\n")
    assert b"\n\n.dot\n\xc3\xa4\n" in text
    assert b"\r" not in text and b"secret" not in text
    assert f"(sendmail-py, from userid {os.getuid()})".encode() in text


def test_smtplib_sends_a_message_to_several_recipients(resting):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "alice@a.test", "bob@b.test, carol@c.test", "x"
    message.set_content("first\n.\nlast\n")
    with client_of(resting) as client:
        assert client.send_message(message) == {}
    (path,) = drops(resting)
    assert path.stat().st_mode == 0o100640
    text = path.read_bytes()
    assert b"\nto: [ ] <bob@b.test>\nto: [ ] <carol@c.test>\n" in text
    assert text.endswith(b"\r\n\r\nfirst\r\n.\r\nlast\r\n")


@pytest.mark.real("swaks")
def test_swaks_sends_over_a_pipe(resting):
    words = ["-f", "alice@a.test", "-t", "bob@b.test,carol", "--pipeline", "--body", "swaks was here", "--hide-all"]
    done = resting.run(shutil.which("swaks"), "--pipe", f"{resting.tree}/bin/sendmail -bs", *words, check=True)
    assert done.stderr == b""
    (path,) = drops(resting)
    assert b"\nto: [ ] <bob@b.test>\nto: [ ] <carol>\n" in path.read_bytes()
    assert b"\r\n\r\nswaks was here\r\n" in path.read_bytes()


def test_a_local_user_that_does_not_exist_is_accepted_and_bounces(instance):
    octets = f"MAIL FROM:<{me()}>\r\nRCPT TO:<no-such-user-here>\r\nDATA\r\nSubject: lost\r\n\r\n.\r\n".encode()
    assert answers(instance, octets)[-1] == "250 2.0.0"
    assert b"5.1.1" in instance.wait_for_mail(me(), b"no-such-user-here")


def test_what_the_command_line_wishes_stands_where_the_session_wishes_nothing(resting):
    words = ["-N", "failure", "-R", "hdrs", "-V", "id1", "-B", "8BITMIME", "-f", "other@a.test"]
    octets = SMALL + SMALL.replace(b"a.test>", b"a.test> RET=FULL ENVID=id2").replace(
        b"b.test>", b"b.test> NOTIFY=NEVER"
    )
    assert answers(resting, octets, *words).count("250 2.0.0") == 2
    first, second = (path.read_text().split("\n\n")[0] for path in drops(resting))
    assert re.findall("(?m)^(?:from|to|body|envid|ret): .*", first) == [
        "from: <alice@a.test>", "to: [ ] <bob@b.test> notify=FAILURE", "body: 8BITMIME", "envid: id1", "ret: HDRS",
    ]  # fmt: skip
    assert re.findall("(?m)^(?:to|envid|ret): .*", second) == [
        "to: [ ] <bob@b.test> notify=NEVER",
        "envid: id2",
        "ret: FULL",
    ]


# --- the promise ---------------------------------------------------------------------------------


@pytest.mark.real("strace")
def test_250_is_said_after_the_file_is_complete_and_on_disk(resting, tmp_path):
    command = [
        "strace",
        "-qq",
        "-e",
        "trace=write,fchmod,fsync",
        "-o",
        tmp_path / "trace",
        resting.tree / "bin" / "sendmail",
    ]
    subprocess.run(
        [*command, "-bs"], input=SMALL, capture_output=True, env=resting.environment, check=True, timeout=60
    )  # fmt: skip
    calls = [
        line.split("(")[0] + line.partition('"')[2][:3] for line in Path(tmp_path / "trace").read_text().splitlines()
    ]
    end = calls.index("fsync")
    assert calls[end - 1] == "fchmod"
    assert calls[end + 1 :] == ["write250"]
    assert "write354" in calls[:end]


def test_a_client_that_goes_in_the_middle_leaves_nothing(resting):
    assert answers(resting, LINES + b"Subject: half\r\n\r\nx\r\n")[-1] == "354 End d"
    assert drops(resting) == []


def test_a_session_killed_in_the_middle_leaves_nothing_that_would_be_taken(resting):
    with contextlib.suppress(smtplib.SMTPServerDisconnected), client_of(resting) as client:
        client.send(LINES)
        client.getreply(), client.getreply(), client.getreply()
        client.send(b"Subject: half\r\n")
        wait_until(lambda: drops(resting)[0].read_bytes().endswith(b"half\r\n"), "the beginning of the content")
        client.process.kill()
        client.process.wait(60)
        assert [path.stat().st_mode for path in drops(resting)] == [0o100600]
        raise smtplib.SMTPServerDisconnected


def test_an_empty_session_is_no_error(resting):
    assert answers(resting, b"") == []


def test_a_reader_that_goes_away_leaves_only_whole_files(resting):
    script = 'printf "$1" | "$0" -bs | read line'
    done = resting.run(
        "/bin/sh", "-c", script, resting.tree / "bin" / "sendmail", SMALL.decode().replace("\r\n", r"\r\n")
    )
    assert done.stderr == b""
    wait_until(lambda: all(path.stat().st_mode == 0o100640 for path in drops(resting)), "only whole files")


def test_content_does_not_stay_in_memory(resting):
    resting.configure(message_size_limit=0)
    with client_of(resting) as client:
        assert client.docmd("EHLO x")[1].count(b"SIZE\n") == 1
        assert [client.docmd(line.decode())[0] for line in LINES.splitlines()] == [250, 250, 354]
        for _ in range(25):
            client.send(b"x" * 1022 * 1024 + b"\r\n")
        assert client.docmd(".")[0] == 250
        status = Path(f"/proc/{client.process.pid}/status").read_text()
        assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 40_000


# What is written before the content: the greeting, two replies, the head of the file, 354.
@pytest.mark.real("strace")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("write:error=ENOSPC:when=4", ["452 4.3.1", "500 5.5.2", "500 5.5.2"]),
        ("write:error=EDQUOT:when=6", ["354 End d", "452 4.3.1"]),
        ("pwrite64:error=ENOSPC:when=1", ["354 End d", "452 4.3.1"]),
        ("fchmod:error=EPERM:when=1", ["354 End d", "451 4.3.0"]),
        ("fsync:error=EIO:when=1", ["354 End d", "451 4.3.0"]),
    ],
)
def test_a_disk_that_fails_refuses_one_message_and_the_next_is_taken(resting, tmp_path, fault, expected):
    octets = LINES + b"lost\r\n.\r\nRSET\r\n" + SMALL
    tracer = [shutil.which("strace"), "-qq", "-o", tmp_path / "trace", "-e", f"inject={fault}"]
    done = resting.run(*tracer, resting.tree / "bin" / "sendmail", "-bs", input=octets, check=True)
    lines = [line[:9] for line in done.stdout.decode().splitlines()]
    assert lines[3 : 3 + len(expected)] == expected
    assert lines[-1] == "250 2.0.0"
    (path,) = drops(resting)
    assert path.read_bytes().endswith(b"\r\nx\r\n")


# --- what can be wrong -----------------------------------------------------------------------------


def test_too_large_a_message_is_refused_and_the_next_one_is_taken(resting):
    resting.configure(message_size_limit=1000)
    large = LINES + b"x" * 1001 + b"\r\n.\r\n"
    declared = b"MAIL FROM:<alice@a.test> SIZE=1001\r\n"
    assert answers(resting, large + declared + SMALL) == [
        *("250 2.1.0", "250 2.1.5", "354 End d", "552 5.3.4"),
        "552 5.3.4",
        *("250 2.1.0", "250 2.1.5", "354 End d", "250 2.0.0"),
    ]
    (path,) = drops(resting)
    assert path.read_bytes().endswith(b"\r\nx\r\n")


def test_a_message_at_the_limit_is_taken(resting):
    resting.configure(message_size_limit=1000)
    assert answers(resting, LINES + b"x" * 998 + b"\r\n.\r\n")[-1] == "250 2.0.0"


def test_a_file_system_without_room_is_452_before_the_content(resting):
    resting.configure(queue_minfree=1 << 60)
    assert answers(resting, LINES + b"QUIT\r\n") == ["250 2.1.0", "250 2.1.5", "452 4.3.1", "221 2.0.0"]
    assert drops(resting) == []


def test_a_missing_spool_is_451(resting):
    resting.configure(queue_directory=f"{resting.path}/nowhere")
    assert answers(resting, LINES + b"QUIT\r\n")[2:] == ["451 4.3.0", "221 2.0.0"]


def test_a_spool_of_the_wrong_mode_is_451_at_the_dot_and_leaves_nothing(resting):
    (resting.path / "queue" / "maildrop").chmod(0o777)
    assert answers(resting, SMALL + SMALL)[3::4] == ["451 4.3.0", "451 4.3.0"]
    assert drops(resting) == []


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_tiny_file_size_limit_is_451_and_a_smaller_message_is_taken(resting):
    large = LINES + b"x\r\n" * 2000 + b".\r\n"
    assert answers(resting, large + SMALL, preexec_fn=limited)[3::4] == ["451 4.3.0", "250 2.0.0"]
    assert len(drops(resting)) == 1


def test_a_configuration_directory_without_main_cf_is_78_and_no_greeting(resting, tmp_path):
    done = resting.run("sendmail", "-bs", env={"MAIL_CONFIG": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (78, b"", 1)


def test_a_broken_main_cf_stops_nobody(resting):
    resting.configure(message_size_limit="banana")
    assert answers(resting, SMALL)[-1] == "250 2.0.0"


def test_more_recipients_than_a_file_may_name_are_refused_at_data(resting):
    path = b"RCPT TO:<" + b"x" * 2000 + b"@b.test>\r\n"
    octets = b"MAIL FROM:<>\r\n" + path * 8500 + b"DATA\r\nRSET\r\n" + SMALL
    found = answers(resting, octets)
    assert found[8501:] == ["452 4.5.3", "250 2.0.0", "250 2.1.0", "250 2.1.5", "354 End d", "250 2.0.0"]


def test_ten_thousand_recipients_are_taken(resting):
    to = b"".join(b"RCPT TO:<user%d@b.test>\r\n" % i for i in range(10_000))
    assert answers(resting, b"MAIL FROM:<a@a.test>\r\n" + to + b"DATA\r\nx\r\n.\r\n").count("250 2.1.5") == 10_000
    assert drops(resting)[0].read_bytes().count(b"\nto: [ ] ") == 10_000
