"""An administrator steers the queue, with the services running and without them."""

import contextlib
import json
import os
import re
import signal
import threading
import time

import pytest

from tests.integration.instance import Instance
from tests.servers.smtp_sink import SmtpSink

DOWN = "451 4.3.0 not now"


class World:
    """An instance whose smarthost refuses everything for now."""

    def __init__(self, path, stack, **settings):
        self.sink = stack.enter_context(SmtpSink({"MAIL": DOWN}))
        relayhost = f"[127.0.0.1]:{self.sink.port}"
        self.instance = Instance(path, relayhost=relayhost, minimal_backoff_time="1h", **settings)
        stack.enter_context(self.instance)
        self.instance.start()
        self.ids = {}

    def send(self, name, *to, sender="games"):
        before = set(self.waiting())
        self.instance.submit(f"Subject: {name}\n\nhello\n".encode(), "-i", "-f", sender, *to)
        (self.ids[name],) = self.instance.wait_for(lambda: set(self.waiting()) - before, f"{name} deferred")
        return self.ids[name]

    def waiting(self, state="deferred"):
        lines = self.instance.mailctl("queue", "list", "-j", check=True).stdout.splitlines()
        return [row["queue_id"] for row in map(json.loads, lines) if row["queue_name"] == state]

    def queue(self, *words, **more):
        return self.instance.mailctl("queue", *words, **more)

    def steer(self, *words):
        """Run a verb; returns for how many messages there was something to do."""
        return int(self.queue(*words, check=True).stdout.split()[1])

    def up(self):
        del self.sink.replies["MAIL"]

    def subjects(self):
        return sorted(m.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for m in self.sink.messages)


@pytest.fixture
def world(tmp_path):
    with contextlib.ExitStack() as stack:
        yield World(tmp_path / "i", stack)


@pytest.mark.parametrize("is_running", [True, False])
def test_messages_are_steered_by_what_they_are(world, is_running):
    world.send("one", "a@near.test", "b@far.test", sender="alice@here.test")
    world.send("two", "c@far.test", sender="bob@here.test")
    world.send("three", "d@near.test", sender="bob@here.test")
    if not is_running:
        world.instance.stop()
    assert world.queue("hold").returncode == 64
    assert world.queue("delete", "--match", "(").returncode == 64
    dry = world.queue("delete", "--sender", "@here.test", "--dry-run", check=True)
    assert set(dry.stdout.decode().split()) == set(world.ids.values())
    assert world.steer("hold", "--domain", "far.test", "--newer", "1d") == 2
    assert world.steer("hold", "ALL") == 1
    assert set(world.waiting("hold")) == set(world.ids.values())
    assert world.steer("delete", "--sender", "alice@here.test", "--match", "not now") == 1
    assert world.steer("release", world.ids["two"], "0123456789ABCDEF") == 1
    assert world.steer("expire-now", "--recipient", "d@near.test") == 1
    if not is_running:
        world.instance.start()
    world.instance.wait_for_log(f"{world.ids['three']}: from=<bob@here.test>, status=force-expired")
    world.up()
    world.instance.mailctl("queue", "flush", check=True)
    world.instance.wait_empty()
    assert world.subjects() == ["two"]


@pytest.mark.parametrize("is_running", [True, False])
def test_a_requeued_message_is_sent_with_the_addresses_of_today(world, is_running):
    queue_id = world.send("moved", "old@far.test")
    if not is_running:
        world.instance.stop()
    world.instance.configure(canonical_maps="inline:{old@far.test=new@far.test}")
    world.up()
    if is_running:
        world.instance.reload()
    assert world.steer("requeue", queue_id) == 1
    if not is_running:
        world.instance.start()
    world.instance.wait_empty()
    assert world.sink.messages[0].recipients[0].startswith("<new@far.test>")
    assert len(world.sink.messages) == 1


def test_what_is_under_delivery_is_parked_after_its_attempt(world):
    world.up()
    reply = world.sink.reply
    world.sink.reply = lambda key, *more: (time.sleep(2), DOWN)[1] if key == "RCPT" else reply(key, *more)
    world.instance.submit(b"Subject: slow\n\nhello\n", "-f", "games", "a@far.test")
    (queue_id,) = world.instance.wait_for(lambda: world.waiting("active"), "it under delivery")
    assert world.steer("hold", queue_id) == 1
    world.instance.wait_for(lambda: world.waiting("hold") == [queue_id], "it on hold")
    world.instance.wait_for_log(f"{queue_id}: placed on hold")


def slow_recipients(world):
    """Have the smarthost rest at the first RCPT; returns an event for when it does, and one for it to go on."""
    begun, go_on = threading.Event(), threading.Event()
    reply = world.sink.reply

    def slow(key, *more):
        if key == "RCPT" and not go_on.is_set():
            begun.set()
            go_on.wait(60)
            return DOWN
        return reply(key, *more)

    world.up()
    world.sink.reply = slow
    return begun, go_on


