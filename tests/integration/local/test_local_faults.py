"""A process that is killed half-way, and a user who swaps files under it."""

import mailbox
import os
import pwd
import subprocess
import sys

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome

SWAPPER = """
import ctypes, os, sys
box, *others = sys.argv[1:]
rename = ctypes.CDLL(None).renameat2
print("ready", flush=True)
while True:
    for other in others:
        rename(-100, box.encode(), -100, other.encode(), 2)  # RENAME_EXCHANGE, there
        rename(-100, box.encode(), -100, other.encode(), 2)  # and back
"""


@pytest.mark.real("strace")
@pytest.mark.parametrize(
    "call, number",
    [
        ("linkat", 1),
        ("unlinkat", 1),
        ("writev", 1),
        ("fsync", 1),
        ("unlinkat", 2),
        ("sendmsg", 2),  # the first says that the service is ready
    ],
)
def test_after_a_kill_at_any_step_a_second_attempt_delivers_every_message(tree: Tree, call: str, number: int) -> None:
    fault = f"inject={call}:signal=SIGKILL:when={number}"
    doomed = tree.start(wrapper=("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", fault))
    doomed.send("daemon", [tree.message(b"Subject: %d\n\n" % n) for n in range(5)])
    doomed.process.wait(20)
    second = tree.start(stale_lock_time="1s", deliver_lock_attempts="20", deliver_lock_delay="1s")
    results = second.deliver("daemon", *(tree.message(b"Subject: %d\n\n" % n) for n in range(5)))
    assert {r and r.outcome for r in results} == {Outcome.DELIVERED}
    subjects = [m["Subject"] for m in mailbox.mbox(tree.spool / "daemon")]
    assert subjects[-5:] == list("01234")
    assert subjects in (list("01234"), list("0123401234"))
    assert "daemon.lock" not in os.listdir(tree.spool)


@pytest.mark.real(root=True)
def test_a_user_who_swaps_his_mailbox_reaches_no_file_of_others(root_tree: Tree) -> None:
    games, daemon = pwd.getpwnam("games"), pwd.getpwnam("daemon")
    os.chown(root_tree.spool, games.pw_uid, games.pw_gid)
    spool, outside = root_tree.spool, root_tree.spool.parent
    box, symlink, hardlink, fifo = (spool / name for name in ("games", "symlink", "hardlink", "fifo"))
    canary, foreign = outside / "canary", outside / "foreign"
    for path, entry in ((canary, pwd.getpwnam("root")), (foreign, daemon), (box, games)):
        path.touch(0o600)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    symlink.symlink_to(canary)
    hardlink.hardlink_to(foreign)
    os.mkfifo(fifo)
    agent = root_tree.start(mailbox_size_limit="0")
    command = [sys.executable, "-c", SWAPPER, *map(str, (box, symlink, hardlink, fifo))]
    with subprocess.Popen(command, user=games.pw_uid, group=games.pw_gid, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout and swapper.stdout.readline() == b"ready\n"
            results = [agent.deliver("games", root_tree.message(b"Subject: %d\n\n" % n))[0] for n in range(500)]
        finally:
            swapper.kill()
    assert {r.outcome for r in results if r} <= {Outcome.DELIVERED, Outcome.DEFERRED}
    assert canary.stat().st_size == foreign.stat().st_size == 0
    kept = next(
        path for path in (box, symlink, hardlink, fifo) if path.is_file() and path.stat().st_uid == games.pw_uid
    )
    delivered = [str(n) for n, r in enumerate(results) if r and r.outcome is Outcome.DELIVERED]
    assert [m["Subject"] for m in mailbox.mbox(kept)] == delivered
