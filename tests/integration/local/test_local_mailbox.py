"""mbox delivery by the real service, as an ordinary user."""

import fcntl
import mailbox
import os
import time
from pathlib import Path

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome


def put(path: Path, content: bytes, owner: Path) -> None:
    """Write a file that belongs to whom `owner` belongs to."""
    path.write_bytes(content)
    status = owner.stat()
    os.chown(path, status.st_uid, status.st_gid)


def test_a_message_is_appended_with_its_delivery_fields(tree: Tree) -> None:
    agent = tree.start()
    (result,) = agent.deliver("daemon", tree.message(b"Subject: x\n\nhello\nFrom here\n", "daemon@example.net"))
    assert result and (result.outcome, result.reason, result.relay) == (
        Outcome.DELIVERED,
        "delivered to mailbox",
        "local",
    )
    first, rest = (tree.spool / "daemon").read_bytes().split(b"\n", 1)
    assert first.startswith(b"From alice@example.org ") and time.strptime(first[23:].decode())
    assert rest == (
        b"Return-Path: <alice@example.org>\nDelivered-To: daemon@example.net\nSubject: x\n\nhello\n>From here\n\n"
    )
    assert (tree.spool / "daemon").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tree.spool) == ["daemon"]


def test_every_message_of_a_full_batch_is_delivered_and_logged(tree: Tree) -> None:
    agent = tree.start()
    batches = [
        agent.send(user, [tree.message(f"Subject: {n}\n\n{user}\n".encode()) for n in range(64)])
        for user in ("daemon", "bin")
    ]
    agent.collect(*batches)
    assert {r.outcome for b in batches for d in b.deliveries for r in d.results if r} == {Outcome.DELIVERED}
    for user in ("daemon", "bin"):
        assert [m["Subject"] for m in mailbox.mbox(tree.spool / user)] == [str(n) for n in range(64)]
    assert agent.stop() == 0
    assert tree.log.read_text().count("relay=local, ") == 128


def test_a_user_named_twice_by_one_message_gets_one_copy(tree: Tree) -> None:
    results = tree.start().deliver("daemon", tree.message(b"Subject: x\n\n", "daemon@example.net", "Daemon@localhost"))
    assert [r and r.outcome for r in results] == [Outcome.DELIVERED] * 2
    (copy,) = mailbox.mbox(tree.spool / "daemon")
    assert copy.get_all("Delivered-To") == ["daemon@example.net", "Daemon@localhost"]


def test_a_large_message_is_delivered_in_pieces_whole(tree: Tree) -> None:
    content = b"Subject: x\n\n" + b"From a line\n" * 250_000
    agent = tree.start()
    (result,) = agent.deliver("daemon", tree.message(content))
    assert result and result.outcome is Outcome.DELIVERED
    assert (tree.spool / "daemon").read_bytes().partition(b"\n\n")[2] == b">From a line\n" * 250_000 + b"\n"


def test_an_unknown_user_fails(tree: Tree) -> None:
    agent = tree.start()
    for name in ("no-such-user-here", "../daemon", "..", ""):
        (result,) = agent.deliver(name, tree.message())
        assert result and (result.outcome, result.status, result.reason) == (
            Outcome.FAILED,
            "5.1.1",
            f'unknown user: "{name}"',
        )


def test_a_user_is_found_in_lower_case(tree: Tree) -> None:
    (result,) = tree.start().deliver("Daemon", tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert os.listdir(tree.spool) == ["daemon"]


def test_a_forwarding_loop_fails_only_the_message_in_the_loop(tree: Tree) -> None:
    looping = tree.message(b"Subject: x\nDelivered-To: BOB@example.net\n\nhello\n", "bob@example.net")
    in_body = tree.message(b"Subject: x\n\nDelivered-To: bob@example.net\n", "bob@example.net")
    bad, good = tree.start().deliver("daemon", looping, in_body)
    assert bad and (bad.outcome, bad.status) == (Outcome.FAILED, "5.4.6")
    assert bad.reason == "mail forwarding loop for bob@example.net"
    assert good and good.outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("symlink", "symbolic link"),
        ("hardlink", "2 names"),
        ("fifo", "not a regular file"),
        ("directory", "Is a directory"),
    ],
)
def test_what_is_no_plain_mailbox_is_refused_and_untouched(tree: Tree, kind: str, reason: str) -> None:
    victim = tree.spool / "victim"
    put(victim, b"precious\n\n", tree.spool)
    box = tree.spool / "daemon"
    make = {
        "symlink": lambda: box.symlink_to(victim),
        "hardlink": lambda: box.hardlink_to(victim),
        "fifo": lambda: os.mkfifo(box),
    }
    make.get(kind, box.mkdir)()
    if kind != "hardlink":
        os.chown(box, tree.spool.stat().st_uid, -1, follow_symlinks=False)
    (result,) = tree.start().deliver("daemon", tree.message())
    assert result and result.outcome is Outcome.DEFERRED and reason in result.reason
    assert victim.read_bytes() == b"precious\n\n"
    assert sorted(os.listdir(tree.spool)) == ["daemon", "victim"]


