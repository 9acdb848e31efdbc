"""What the SMTP server asks the disk before it takes a message, for how long the answer counts, and who waits."""

import os
from types import SimpleNamespace

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope, Recipient, Submitter
from sendmail_py.formats.checks import Checked
from sendmail_py.host.syslog import Log
from sendmail_py.services import smtpd_message
from sendmail_py.services.smtpd_content import NO_ROOM, Incoming
from sendmail_py.services.smtpd_message import Arriving, Taker
from sendmail_py.spool import directories


def taker(path, **settings):
    texts = {"queue_directory": path, "myhostname": "here.test", "myorigin": "here.test", **settings}
    config = Config({name: Setting(str(text), "test") for name, text in texts.items()})
    return Taker(config, Log("x", "smtpd", "mail", 2))


def test_that_there_is_room_counts_for_a_moment_and_that_there_is_none_only_once(tmp_path, monkeypatch):
    times = SimpleNamespace(monotonic=lambda: times.now, now=1000.0)
    monkeypatch.setattr(smtpd_message, "time", times)
    queue = tmp_path / "queue"
    queue.symlink_to(tmp_path)
    asked = taker(queue)
    assert asked.no_room() is None
    queue.unlink()
    queue.symlink_to("/proc")  # which has no room
    assert asked.no_room() is None
    times.now += 0.2
    assert asked.no_room() is NO_ROOM
    queue.unlink()
    queue.symlink_to(tmp_path)
    assert asked.no_room() is None


def test_content_whose_file_cannot_be_closed_well_is_closed_once(monkeypatch):
    close, closed = os.close, []

    def failing(descriptor):
        closed.append(descriptor)
        close(descriptor)
        raise OSError(5, "no")

    content = Incoming(lambda: os.memfd_create("content"), 0)
    content.write(b"x" * 100_000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        content.close()
        del content
    assert len(closed) == 1


@pytest.mark.parametrize("octets, is_in_a_thread", [(4_000, False), (1_000_000, True)])
def test_a_long_message_is_left_to_a_thread_for_others_would_wait_for_its_fields(tmp_path, octets, is_in_a_thread):
    directories.create(str(tmp_path), os.getuid(), os.getgid())
    log = Log("x", "smtpd", "mail", 2)
    asked = taker(tmp_path, run_directory=tmp_path)
    content = asked.new_content()
    content.write(b"X: y\r\n" * (octets // 6))
    to = Recipient(Address("games", "here.test"), "", ())
    envelope = Envelope("", 1_700_000_000_000_000, Address("a", "b.test"), [to], Submitter(os.getuid()))
    envelope.client = "localhost[127.0.0.1]"
    answers = []
    asked._tell = lambda: None
    asked.take(Arriving(envelope, content, Checked(), log), None, answers.append)
    assert (len(answers), asked.pool.running) == ((0, 1) if is_in_a_thread else (1, 0))
    while asked.pool.running:
        asked.collect()
    assert [answer.code for answer in answers] == [250]
