"""Who is delivered next, and how much at one time, with real services, look-ups and mail servers."""

import contextlib
import os
import threading
import time

import pytest

from tests.integration.instance import Instance, me
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import SmtpSink

HOSTED = [f"hosted{n}.test" for n in range(6)]
SLOW = [f"slow{n}.test" for n in range(40)]
ZONE = {
    **{name: {"MX": ["10 mx.provider.test."]} for name in HOSTED},
    **{name: {"MX": ["10 silent.test."]} for name in SLOW},
    "free.test": {"MX": ["10 free.test."], "A": ["127.0.0.4"]},
    "mx.provider.test": {"A": ["127.0.0.1"]},
    "silent.test": {"A": ["127.0.0.2"]},
    "dead.test": {"A": ["127.0.0.3"]},
}


class Crowd(SmtpSink):
    """A mail server that takes its time, and counts how many messages it is taking at one time."""

    now = most = 0
    guard = threading.Lock()

    def reply(self, key, *more):
        if key == "DOT":
            with self.guard:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.05)
            with self.guard:
                self.now -= 1
        return super().reply(key, *more)


@pytest.fixture
def make(tmp_path):
    """Return a function that makes an instance, which asks a name server with ZONE; port is that of mail servers."""
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer(dict(ZONE)))

        def make(port, **settings):
            settings = {"minimal_backoff_time": "1h", "maximal_backoff_time": "1h", **settings}
            instance = Instance(
                tmp_path / "i",
                resolver_nameservers=names.address,
                smtp_tcp_port=port,
                smtp_connection_cache_time_limit=0,
                **settings,
            )
            return stack.enter_context(instance)

        yield make


def send(instance, *recipients):
    instance.submit(b"Subject: x\n\nhello\n", "-i", *recipients)


def test_domains_that_one_provider_hosts_share_its_limit_and_others_do_not_have_it(make):
    with Crowd() as provider, SmtpSink(host="127.0.0.4", port=provider.port) as other:
        instance = make(provider.port, destination_limits="provider.test concurrency=1 rate=600/min")
        for _ in range(2):
            send(instance, *(f"someone@{name}" for name in HOSTED), "someone@free.test")
        instance.start()
        instance.wait_empty()
        assert (len(provider.messages), len(other.messages)) == (12, 2)
        assert provider.most == 1


def test_a_dead_destination_is_left_alone_until_somebody_asks_for_attempts(make):
    with SmtpSink() as sink:
        instance = make(sink.port, smtp_initial_destination_concurrency=1, default_destination_recipient_limit=1)
        send(instance, *(f"user{n}@dead.test" for n in range(20)))
        instance.start()
        lines = instance.wait_for_log("status=deferred", 20)
        suspended = [line for line in lines if "(delivery temporarily suspended: connect to dead.test" in line]
        assert 10 < len(suspended) < 20
        instance.wait_for_log("destination dead.test is left alone for 3600s: connect")
        send(instance, "late@dead.test")
        instance.wait_for_log("to=<late@dead.test>.*delivery temporarily suspended")
        with SmtpSink(host="127.0.0.3", port=sink.port) as alive:
            send(instance, "someone@slow0.test")
            instance.wait_for_log("to=<someone@slow0.test>.*status=deferred")
            assert instance.mailctl("flush", "-d", "other.test", check=True).stdout == b"flush: 0 messages\n"
            assert instance.mailctl("flush", "-d", "DEAD.test", check=True).stdout == b"flush: 2 messages\n"
            instance.wait_for(lambda: instance.count() == 1, "only the mail of another domain in the queue")
            assert sum(len(message.recipients) for message in alive.messages) == 21


def test_slow_servers_hold_up_nobody_but_their_own_mail(make):
    silence = {"CONNECT": "SILENT"}
    with SmtpSink(host="127.0.0.2", replies=silence) as silent, SmtpSink(host="127.0.0.4", port=silent.port):
        instance = make(silent.port, smtp_process_limit=1, stop_timeout="1s")
        for _ in range(5):
            send(instance, *(f"someone@{name}" for name in SLOW))
        instance.start()
        instance.wait_for(lambda: silent.connections >= 50, "many sessions with the slow server")
        send(instance, "someone@free.test")
        instance.wait_for_log("to=<someone@free.test>.*status=sent")
        assert "to=<someone@slow" not in instance.log()


def test_mail_that_comes_faster_than_it_leaves_is_taken_slowly_and_none_is_refused(make):
    with SmtpSink(host="127.0.0.2", replies={"CONNECT": "SILENT"}) as silent:
        instance = make(silent.port, qmgr_message_active_limit=4, in_flow_delay="2s", stop_timeout="1s")
        instance.start()
        for _ in range(12):
            send(instance, "someone@slow0.test")
        instance.wait_for_log("more mail comes than can be delivered: it is taken slowly")
        assert len(list((instance.path / "queue" / "maildrop").iterdir())) > 4  # those of active/ among them
    instance.wait_for_log("mail is taken at once again")
    instance.wait_for_log("to=<someone@slow0.test>.*status=deferred", 12)
    assert instance.count() == 12
    assert not (instance.path / "queue" / "lock" / "slow").exists()


def test_no_file_of_a_great_queue_is_opened_before_it_is_due(make):
    instance = make(25)
    soon = time.time() + 1800
    for number in range(2000):
        name = f"660EE6B8F4E{number:06X}"
        path = instance.path / "queue" / "deferred" / name[-2:] / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(b"whoever reads this says that it is damaged\n")
        os.utime(path, (soon, soon))
    instance.start()
    instance.submit(b"Subject: new\n\nhello\n", me())
    instance.wait_for_mail(me(), b"Subject: new")
    assert instance.count() == 2000
    assert not list((instance.path / "queue" / "corrupt").iterdir())
    assert "corrupt" not in instance.log()