def test_a_mailbox_left_unfinished_by_a_crash_does_not_swallow_the_next_message(tree: Tree) -> None:
    put(tree.spool / "daemon", b"From a@b Mon Nov 23 11:57:21 2026\nSubject: torn\n\nhalf a li", tree.spool)
    tree.start().deliver("daemon", tree.message())
    assert [m["Subject"] for m in mailbox.mbox(tree.spool / "daemon")] == ["torn", "x"]


def test_only_the_messages_that_do_not_fit_the_size_limit_fail(tree: Tree) -> None:
    agent = tree.start(mailbox_size_limit="100000")
    sizes = [1000, 200_000, 2000, 99_500, 3000]
    results = agent.deliver("daemon", *(tree.message(b"Subject: %d\n\n" % n + b"x" * n + b"\n") for n in sizes))
    assert [r and r.status for r in results] == ["2.0.0", "5.2.2", "2.0.0", "5.2.2", "2.0.0"]
    assert [m["Subject"] for m in mailbox.mbox(tree.spool / "daemon")] == ["1000", "2000", "3000"]


def test_a_message_shorter_than_its_size_is_deferred_alone(tree: Tree) -> None:
    messages = [tree.message(b"Subject: %d\n\n" % n + b"x" * size) for n, size in enumerate([10, 10, 3_000_000, 10])]
    messages[1].size += 1
    messages[2].size += 1
    results = tree.start(mailbox_size_limit="0").deliver("daemon", *messages)
    assert [r and r.status for r in results] == ["2.0.0", "4.3.0", "4.3.0", "2.0.0"]
    assert [m["Subject"] for m in mailbox.mbox(tree.spool / "daemon")] == ["0", "3"]


def test_a_lock_held_for_good_defers_the_batch(tree: Tree) -> None:
    put(tree.spool / "daemon.lock", b"%d\n" % os.getpid(), tree.spool)
    agent = tree.start(deliver_lock_attempts="2")
    locked = agent.send("daemon", [tree.message()])
    other = agent.send("bin", [tree.message()])
    agent.collect(other)
    assert locked.deliveries[0].results == [None], "a locked mailbox must not hold up another one"
    agent.collect(locked)
    (result,) = locked.deliveries[0].results
    assert result and (result.outcome, result.status) == (Outcome.DEFERRED, "4.2.0")
    assert result.reason == "unable to lock for exclusive access: Resource temporarily unavailable"
    assert sorted(os.listdir(tree.spool)) == ["bin", "daemon.lock"]


@pytest.mark.parametrize("kind", ["dotlock", "fcntl"])
def test_a_batch_is_delivered_once_the_lock_is_released(tree: Tree, kind: str) -> None:
    box, lock = tree.spool / "daemon", tree.spool / "daemon.lock"
    put(box, b"", tree.spool)
    agent = tree.start(deliver_lock_attempts="20")
    with box.open("r+b") as held:
        if kind == "fcntl":
            fcntl.lockf(held, fcntl.LOCK_EX)
        else:
            put(lock, b"%d\n" % os.getpid(), tree.spool)
        locked = agent.send("daemon", [tree.message()])
        agent.collect(agent.send("bin", [tree.message()]))
        assert box.stat().st_size == 0
    lock.unlink(missing_ok=True)
    agent.collect(locked)
    assert locked.deliveries[0].results[0] == agent.deliver("daemon", tree.message())[0]
    assert sorted(os.listdir(tree.spool)) == ["bin", "daemon"]


