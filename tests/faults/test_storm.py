"""kill -9 at random while mail pours in: nothing is lost, and every repetition is explained in the log."""

import contextlib
import os
import random
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.faults.harness import Patient, message, new_marker
from tests.faults.tracing import WHOLE

SUBMISSIONS = 200 if WHOLE else 40
SECONDS = 15.0 if WHOLE else 4.0
USERS = ("games", "bin", "daemon")


def kill_at_random(patient: Patient, over: threading.Event) -> int:
    """Kill services, one every 0.2 to 1 s, until it is over; returns how many."""
    dice = random.Random(4711)
    killed = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or not over.is_set():
        services = patient.services()
        chosen = dice.choice(("pickup", "qmgr", "local"))
        if chosen in services:
            with contextlib.suppress(ProcessLookupError):
                os.kill(services[chosen], signal.SIGKILL)
                killed += 1
        time.sleep(dice.uniform(0.2, 1.0))
    return killed


def ids_by_marker(patient: Patient) -> dict[str, set[str]]:
    """Return the queue ids under which each message was known, from the mailboxes' own fields."""
    found: dict[str, set[str]] = {}
    for user in USERS:
        for entry in patient.mailbox(user).split(b"\n\nFrom "):
            marker = re.search(rb"marker-\S+-end", entry)
            queue_id = re.search(rb"(?i)Message-ID: <\d+\.([0-9A-F]+)@", entry)
            if marker and queue_id:
                found.setdefault(marker[0].decode(), set()).add(queue_id[1].decode())
    return found


def test_a_storm_of_kills_loses_nothing_and_repeats_nothing_in_silence(tmp_path):
    with Patient(tmp_path / "p") as patient:
        patient.start()
        patient.ready("pickup", "qmgr")
        markers = [new_marker() for _ in range(SUBMISSIONS)]
        over = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            killer = pool.submit(kill_at_random, patient, over)
            pause = SECONDS / SUBMISSIONS

            def submit(mine):
                for marker in mine:
                    patient.submit(message(marker), *USERS)
                    time.sleep(pause)

            senders = [pool.submit(submit, markers[::2]), pool.submit(submit, markers[1::2])]
            for sender in senders:
                sender.result()
            over.set()
            assert killer.result() >= (10 if WHOLE else 3)
        patient.wait_settled()
        ids = ids_by_marker(patient)
        log = patient.log()
        texts = {user: patient.mailbox(user).decode() for user in USERS}
        for user in USERS:
            assert patient.copies(user, "marker-") >= SUBMISSIONS  # and the mailbox can be read
        for marker in markers:
            (queue_id,) = ids[marker]
            for user in USERS:
                count = len(re.findall(rf"^Subject: {marker}$", texts[user], re.MULTILINE))
                repeats = len(re.findall(rf": {queue_id}: .*may be repeated", log))
                assert 1 <= count <= 1 + repeats, f"{marker} {queue_id}: {count} copies for {user}, {repeats} explained"
        assert os.listdir(patient.queue / "tmp") == []