def test_a_file_that_somebody_removes_under_delivery_ends_with_a_warning(world):
    queue_id = world.send("removed", "a@far.test")
    begun, go_on = slow_recipients(world)
    world.instance.mailctl("queue", "flush", check=True)
    assert begun.wait(60)
    (world.instance.path / "queue" / "active" / queue_id).unlink()
    os.kill(world.instance.pid_of("smtp"), signal.SIGKILL)  # so that it would be handed out again
    (line,) = world.instance.wait_for_log(f"{queue_id}: somebody has taken it out of active/; 1 of its recipients")
    go_on.set()
    assert "warning: " in line and line.endswith("still waited")
    world.instance.wait_empty()
    log = world.instance.log()
    assert "(its queue file is gone)" in log and "tried again" not in log and "cannot be handed out" not in log


def test_a_copy_that_somebody_removes_is_made_again_from_its_original_at_the_next_start(world):
    begun, go_on = slow_recipients(world)
    world.instance.submit(b"Subject: twice\n\nhello\n", "-f", "games", "a@far.test")
    assert begun.wait(60)
    (queue_id,) = world.waiting("active")
    (world.instance.path / "queue" / "active" / queue_id).unlink()
    go_on.set()
    (line,) = world.instance.wait_for_log(f"{queue_id}: somebody has taken it out of active/")
    assert line.endswith("and are tried again at the next start, from maildrop/")
    assert world.waiting("maildrop") == [queue_id]
    world.instance.stop()
    world.instance.start()
    world.instance.wait_empty()
    assert world.subjects() == ["twice"]


def test_what_is_in_maildrop_while_the_services_are_down_is_steered_too(world):
    world.instance.stop()
    for name in ("parked", "gone", "free"):
        world.instance.submit(f"Subject: {name}\n\nhello\n".encode(), "-f", f"{name}@here.test", "a@far.test")
    assert len(world.waiting("maildrop")) == 3
    assert world.steer("delete", "--sender", "gone@here.test") == 1
    assert world.steer("hold", "ALL") == world.steer("expire", "ALL") == 2
    assert world.steer("release", "--sender", "free@here.test") == 1
    assert world.instance.count() == len(world.waiting("maildrop")) == 2
    world.instance.start()
    world.instance.wait_for(lambda: len(world.waiting("hold")) == 1, "it on hold")
    world.instance.wait_for_log("from=<free@here.test>, status=force-expired, returned to sender")
    assert not any("parked@here.test" in line for line in world.sink.commands)


def test_ids_can_come_from_a_pipe_and_counts_are_told_as_json(world):
    ids = [world.send("one", "a@far.test"), world.send("two", "b@far.test")]
    assert json.loads(world.queue("count", "--json", check=True).stdout) == {"deferred": 2}
    assert world.queue("hold", "-", input="\n".join(ids).encode(), check=True).stdout == b"hold: 2 messages\n"
    assert world.queue("hold", "-", input=b"").returncode == 64


def at_a_terminal(world, *words):
    """Run `mailctl queue` with a terminal; returns its status, and for each line what was shown there in turn."""
    command = f"{world.instance.tree}/bin/mailctl -c {world.instance.path} queue {' '.join(words)}"
    done = world.instance.run("/usr/bin/script", "-qec", command, "/dev/null")
    return done.returncode, [line.split("\r") for line in done.stdout.decode().replace("\r\n", "\n").split("\n")[:-1]]


@pytest.mark.real("script")
@pytest.mark.parametrize("are_up", [False, True])
def test_on_a_terminal_alone_a_bar_shows_many_messages_as_they_go(world, are_up):
    world.instance.stop()
    deferred = world.instance.path / "queue" / "hold"
    text = (
        b"sendmail-py-queue 1\narrived: 1795435041.0 x\nsubmitter: uid=0\nfrom: <>\nto: [ ] <a@x>\nsize: 0000000000\n\n"
    )
    for number in range(1200):
        (deferred / f"0123456789{number:04}").write_bytes(text)
    piped = world.queue("release", "ALL", check=True)
    assert (piped.stdout, piped.stderr) == (b"release: 1200 messages\n", b"")
    if are_up:
        world.instance.configure(defer_transports="smtp, local, error")
        world.instance.start()
    piped = world.queue("hold", "ALL", check=True)
    assert (piped.stdout, piped.stderr) == (b"hold: 1200 messages\n", b"")
    for verb, step in (*([] if are_up else [("release", 200), ("hold", 200)]), ("delete", 1000)):
        status, lines = at_a_terminal(world, verb, "ALL")
        assert len(lines) == 2, lines
        bars, last = lines
        assert status == 0 and last == [f"{verb}: 1200 messages"]
        counts = [*range(step, 1200, step), 1200]
        assert [bar.split("] ")[1] for bar in bars if bar] == [f"{n}/1200 {100 * n // 1200} % " for n in counts]
        assert bars[-1].startswith(f"[{'#' * 40}] ") and max(map(len, bars)) < 80
    status, (last,) = at_a_terminal(world, "delete", "ALL")
    assert (status, last) == (0, ["delete: 0 messages"])
    assert list(deferred.iterdir()) == [] and world.instance.count() == 0


