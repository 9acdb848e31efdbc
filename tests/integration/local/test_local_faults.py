"""An agent that is killed half-way through a delivery to a mailbox."""

import mailbox
import os

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome


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
    doomed.process.wait(60)
    second = tree.start(stale_lock_time="1s", deliver_lock_attempts="20", deliver_lock_delay="1s")
    results = second.deliver("daemon", *(tree.message(b"Subject: %d\n\n" % n) for n in range(5)))
    assert {r and r.outcome for r in results} == {Outcome.DELIVERED}
    subjects = [m["Subject"] for m in mailbox.mbox(tree.spool / "daemon")]
    assert subjects[-5:] == list("01234")
    assert subjects in (list("01234"), list("0123401234"))
    assert "daemon.lock" not in os.listdir(tree.spool)
