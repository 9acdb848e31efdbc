"""A log that is rotated by a rename and a reload: no line is lost or doubled, and none comes late into the old file."""

import contextlib
import os
import re
import smtplib
import threading
from collections import Counter

import pytest

from tests.integration.instance import Instance, me
from tests.servers.ports import free_port
from tests.servers.smtp_sink import SmtpSink

ROUNDS = 3


@pytest.fixture
def gate():
    """What a sink waits for before it answers a message; open at first."""
    gate = threading.Event()
    gate.set()
    yield gate
    gate.set()


@pytest.fixture
def sink(gate):
    with SmtpSink(message=lambda *_: gate.wait(60)) as sink:
        yield sink


@pytest.fixture
def instance(tmp_path, sink):
    settings = {"relayhost": f"[127.0.0.1]:{sink.port}", "smtpd_port": free_port(), "metrics_listen": ""}
    with Instance(tmp_path / "i", **settings) as instance:
        instance.start()
        yield instance


def rotate(instance, number):
    """Do what logrotate does, and return the path of the old log."""
    old = instance.path / f"maillog.{number}"
    os.rename(instance.path / "maillog", old)
    assert instance.reload().returncode == 0
    return old


def writers(path):
    """Return the processes that have a file open, but for ourselves."""
    wanted, found = os.stat(path), set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), wanted) and int(pid) != os.getpid():
                        found.add(pid)
    return found


def test_a_delivery_that_is_on_its_way_and_a_client_that_is_served_write_into_the_new_file(instance, sink, gate):
    gate.clear()
    instance.submit(b"Subject: slow\n\nx\n", "-i", "someone@far.test")
    with smtplib.SMTP("127.0.0.1", int(instance.run("mailctl", "config", "-h", "smtpd_port").stdout)) as client:
        client.ehlo("client.test")
        instance.wait_for(lambda: sink.messages, "the message has come to the sink")
        for number in (1, 2):  # who leaves after the first reload hears of the second
            old = rotate(instance, number)
            instance.wait_for(lambda: not writers(old), f"nobody has the old log open: {writers(old)}")  # noqa: B023
        text = old.read_text()
        client.sendmail("a@here.test", [me()], "Subject: quick\n\nx\n")
        gate.set()
        lines = [*instance.wait_for_log("to=<someone@far.test>.*status=sent"), *instance.wait_for_log("smtpd.*client=")]
    assert len(lines) == 2
    instance.wait_for_mail(me(), b"Subject: quick")
    assert old.read_text() == text


def test_under_load_each_line_is_in_one_of_the_files_once(instance, sink):
    done = threading.Event()
    port = int(instance.run("mailctl", "config", "-h", "smtpd_port").stdout)
    sent = Counter()

    def by_sendmail():
        while not done.is_set():
            instance.submit(b"Subject: load\n\nx\n", "-i", me(), "someone@far.test")
            sent["pickup"] += 1

    def by_smtp():
        while not done.is_set():
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.sendmail("a@here.test", [me(), "other@far.test"], "Subject: load\n\nx\n")
            sent["smtpd"] += 1

    threads = [threading.Thread(target=work) for work in (by_sendmail, by_smtp)]
    for thread in threads:
        thread.start()
    olds = []
    try:
        for number in range(ROUNDS):
            count = sum(sent.values())
            instance.wait_for(lambda: sum(sent.values()) > count + 2, "more mail")  # noqa: B023
            olds.append(rotate(instance, number))
            instance.wait_for(lambda: not writers(olds[-1]), f"nobody has the old log open: {writers(olds[-1])}")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    instance.wait_empty()
    instance.stop()
    number = sum(sent.values())
    lines = Counter(line for path in (*olds, instance.path / "maillog") for line in path.read_text().splitlines())
    said = Counter(
        (found[1], found[2])
        for line in lines.elements()
        if (found := re.search(r"([0-9A-F]{15,}): (uid=|client=|message-id=|from=|to=<\w+|removed)", line))
    )
    assert set(said.values()) == {1}, [row for row in said.items() if row[1] > 1]
    kinds = Counter(kind for _, kind in said)
    assert kinds.pop("uid=") == sent["pickup"] and kinds.pop("client=") == sent["smtpd"]
    assert kinds.pop("to=<someone") == sent["pickup"] and kinds.pop("to=<other") == sent["smtpd"]
    assert set(kinds.values()) == {number}, kinds


def test_another_format_of_the_log_counts_from_the_reload_on_in_every_service(instance, sink, gate):
    """Agents are at work, one with a delivery on its way, while it changes: the new file has the new format alone."""
    for log_format, pattern in (("json", r'{"time": .*}'), ("postfix", r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} .*")):
        gate.clear()
        begun = len(sink.messages)
        instance.submit(b"Subject: on its way\n\nx\n", "-i", "someone@far.test", me())
        instance.wait_for(lambda: len(sink.messages) > begun, "the message has come to the sink")  # noqa: B023
        instance.mailctl("config", "-e", f"log_format={log_format}", check=True)
        rotate(instance, log_format)
        instance.submit(b"Subject: after\n\nx\n", me())
        gate.set()
        instance.wait_empty()
        lines = instance.log().splitlines()
        assert sum("status=sent" in line for line in lines) >= 2
        assert [line for line in lines if not re.fullmatch(pattern, line)] == []


def test_a_log_that_was_rotated_is_followed_also_where_the_reload_is_refused(instance):
    instance.submit(b"Subject: one\n\nx\n", "-i", me())
    instance.wait_for_mail(me(), b"Subject: one")
    instance.configure(message_size_limit="none")
    old = instance.path / "maillog.1"
    os.rename(instance.path / "maillog", old)
    assert instance.reload().returncode != 0
    instance.wait_for(lambda: not writers(old), f"nobody has the old log open: {writers(old)}")
    instance.wait_for_log("reload refused, the old configuration stays")
    assert instance.reload().returncode != 0, "and where it was not rotated, nothing is opened"
    instance.configure(message_size_limit="10000000")
    instance.submit(b"Subject: two\n\nx\n", "-i", me())
    instance.wait_for_mail(me(), b"Subject: two")
    instance.wait_for_log("status=sent")
