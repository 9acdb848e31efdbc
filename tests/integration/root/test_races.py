"""A user who swaps what her mail goes to for links, pipes and directories, at full speed, on a host that delivers.

Nothing of anybody else is touched, nothing hangs, and each message is in the end in one place of hers.
"""

import re
import subprocess
from collections import Counter

from machine import Machine, wait_until

COUNT = 120
SWAPPER = """
import ctypes, os
os.chdir("/home/mallory")
rename = ctypes.CDLL(None).renameat2
def swap(one, other):
    if rename(-100, one.encode(), -100, other.encode(), 2):  # RENAME_EXCHANGE
        raise SystemExit(f"cannot swap {one} and {other}")
places = [(".forward", ["link", "hard", "fifo", "dir", "file", "zero"]),
          ("Maildir/new", ["link", "to-bob", "fifo", "spare/new"]),
          ("Maildir/tmp", ["link", "to-bob", "file", "spare/tmp"]),
          ("Maildir", ["to-bob", "fifo", "spare"])]
print("ready", flush=True)
while not os.path.exists("stop"):
    for place, others in places:
        for other in others:
            swap(place, other)
            swap(place, other)  # and back
"""
PREPARE_OTHERS = """
install -d -o bob -g bob -m 755 /home/bob /home/bob/Maildir /home/bob/Maildir/new /home/bob/Maildir/tmp
install -d -o bob -g bob -m 755 /home/bob/Maildir/cur
printf 'victim@far.example\\n' >/home/bob/list
chown bob /home/bob/list
printf 'secret@far.example\\n' >/etc/canary
chmod 600 /etc/canary
ln /home/bob/list /home/mallory/hard
"""
PREPARE_HERS = """
cd /home/mallory
umask 077
mkdir -p Maildir/new Maildir/tmp Maildir/cur spare/new spare/tmp spare/cur dir
echo '\\mallory' >.forward
ln -s /etc/canary link
ln -s /home/bob/Maildir to-bob
ln -s /dev/zero zero
mkfifo fifo
touch file
"""
OTHERS = "cd /; find etc/canary etc/shadow home/bob -printf '%p %i %m %u %g %s %T@ %n\\n' | sort; cat etc/canary"
HERS = "cd /home/mallory; grep -rhs '^Subject: race ' Maildir spare file || :"


def test_a_user_who_swaps_everything_gets_each_message_and_reaches_nothing_of_others(fresh: Machine) -> None:
    quick = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s"}
    fresh.configure(home_mailbox="Maildir/", **quick)
    fresh.script(PREPARE_OTHERS)
    fresh.script(PREPARE_HERS, user="mallory")
    before = fresh.script(OTHERS)
    fresh.start()
    fresh.submit("bob", "alice", text="first")
    local = wait_until(lambda: fresh.services().get("local"), "local runs")
    command = fresh.command(["python3", "-I", "-c", SWAPPER], "mallory")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout and swapper.stdout.readline() == b"ready\n"
            for number in range(COUNT):
                fresh.submit("alice", "mallory", text=f"race {number}")
            fresh.submit("bob", "alice", text="others are not held up")
            wait_until(lambda: "held up" in fresh.script("cat /home/alice/Maildir/new/* || :"), "alice's mail")
            assert swapper.poll() is None
            fresh.run("touch", "/home/mallory/stop", user="mallory")
            assert swapper.wait(60) == 0
        finally:
            swapper.kill()
    wait_until(lambda: fresh.run("mailctl", "queue", "count").stdout.strip() == b"0", "an empty queue")
    log = fresh.log()
    assert set(re.findall(r"to=<mallory@.* status=(\w+)", log)) == {"sent", "deferred"}
    assert "/home/mallory/.forward of user mallory is ignored" in log
    found = Counter(fresh.script(HERS).splitlines())
    assert found == Counter(f"Subject: race {number}" for number in range(COUNT)), log
    assert fresh.script(OTHERS) == before
    assert "far.example" not in log and fresh.services()["local"] == local