@pytest.mark.real("prlimit")
def test_more_locked_batches_than_descriptors_are_deferred_at_once(tree: Tree) -> None:
    put(tree.spool / "daemon.lock", b"%d\n" % os.getpid(), tree.spool)
    agent = tree.start(wrapper=("prlimit", "--nofile=300"), deliver_lock_attempts="1000", deliver_lock_delay="1h")
    batches = [agent.send("daemon", [tree.message() for _ in range(64)]) for _ in range(5)]
    agent.collect(*batches[2:])
    (result,) = agent.deliver("bin", tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert {r and r.status for d in batches[4].deliveries for r in d.results} == {"4.2.0"}
    assert batches[0].deliveries[0].results == [None]


def test_a_stop_ends_what_waits_for_a_lock_as_deferred(tree: Tree) -> None:
    put(tree.spool / "daemon.lock", b"%d\n" % os.getpid(), tree.spool)
    agent = tree.start(deliver_lock_attempts="1000", deliver_lock_delay="1h")
    locked = agent.send("daemon", [tree.message()])
    agent.deliver("bin", tree.message())
    agent.lifeline.send(b'{"do":"stop"}')
    agent.collect(locked)
    agent.stop()
    assert agent.process.returncode == 0
    assert locked.deliveries[0].results[0] is not None


def test_a_reload_takes_effect_while_mail_waits_for_a_lock(tree: Tree) -> None:
    put(tree.spool / "daemon.lock", b"%d\n" % os.getpid(), tree.spool)
    agent = tree.start(deliver_lock_attempts="1000", deliver_lock_delay="1h")
    locked = agent.send("daemon", [tree.message()])
    agent.deliver("bin", tree.message())
    agent.reload(mail_spool_directory=str(tree.spool), mailbox_size_limit="10")
    results = [agent.deliver("bin", tree.message())[0] for _ in range(2)]
    assert results[-1] and results[-1].status == "5.2.2"
    assert locked.deliveries[0].results[0] is None
    agent.stop()


@pytest.mark.parametrize(
    "age, pid, delivered", [(1000, "dead", True), (1000, "mine", False), (10, "dead", False), (1000, "none", True)]
)
def test_a_dot_lock_is_stale_when_it_is_old_and_its_process_gone(
    tree: Tree, age: int, pid: str, delivered: bool
) -> None:
    lock = tree.spool / "daemon.lock"
    put(lock, {"dead": b"4194304\n", "mine": b"%d\n" % os.getpid(), "none": b""}[pid], tree.spool)
    os.utime(lock, (time.time() - age,) * 2)
    (result,) = tree.start(deliver_lock_attempts="1").deliver("daemon", tree.message())
    assert result and result.outcome is (Outcome.DELIVERED if delivered else Outcome.DEFERRED)
    assert lock.exists() is not delivered


@pytest.mark.real("strace")
@pytest.mark.parametrize(
    "fault",
    ["fsync:error=EIO:when=1", "writev:error=ENOSPC:when=1", "writev:error=EDQUOT:when=2", "writev:error=EFBIG:when=2"],
)
def test_after_an_error_the_mailbox_is_as_before_and_nothing_is_delivered(tree: Tree, fault: str) -> None:
    box = tree.spool / "daemon"
    put(box, b"From a@b Mon Nov 23 11:57:21 2026\nSubject: old\n\nold\n\n", tree.spool)
    before = box.read_bytes()
    agent = tree.start(
        wrapper=("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=" + fault), mailbox_size_limit="0"
    )
    messages = [tree.message(b"Subject: new\n\n" + b"x" * 60_000) for _ in range(40)]
    results = agent.deliver("daemon", *messages)
    assert {r and r.outcome for r in results} == {Outcome.DEFERRED}
    assert box.read_bytes() == before
    assert os.listdir(tree.spool) == ["daemon"]


@pytest.mark.real("prlimit")
def test_a_message_beyond_the_limit_of_the_process_fails_alone(tree: Tree) -> None:
    agent = tree.start(wrapper=("prlimit", "--fsize=100000"), mailbox_size_limit="0")
    results = agent.deliver("daemon", *(tree.message(b"Subject: x\n\n" + b"x" * n) for n in (10, 150_000, 20)))
    assert [r and r.status for r in results] == ["2.0.0", "5.2.2", "2.0.0"]


@pytest.mark.real("strace")
def test_a_batch_costs_one_write_and_one_fsync(tree: Tree) -> None:
    put(tree.spool / "daemon", b"", tree.spool)
    trace = tree.queue.parent / "trace"
    trace.touch()
    trace.chmod(0o666)
    agent = tree.start(wrapper=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=writev,fsync"))
    agent.deliver("daemon", *(tree.message() for _ in range(64)))
    agent.stop()
    text = trace.read_text()
    assert (text.count("writev("), text.count("fsync(")) == (1, 1)
