"""hold, release, requeue, delete and expire, while they and the services are killed: nothing is lost."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.integration.instance import Instance
from tests.servers.smtp_sink import SmtpSink

STORM_SECONDS = float(os.environ.get("STEERING_STORM", "4"))
SEED = int(os.environ.get("STEERING_SEED", "1"))
KEPT, DELETED = 200, 50
HEAD = (
    'sendmail-py-queue 1\nid: {id}\narrived: {now}.000000 x\nsubmitter: uid=0 login=root pid=1 cwd="/" command=""\n'
    "from: <{sender}@here.test>\nto: [ ] <{number}@{domain}.test>\n"
    "flags: [ ] delay-warned  [ ] expire  [ ] queue-only  [ ] report  [ ] verify  [ ] reported\n"
    "size: {size:010}\n\n{content}"
)


def fill(instance: Instance, number: int, sender: str, domain: str = "far") -> None:
    """Put a message on hold."""
    queue_id = f"0123456789{number:06X}"
    content = f"Subject: mark {number} end\n\nhello\n"
    text = HEAD.format(
        id=queue_id,
        now=int(time.time()),
        sender=sender,
        number=number,
        domain=domain,
        size=len(content),
        content=content,
    )
    written = instance.path / "queue" / "tmp" / f"{queue_id}.test"
    written.write_text(text)
    written.rename(instance.path / "queue" / "hold" / queue_id)


VERBS = [["release", "ALL"], ["hold", "ALL"], ["requeue", "ALL"], ["delete", "--sender", "delete@here.test"]]


def storm(
    instance: Instance,
    seed: int,
    verbs: Sequence[list[str]] = VERBS,
    services: Sequence[str] = ("qmgr",),
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Run the verbs and kill them, and services three times at least, at random times."""
    chance = random.Random(seed)
    end = time.monotonic() + STORM_SECONDS
    killed = 0
    while time.monotonic() < end or killed < 3:
        meanwhile()
        command = [f"{instance.tree}/bin/mailctl", "-c", str(instance.path), "queue", *chance.choice(verbs)]
        process = subprocess.Popen(
            command, env=instance.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.choice([0.15, 0.3, 0.6, 5]))
        process.kill()
        process.wait()
        if chance.random() < 0.5 and (pid := instance.pid_of(chance.choice(services))):
            os.kill(pid, signal.SIGKILL)
            killed += 1


def test_whoever_is_killed_every_message_is_there_once_and_what_was_deleted_is_gone(tmp_path):
    with SmtpSink({"MAIL": "451 4.3.0 not now"}) as sink:
        relayhost = f"[127.0.0.1]:{sink.port}"
        settings = {"minimal_backoff_time": "1h", "service_throttle_time": "1s", "qmgr_message_active_limit": 100}
        with Instance(tmp_path / "i", relayhost=relayhost, **settings) as instance:
            for number in range(KEPT + DELETED):
                fill(instance, number, "keep" if number < KEPT else "delete")
            instance.start()
            storm(instance, SEED)
            instance.wait_for(lambda: instance.pid_of("qmgr"), "a queue manager")
            delete = ["queue", "delete", "--sender", "delete@here.test"]
            instance.wait_for(
                lambda: instance.mailctl(*delete, check=True).stdout == b"delete: 0 messages\n", "deleted"
            )
            assert instance.count() == KEPT
            del sink.replies["MAIL"]
            instance.mailctl("queue", "release", "ALL", check=True)
            instance.mailctl("queue", "flush", check=True)
            instance.wait_empty()
            marks = Counter(re.search(rb"mark (\d+) end", message.content)[1] for message in sink.messages)
            assert {int(mark): times for mark, times in marks.items()} == dict.fromkeys(range(KEPT), 1)
            assert os.listdir(instance.path / "queue" / "corrupt") == []


def test_what_is_steered_while_it_is_delivered_ends_once_or_the_log_says_why_not(tmp_path):
    """Mail comes on all the time: some is delivered, some deleted, some expires, since its server never takes it."""
    with SmtpSink({f"RCPT {number}@dead.test": "451 4.2.1 no" for number in range(2, 3000, 3)}) as sink:
        settings = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "service_throttle_time": "1s"}
        settings |= {"relayhost": f"[127.0.0.1]:{sink.port}", "smtp_process_limit": 2}
        with Instance(tmp_path / "i", **settings) as instance:
            numbers = iter(range(3000))

            def more_mail() -> None:
                for _ in range(8):
                    fill(instance, next(numbers), "keep")
                    fill(instance, next(numbers), "delete")
                    fill(instance, next(numbers), "games", "dead")

            verbs = [
                ["release", "ALL"],
                ["release", "--sender", "keep@here.test"],
                ["hold", "--domain", "far.test"],
                ["requeue", "--match", "keep@"],
                ["delete", "--sender", "delete@here.test"],
                ["expire", "--recipient", "@dead.test"],
                ["expire-now", "--sender", "games@here.test"],
            ]
            instance.start()
            storm(instance, SEED, verbs, ("qmgr", "smtp", "pickup"), more_mail)
            instance.wait_for(lambda: instance.pid_of("qmgr"), "a queue manager")
            instance.mailctl("queue", "release", "ALL", check=True)
            instance.mailctl("queue", "expire", "--domain", "dead.test", check=True)
            instance.wait_for(lambda: settled(instance), "an empty queue")

            sent = next(numbers)
            log, times = instance.log(), Counter(mark for m in sink.messages for mark in marks_of(m.content))
            bounced = Counter(marks_of(instance.mailbox("games")))
            repeats = repeats_explained(log)
            ends = (times, 1), (times, 0), (bounced, 1)  # what each kind comes to, and how often at least
            wrong = []
            for number in range(sent):
                counted, least = ends[number % 3]
                if not least <= counted[number] <= 1 + repeats[number]:
                    wrong.append(f"{number}: {counted[number]} times, {repeats[number]} repetitions explained")
            assert wrong == [] and sent >= 72
            assert not any(times[number] for number in range(2, sent, 3))
            assert os.listdir(instance.path / "queue" / "corrupt") == os.listdir(instance.path / "queue" / "tmp") == []


def settled(instance: Instance) -> bool:
    """Have what waits tried again, and say whether nothing is left."""
    instance.mailctl("queue", "expire", "--domain", "dead.test")
    instance.mailctl("queue", "release", "ALL")
    return instance.count() == 0


def marks_of(content: bytes) -> list[int]:
    return [int(mark) for mark in re.findall(rb"^Subject: mark (\d+) end", content, re.MULTILINE)]


def repeats_explained(log: str) -> Counter[int]:
    """Return how often the log says of each message, or of its bounce, that a delivery may be repeated."""
    ids: dict[int, set[str]] = {}
    for queue_id, number in re.findall(r": ([0-9A-F]+): to=<(\d+)@(?:far|dead)\.test>", log):
        ids.setdefault(int(number), set()).add(queue_id)
    repeated = Counter(re.findall(r": ([0-9A-F]+): .*may be repeated", log))
    return Counter({n: sum(repeated[name] for name in repeated if name.startswith(tuple(ids[n]))) for n in ids})
