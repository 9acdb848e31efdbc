"""Every verb that steers the queue, by everything that messages can be named by, asked of qmgr and under its lock."""

import contextlib
import json
import os
import signal
import time
from functools import partial

import pytest

from tests.integration.instance import Instance
from tests.servers.smtp_sink import SmtpSink

HOUR = 3600
# name, sender, recipient, age: each of the first can be told from all others by one thing
MESSAGES = [
    ("named", "any@here.test", "any@near.test", 0),
    ("sender", "alice@here.test", "any@near.test", 0),
    ("null", "", "any@near.test", 0),
    ("recipient", "any@here.test", "bob@near.test", 0),
    ("domain", "any@here.test", "any@sub.far.test", 0),
    ("old", "any@here.test", "any@near.test", 48 * HOUR),
    ("matched", "any@here.test", "order-4711@near.test", 0),
    ("both", "carol@here.test", "any@near.test", 5 * HOUR),
    ("carols", "carol@here.test", "any@near.test", 0),
    ("rest", "any@here.test", "any@near.test", 0),
]
HEAD = (
    'sendmail-py-queue 1\nid: {id}\narrived: {arrived}.000000 x\nsubmitter: uid=0 login=root pid=1 cwd="/" command=""\n'
    "from: <{sender}>\nto: [ ] <{recipient}>\n"
    "flags: [ ] delay-warned  [ ] expire  [ ] queue-only  [ ] report  [ ] verify  [ ] reported\n"
    "size: 0000000007\n\n\nhello\n"
)
IDS = {name: f"0123456789ABC{number:X}" for number, (name, *_) in enumerate(MESSAGES)}
BY = {
    "named": [IDS["named"]],
    "sender": ["--sender", "alice@here.test"],
    "null": ["--sender", "<>"],
    "recipient": ["--recipient", "bob@near.test"],
    "domain": ["--domain", ".far.test"],
    "old": ["--older", "1d"],
    "matched": ["--match", "^order-[0-9]+@"],
    "both": ["--sender", "carol@here.test", "--older", "90m"],
    "carols": ["--sender", "@here.test", "--match", "^carol", "--newer", "1h"],
}


class Queue:
    """An instance whose mail for others waits, with the services running or not."""

    def __init__(self, path, is_running):
        self.instance = Instance(path, defer_transports="smtp", notify_classes="")
        self.is_running = is_running

    def mailctl(self, *words):
        return self.instance.mailctl("queue", *words, check=True)

    def states(self):
        """Return the state of each message by its id."""
        return {row["queue_id"]: row["queue_name"] for row in self.rows()}

    def rows(self):
        return [json.loads(line) for line in self.mailctl("list", "-j").stdout.splitlines()]

    def fill(self, state):
        """Have the messages, and no others, in hold or in deferred."""
        self.mailctl("delete", "ALL")
        for name, sender, recipient, age in MESSAGES:
            written = self.instance.path / "queue" / "tmp" / f"{IDS[name]}.test"
            arrived = int(time.time()) - age
            written.write_text(HEAD.format(id=IDS[name], arrived=arrived, sender=sender, recipient=recipient))
            written.rename(self.instance.path / "queue" / "hold" / IDS[name])
        if state == "deferred":
            self.mailctl("release", "ALL")
            self.wait_for(dict.fromkeys(IDS.values(), "deferred" if self.is_running else "incoming"))

    def wait_for(self, states):
        self.instance.wait_for(lambda: self.states().items() >= states.items(), f"{states}, not {self.states()}")


@pytest.fixture(scope="module", params=[True, False], ids=["services up", "services down"])
def queue(request, tmp_path_factory):
    queue = Queue(tmp_path_factory.mktemp("steering") / "i", request.param)
    with queue.instance as instance:
        if request.param:
            instance.start()
        yield queue


def told_apart(queue, verb):
    """Do what a verb says to each message that can be told from the others, one after the other."""
    for name, words in BY.items():
        if verb in ("hold", "delete"):
            dry = queue.mailctl(verb, *words, "--dry-run")
            assert dry.stdout.decode().split() == [IDS[name]], words
            assert dry.stderr == f"{verb}: would be 1 message\n".encode()
        assert queue.mailctl(verb, *words).stdout == f"{verb}: 1 message\n".encode(), words


def all_are(queue, verb, count):
    """Do it to all."""
    before = queue.states()
    assert len(queue.mailctl(verb, "ALL", "-n").stdout.split()) == count
    assert queue.states() == before
    assert queue.mailctl(verb, "ALL").stdout == f"{verb}: {count} message{'s' * (count != 1)}\n".encode()


def test_messages_are_held(queue):
    queue.fill("deferred")
    told_apart(queue, "hold")
    resting = "deferred" if queue.is_running else "incoming"
    assert queue.states() == dict.fromkeys(IDS.values(), "hold") | {IDS["rest"]: resting}
    all_are(queue, "hold", 1)
    assert queue.states() == dict.fromkeys(IDS.values(), "hold")


def test_messages_are_released(queue):
    queue.fill("hold")
    told_apart(queue, "release")
    resting = "deferred" if queue.is_running else "incoming"
    queue.wait_for(dict.fromkeys(IDS.values(), resting) | {IDS["rest"]: "hold"})
    all_are(queue, "release", 1)
    queue.wait_for(dict.fromkeys(IDS.values(), resting))


