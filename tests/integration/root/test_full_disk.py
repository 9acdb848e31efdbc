"""A disk without room, or that nobody can write: nothing is lost, and what is delivered makes room."""

from machine import SPOOL, Machine, wait_until

NO_INODES = f"n=0; while touch {SPOOL}/full.$n 2>/dev/null; do n=$((n + 1)); done; test $n -gt 0"


def refused(host: Machine) -> str:
    """Submit a message that is refused with 75; returns what the user is told."""
    done = host.run("/usr/local/bin/sendmail", "bob", user="alice", input=b"Subject: refused\n\n", check=False)
    assert done.returncode == 75
    return done.stderr.decode()


def test_on_a_full_disk_the_services_start_and_what_they_deliver_makes_room(fresh: Machine) -> None:
    fresh.script(f"mount -t tmpfs -o mode=755,nr_inodes=60 none {SPOOL}")
    fresh.set_up(defer_transports="local")
    fresh.start()
    fresh.submit("alice", "bob", text="in the queue")
    fresh.wait_for_log("status=deferred (deferred transport)")
    wait_until(lambda: not fresh.maildrop(), "the original is gone")
    fresh.stop()
    fresh.submit("alice", "bob", text="in maildrop")
    fresh.script(NO_INODES)
    assert "not enough free space" in refused(fresh)
    fresh.configure(defer_transports="")
    fresh.start()
    fresh.run("mailctl", "flush")
    fresh.wait_for_mail("bob", "in the queue")
    fresh.wait_for_mail("bob", "in maildrop")
    assert fresh.mailbox("bob").count("\nSubject: ") == 2
    assert "Traceback" not in fresh.log()


def test_a_queue_that_cannot_be_written_is_one_line_at_start(fresh: Machine) -> None:
    fresh.stop()
    fresh.submit("alice", "bob", text="before")
    fresh.script(f"mount --bind {SPOOL} {SPOOL}; mount -o remount,bind,ro {SPOOL}")
    assert "Read-only file system" in refused(fresh)
    done = fresh.run("mailctl", "start", check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (69, 1)
    assert b"maildrop: Read-only file system" in done.stderr
    assert "Traceback" not in fresh.log()
    fresh.script(f"mount -o remount,bind,rw {SPOOL}")
    fresh.start()
    fresh.wait_for_mail("bob", "before")
