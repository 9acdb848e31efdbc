"""Attempts that somebody asks for: only what he names is tried, and only that is looked at on the disk."""

import contextlib
import os
import re

import pytest

from tests.faults.tracing import Strace, threads_of
from tests.integration.instance import Instance
from tests.servers.smtp_sink import SmtpSink

DOMAINS = ("one.test", "two.test", "three.test", "four.test")
EACH = 6


class Waiting:
    """An instance with mail that waits: EACH messages for each of DOMAINS, from as many senders."""

    def __init__(self, path, stack):
        self.sink = stack.enter_context(SmtpSink({"RCPT": "451 4.2.1 not now"}))
        settings = {"relayhost": f"[127.0.0.1]:{self.sink.port}", "minimal_backoff_time": "1h"}
        self.instance = stack.enter_context(
            Instance(path, maximal_backoff_time="2h", service_throttle_time="1s", **settings)
        )
        for number in range(EACH):
            for domain in DOMAINS:
                words = "-f", f"sender{number}@here.test", f"user{number}@{domain}"
                self.instance.submit(f"Subject: {number}\n\nhello\n".encode(), *words)
        self.instance.start()
        self.instance.wait_for_log("status=deferred", EACH * len(DOMAINS))
        self.instance.wait_for(lambda: len(self.waiting()) == EACH * len(DOMAINS), "all of it in deferred/")
        self.sink.replies.clear()

    def waiting(self):
        """Return the ids in deferred/."""
        return {name for _, _, names in os.walk(self.instance.path / "queue" / "deferred") for name in names}

    def ids(self, pattern):
        """Return the ids of messages whose recipient matches."""
        found = re.findall(rf": (\w+): to=<{pattern}>.*status=deferred", self.instance.log())
        return set(found) & self.waiting()

    def went(self):
        """Return the recipients that have had their mail, sorted."""
        return sorted(
            path.split(">")[0].lstrip("<") for taken in self.sink.messages for path in map(str, taken.recipients)
        )

    def opened(self, *command):
        """Ask for attempts under strace, wait until they are over; returns the deferred messages that qmgr opened."""
        pid = self.instance.pid_of("qmgr")
        threads = [*threads_of(pid, "main"), *threads_of(pid, "pool")]
        strace = Strace(self.instance.path / "trace", threads, [])
        try:
            self.instance.run(*command, check=True)
            self.instance.wait_for(lambda: not os.listdir(self.instance.path / "queue" / "active"), "nothing under way")
        finally:
            lines = strace.end()
        assert not [line for line in lines if "getdents" in line and "/deferred" in line]  # no directory is scanned
        return {found[1] for line in lines if (found := re.search(r'openat\(.*/deferred/[^"]*/(\w+)"', line))}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Waiting(tmp_path_factory.mktemp("flushes") / "i", stack)


@pytest.mark.real("strace")
def test_only_what_is_named_is_tried_and_nothing_else_is_opened(waiting):
    everything, before_all = waiting.waiting(), len(waiting.sink.messages)
    control = ("mailctl", "-c", str(waiting.instance.path), "flush")
    (by_id,) = waiting.ids("user3@two.test")
    for command, chosen in (
        ((*control, "-d", "ONE.test"), waiting.ids(r"\w+@one.test")),
        ((*control, "-i", by_id), {by_id}),
        ((*control, "-f", "sender1@here.test"), waiting.ids(r"user1@(?:two|three|four).test")),
        (("sendmail", "-qRthree.test"), waiting.ids(r"\w+@three.test")),
        (("sendmail", f"-qI{min(waiting.ids('user4@four.test'))}"), waiting.ids("user4@four.test")),
        (("sendmail", "-qSsender5@"), waiting.ids(r"user5@(?:two|four).test")),
    ):
        before = waiting.waiting()
        opened = waiting.opened(*command)
        gone = before - waiting.waiting()
        chosen &= before
        assert gone == chosen and chosen, command
        # a text that may stand anywhere in an address can only be found by reading those
        assert opened <= (before if command[1].startswith("-qR") else chosen), command
    assert len(waiting.sink.messages) - before_all == len(everything) - len(waiting.waiting())


@pytest.mark.real("strace")
def test_a_queue_manager_that_has_just_begun_looks_once_and_knows_then(waiting):
    pid = waiting.instance.pid_of("qmgr")
    os.kill(pid, 9)
    waiting.instance.wait_for(lambda: waiting.instance.pid_of("qmgr") not in (0, pid), "another queue manager")
    control = ("mailctl", "-c", str(waiting.instance.path), "flush")
    assert waiting.opened(*control, "-d", "nowhere.test") == waiting.waiting()
    assert waiting.opened(*control, "-d", "nowhere.test") == set()
    chosen, before = waiting.ids(r"\w+@four.test"), waiting.went()
    assert len(chosen) >= 2 and waiting.opened(*control, "-d", "four.test") <= chosen
    assert len(waiting.went()) == len(before) + len(chosen) and not waiting.ids(r"\w+@four.test")