def test_the_story_of_a_message_is_told_from_its_queue_file(world):
    queue_id = world.send("shown", "a@far.test")
    text = world.queue("show", queue_id, check=True).stdout.decode()
    assert text.startswith(f"{queue_id}  deferred\n") and "<a@far.test> deferred 4.3.0 by 127.0.0.1[127.0.0.1]" in text
    assert "not now" in text and "login=" in text
    message = world.queue("show", "--eml", queue_id, check=True).stdout
    assert message.startswith(b"Received: ") and message.endswith(b"\n\nhello\n")
    assert json.loads(world.queue("show", "-j", queue_id, check=True).stdout)["recipients"][0]["state"] == "waiting"
    assert b"far.test 1 1 " in world.queue("summary", "--queue", "deferred", check=True).stdout
    gone = world.queue("show", "0123456789ABCD")
    assert gone.returncode == 69 and b"mailctl trace" in gone.stderr
    world.instance.stop()
    assert "<a@far.test> deferred 4.3.0" in world.queue("show", queue_id, check=True).stdout.decode()


def test_the_story_has_what_was_said_to_each_recipient_also_of_a_success(world):
    world.up()
    world.sink.replies |= {"RCPT b@far.test": "451 4.2.1 not now", "RCPT c@far.test": "550 5.1.1 never"}
    world.sink.replies["DOT"] = "250 taken"
    text = world.queue("show", world.send("three ends", "a@far.test", "b@far.test", "c@far.test"), check=True).stdout
    rows = re.findall(r"<(.)@far.test> (\w+) .*\n +(.*)\n", text.decode().partition("attempts\n")[2])
    assert len(rows) == 3 and rows[-1][:2] == ("b", "deferred") and "451 4.2.1 not now" in rows[-1][2]
    assert ("a", "sent", "250 taken") in rows
    assert any(row[:2] == ("c", "bounced") and "550 5.1.1 never" in row[2] for row in rows)


def test_a_message_is_traced_over_alias_restart_requeuing_and_bounce(world):
    world.instance.configure(mydestination="here.test")
    (world.instance.path / "aliases").write_text("team: games, gone@far.test\n")
    world.instance.reload()
    before = set(world.waiting())
    world.instance.submit(b"Subject: traced\nMessage-Id: <traced@x>\n\nhello\n", "-i", "-f", "games@here.test", "team")
    (child,) = world.instance.wait_for(lambda: set(world.waiting()) - before, "the child deferred")
    world.instance.stop()
    log = world.instance.path / "maillog"
    log.rename(f"{log}.1")
    world.instance.run("/usr/bin/gzip", f"{log}.1", check=True)
    world.instance.start()
    assert world.steer("requeue", child) == 1
    (new,) = world.instance.wait_for(lambda: set(world.waiting()) - before - {child}, "the new one deferred")
    world.sink.replies["MAIL"] = "550 5.7.1 never"
    world.instance.mailctl("queue", "flush", check=True)
    world.instance.wait_empty()
    told = world.instance.mailctl("trace", "traced@x", check=True).stdout.decode()
    for queue_id in (child, new):
        assert world.instance.mailctl("trace", queue_id, check=True).stdout.decode() == told
    assert told in world.instance.mailctl("trace", "gone@far.test", check=True).stdout.decode()
    heads = [line for line in told.splitlines() if line[:1] not in (" ", "")]
    assert [head.partition(" ")[2] for head in heads] == [
        "(not in the queue now)",
        f"expanded, from {child[:-2]} (not in the queue now)",
        f"requeued, from {child} (not in the queue now)",
        f"sender non-delivery notification, from {new} (not in the queue now)",
    ]
    assert "message-id=<traced@x>" in told and f"requeued as {new}" in told
    assert "status=deferred" in told and "status=bounced" in told and "to=<games@here.test>" in told
    rows = [json.loads(line) for line in world.instance.mailctl("trace", "-j", new, check=True).stdout.splitlines()]
    assert [row["queue_id"] for row in rows][2] == new and rows[3]["parent"] == new
    assert world.instance.mailctl("trace", "nobody@nowhere.test").returncode == 69