def test_messages_are_deleted(queue):
    queue.fill("hold")
    told_apart(queue, "delete")
    assert queue.states() == {IDS["rest"]: "hold"}
    all_are(queue, "delete", 1)
    assert queue.states() == {}


def test_messages_expire(queue):
    queue.fill("hold")
    told_apart(queue, "expire")
    assert {row["queue_id"] for row in queue.rows() if not row["forced_expire"]} == {IDS["rest"]}
    all_are(queue, "expire", len(MESSAGES))
    assert all(row["forced_expire"] and row["queue_name"] == "hold" for row in queue.rows())


def test_messages_expire_now(queue):
    queue.fill("hold")
    told_apart(queue, "expire-now")
    queue.wait_for({IDS["rest"]: "hold"})
    if queue.is_running:
        queue.instance.wait_for(lambda: not queue.states().keys() & {IDS[name] for name in BY}, "all others returned")
    else:
        assert queue.states() == dict.fromkeys(IDS.values(), "incoming") | {IDS["rest"]: "hold"}
    all_are(queue, "delete", len(queue.states()))


def test_messages_are_requeued(queue):
    queue.fill("hold")
    told_apart(queue, "requeue")
    resting = "deferred" if queue.is_running else "incoming"
    queue.instance.wait_for(
        lambda: sorted(queue.states().values()) == sorted([*[resting] * len(BY), "hold"]), "all but one made anew"
    )
    assert queue.states().keys() & set(IDS.values()) == {IDS["rest"]}
    rows = {(row["sender"], row["recipients"][0]["address"]) for row in queue.rows()}
    assert rows == {(sender or "MAILER-DAEMON", recipient) for _, sender, recipient, _ in MESSAGES}
    before = queue.states().keys()
    all_are(queue, "requeue", len(MESSAGES))
    queue.instance.wait_for(
        lambda: list(queue.states().values()) == [resting] * len(MESSAGES) and not queue.states().keys() & before, "all"
    )


def test_a_queue_is_named_and_nothing_else_is_meant(queue):
    queue.fill("hold")
    queue.mailctl("release", IDS["old"])
    queue.wait_for({IDS["old"]: "deferred" if queue.is_running else "incoming"})
    assert queue.mailctl("expire", "--queue", "hold").stdout == b"expire: 9 messages\n"
    assert [row["queue_id"] for row in queue.rows() if not row["forced_expire"]] == [IDS["old"]]
    assert queue.mailctl("delete", "--queue", "hold", "--older", "1d").stdout == b"delete: 0 messages\n"


@pytest.fixture(params=[True, False], ids=["pickup stopped", "services down"])
def waiting(request, tmp_path):
    """Mail that pickup has not taken yet, a smarthost that will refuse it, and a way to have pickup go on."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(SmtpSink({"MAIL": "451 4.3.0 not now"}))
        instance = Instance(tmp_path / "i", relayhost=f"[127.0.0.1]:{sink.port}", minimal_backoff_time="1h")
        stack.enter_context(instance)
        go_on = instance.start
        if request.param:
            instance.start()
            pickup = instance.pid_of("pickup")
            os.kill(pickup, signal.SIGSTOP)
            go_on = partial(os.kill, pickup, signal.SIGCONT)
            stack.callback(go_on)
        for name in ("held", "deleted", "expired", "now", "left"):
            instance.submit(b"Subject: x\n\nhello\n", "-f", f"{name}@here.test", f"{name}@far.test")
        yield instance, go_on


def test_what_pickup_has_not_taken_is_steered_by_what_it_is(waiting):
    instance, go_on = waiting
    rows = [json.loads(line) for line in instance.mailctl("queue", "list", "-j", check=True).stdout.splitlines()]
    ids = {row["sender"].partition("@")[0]: row["queue_id"] for row in rows if row["queue_name"] == "maildrop"}
    assert sorted(ids) == ["deleted", "expired", "held", "left", "now"]

    def steer(*words):
        return instance.mailctl("queue", *words, check=True).stdout.decode().strip()

    assert steer("hold", "--newer", "1h", "--dry-run").split() == [row["queue_id"] for row in rows]
    assert steer("hold", "--older", "1h") == "hold: 0 messages"
    assert steer("release", "ALL") == "release: 0 messages"
    assert steer("requeue", ids["left"]) == "requeue: 0 messages"
    assert steer("hold", "--recipient", "held@far.test") == "hold: 1 message"
    assert steer("delete", ids["deleted"]) == "delete: 1 message"
    assert steer("expire", "--match", "^expired@here") == "expire: 1 message"
    assert steer("expire-now", "--sender", "now@here.test", "--domain", "far.test") == "expire-now: 1 message"
    assert instance.count() == 4
    go_on()
    for name in ("expired", "now"):
        instance.wait_for_log(f"{ids[name]}: from=<{name}@here.test>, status=force-expired, returned to sender")
    rows = {}

    def settled():
        lines = instance.mailctl("queue", "list", "-j", check=True).stdout.splitlines()
        rows.update({row["queue_id"]: row["queue_name"] for row in map(json.loads, lines)})
        return [rows.get(ids[name]) for name in ("held", "left")] == ["hold", "deferred"]

    instance.wait_for(settled, f"one on hold and one deferred, not {rows}")
    assert ids["deleted"] not in rows and "from=<deleted@here.test>, size=" not in instance.log()
