"""What works without the services, and what is root's alone."""

import pytest
from machine import SPOOL, Machine, wait_until


def test_without_services_mail_waits_and_only_root_sees_it(stopped: Machine) -> None:
    before = stopped.maildrop()
    stopped.submit("carol", "alice", text="meanwhile")
    assert len(stopped.maildrop()) == len(before) + 1
    listing = stopped.run("mailq").stdout.decode()
    assert "alice" in listing and listing.rstrip().endswith("Request.")
    done = stopped.run("mailq", user="carol", check=False)
    assert (done.returncode, done.stdout) == (69, b"")
    assert done.stderr.count(b"\n") == 1 and b"not running" in done.stderr
    stopped.start()
    stopped.wait_for_mail("alice", "meanwhile")
    wait_until(lambda: stopped.maildrop() == before, "the original is gone")


@pytest.mark.parametrize("user", ["", "alice", "mallory", "nobody"])
def test_with_services_everybody_sees_the_queue(running: Machine, user: str) -> None:
    running.configure(defer_transports="smtp")
    running.run("mailctl", "reload")
    try:
        running.submit("bob", "someone@remote.example", text="waits")
        wait_until(lambda: b"someone@remote.example" in running.run("mailq", user=user).stdout, "it is listed")
        listed = ("/usr/local/sbin/sendmail", "-bp")  # while it is tried the list changes
        wait_until(lambda: running.run(*listed, user=user).stdout == running.run("mailq").stdout, "the same list")
        assert int(running.run("mailctl", "queue", "count", user=user).stdout) >= 1
    finally:
        running.configure(defer_transports="")


@pytest.mark.parametrize(
    "words",
    [
        ["stop"],
        ["reload"],
        *(["queue", verb, which] for verb in ("hold", "delete", "requeue") for which in ("ALL", "0123456789ABC")),
    ],
    ids=" ".join,
)
def test_an_ordinary_user_may_not_change_what_the_services_do(running: Machine, words: list[str]) -> None:
    before = running.services()
    done = running.run("mailctl", *words, user="mallory", check=False)
    assert done.returncode == 77
    assert done.stderr.count(b"\n") == 1 and b"permission denied" in done.stderr
    assert {n: p for n, p in running.services().items() if n in before} == before


def test_without_services_root_steers_the_queue_as_its_owner(running: Machine) -> None:
    running.configure(defer_transports="smtp", canonical_maps="inline:{old@far.example=new@far.example}")
    running.run("mailctl", "reload")
    running.run("mailctl", "queue", "delete", "ALL")
    running.submit("bob", "someone@far.example", text="steered")
    find = f"find {SPOOL} -type f -path '*/deferred/*'"
    (path,) = wait_until(lambda: running.script(find).split(), "it is deferred")
    queue_id = path.rpartition("/")[2]
    for words in (["show", queue_id], ["delete", "ALL"], ["show", queue_id]):
        done = running.run("mailctl", "queue", *words, user="mallory", check=False)
        assert done.returncode == 77 and done.stderr.count(b"\n") == 1, done.stderr
    running.stop()
    for words in (["delete", "ALL"], ["hold", queue_id]):
        done = running.run("mailctl", "queue", *words, user="mallory", check=False)
        assert done.returncode == 69 and b"services are not running" in done.stderr, done.stderr
    for verb in ("hold", "expire", "release", "requeue"):
        assert running.run("mailctl", "queue", verb, "ALL").stdout == f"{verb}: 1 message\n".encode()
    of_root = running.script(f"find {SPOOL} -mindepth 2 -user root; find /run/sendmail-py -type f -user root")
    assert SPOOL not in of_root, of_root
    assert (
        running.run("mailctl", "queue", "delete", "--recipient", "someone@far.example").stdout == b"delete: 1 message\n"
    )
    running.configure(defer_transports="", canonical_maps="")
    running.start()
    assert running.run("mailctl", "queue", "count").stdout == b"0\n"


def test_an_ordinary_user_cannot_start_or_set_up_anything_of_the_systems(stopped: Machine) -> None:
    done = stopped.run("mailctl", "setup", user="mallory", check=False)
    assert done.returncode == 77
    done = stopped.run("mailctl", "start", user="mallory", check=False)
    assert done.returncode and done.stderr.count(b"\n") == 1, done.stderr
    assert not stopped.path("/run/sendmail-py/master.pid").exists()
    stopped.start()


def test_an_ordinary_user_cannot_take_part_in_the_services_sockets(running: Machine) -> None:
    for name in ("public", "control", "master.pid", "master.lock"):
        done = running.run("rm", "-f", f"/run/sendmail-py/{name}", user="mallory", check=False)
        assert done.returncode
    assert running.script("stat -c '%a %U' /run/sendmail-py") == "755 root\n"


def test_the_trigger_can_be_written_by_all_and_read_by_none(running: Machine) -> None:
    done = running.run("cat", f"{SPOOL}/trigger", user="mallory", check=False)
    assert done.returncode and b"Permission denied" in done.stderr
