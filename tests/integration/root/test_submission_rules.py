"""authorized_*_users and local_submission_rate_limit, for users who would rather not have them."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import SPOOL, Machine, wait_until

OURS = "/usr/local/sbin/sendmail"
# What sendmail(1) would do, by a program that asks nobody.
BY_HAND = r"""
import os, sys
name, text = sys.argv[1], sys.argv[2]
body = f"Subject: {text}\n\n{text}\n"
head = f"sendmail-py-queue 1\narrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000\n"
head += f'submitter: uid=0 login=root pid=1 cwd="/" command=""\nto: [ ] <bob>\n'
head += f"flags: [ ] delay-warned  [ ] expire  [ ] queue-only\nsize: {len(body):010d}\n\n"
os.chdir("/var/spool/sendmail-py/maildrop")
fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, (head + body).encode())
os.fchmod(fd, 0o640)
trigger = os.open("../trigger", os.O_WRONLY | os.O_NONBLOCK)
os.write(trigger, f"\n{name}\n".encode())
"""
OVER_THE_SOCKET = r"""
import json, socket, sys
end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
end.connect("/run/sendmail-py/submit")
print(end.recv(10000).decode())
"""


@pytest.fixture
def ruled(running: Machine) -> Iterator[Machine]:
    """The running machine; what a test sets is taken back."""
    yield running
    names = ("authorized_submit_users", "authorized_mailq_users", "authorized_flush_users")
    running.configure(local_submission_rate_limit="", **dict.fromkeys(names, "static:anyone"))
    running.run("mailctl", "reload")
    running.script(f"find {SPOOL}/maildrop -mindepth 1 -user mallory -delete")


def rule(machine: Machine, **settings: object) -> None:
    machine.configure(**settings)
    machine.run("mailctl", "reload")


def send(machine: Machine, user: str, text: str, *words: str) -> "subprocess.CompletedProcess[bytes]":
    message = f"Subject: {text}\n\n{text}\n".encode()
    return machine.run(OURS, *(words or ("bob",)), user=user, input=message, check=False)


def uid_of(machine: Machine, user: str) -> str:
    return machine.run("id", "-u", user).stdout.decode().strip()


def test_who_may_not_submit_is_told_so_with_69_and_cannot_get_round_it(ruled: Machine) -> None:
    rule(ruled, authorized_submit_users="!mallory, static:all")
    refusal = f"User mallory({uid_of(ruled, 'mallory')}) is not allowed to submit mail"
    for words in (["bob"], ["-t"], ["-bs"]):
        done = send(ruled, "mallory", "To: bob", *words)
        assert (done.returncode, done.stdout, done.stderr) == (69, b"", f"sendmail: {refusal}\n".encode())
    answer = json.loads(ruled.python(OVER_THE_SOCKET, user="mallory"))
    assert (answer["code"], answer["text"]) == (69, refusal)
    ruled.python(BY_HAND, "mine", "past the rule", user="mallory")
    assert refusal in ruled.wait_for_log("maildrop/mine is left alone: ")
    assert send(ruled, "alice", "alice may").returncode == 0
    ruled.wait_for_mail("bob", "alice may")
    assert "mine" in ruled.maildrop() and "past the rule" not in ruled.mailbox("bob")


def test_a_list_in_a_file_is_read_again_when_it_changes(ruled: Machine) -> None:
    ruled.script("echo 'alice, bob' > /etc/sendmail-py/submitters")
    rule(ruled, authorized_submit_users="root /etc/sendmail-py/submitters")
    assert [send(ruled, user, "listed").returncode for user in ("alice", "bob", "mallory")] == [0, 0, 69]
    ruled.script("echo mallory >> /etc/sendmail-py/submitters")
    assert send(ruled, "mallory", "listed since").returncode == 0
    ruled.wait_for_mail("bob", "listed since")
    ruled.script("chmod 600 /etc/sendmail-py/submitters")
    done = send(ruled, "alice", "unreadable")
    assert done.returncode == 75 and b"authorized_submit_users cannot be checked now" in done.stderr
    ruled.script("chmod 644 /etc/sendmail-py/submitters")


def test_who_may_not_see_or_flush_the_queue_is_told_so_as_by_postfix(ruled: Machine) -> None:
    rule(ruled, authorized_mailq_users="alice", authorized_flush_users="!mallory static:anyone")
    uid = uid_of(ruled, "mallory")
    for words, what in (
        (["mailq"], "view the mail queue"),
        ([OURS, "-bp"], "view the mail queue"),
        (["mailq", "-j"], "view the mail queue"),
        (["mailctl", "queue", "count"], "view the mail queue"),
        ([OURS, "-q"], "flush the mail queue"),
        ([OURS, "-qRbob"], "flush the mail queue"),
        (["mailctl", "flush"], "flush the mail queue"),
    ):
        done = ruled.run(*words, user="mallory", check=False)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (69, b"", 1), (words, done)
        assert f"User mallory({uid}) is not allowed to {what}" in done.stderr.decode()
        for user in ("", "sendmail-py"):
            assert ruled.run(*words, user=user, check=False).returncode == 0
    assert ruled.run("mailq", user="alice").stdout == ruled.run("mailq").stdout
    assert ruled.run("mailq", user="bob", check=False).returncode == 69


def test_a_user_over_the_limit_gets_75_and_the_others_do_not_notice(ruled: Machine) -> None:
    rule(ruled, local_submission_rate_limit="2/10")
    uid = uid_of(ruled, "mallory")
    for number in (1, 2):
        assert send(ruled, "mallory", f"limited {number}").returncode == 0
        ruled.wait_for_mail("bob", f"limited {number}")
    line = ruled.wait_for_log(f"uid {uid} has reached local_submission_rate_limit = 2/10")
    assert "its files wait in maildrop/" in line
    blocked = f"{SPOOL}/maildrop/.blocked"
    assert ruled.script(f"stat -c '%a %U' {blocked}") == "644 sendmail-py\n"
    for words in (["bob"], ["-t"], ["-bs"]):
        done = send(ruled, "mallory", "To: bob", *words)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (75, b"", 1)
        assert f"user {uid} has reached local_submission_rate_limit = 2/10".encode() in done.stderr
        assert b"try again after " in done.stderr
    answer = json.loads(ruled.python(OVER_THE_SOCKET, user="mallory"))
    assert answer["code"] == 75 and "local_submission_rate_limit" in answer["text"] and not answer["busy"]
    ruled.python(BY_HAND, "over", "over the limit", user="mallory")
    for user in ("alice", ""):
        for number in range(2 if user else 4):  # root is not counted
            done = send(ruled, user, f"unlimited {user or 'root'} {number}")
            assert done.returncode == 0
            ruled.wait_for_mail("bob", f"unlimited {user or 'root'} {number}")
    assert "over" in ruled.maildrop() and "over the limit" not in ruled.mailbox("bob")
    for words in (["rm", "-f", blocked], ["mv", blocked, "/tmp/x"], ["sh", "-c", f"echo > {blocked}"]):
        assert ruled.run(*words, user="mallory", check=False).returncode
    assert ruled.log().count(f"uid {uid} has reached") == 1


def test_a_kill_of_pickup_frees_nobody_and_a_higher_limit_does(ruled: Machine) -> None:
    rule(ruled, local_submission_rate_limit="3")
    uid = uid_of(ruled, "mallory")
    while send(ruled, "mallory", "again and again").returncode == 0:
        wait_until(lambda: ruled.maildrop() in ([], [".blocked"]), "it is taken")
    ruled.python(BY_HAND, "later", "after the limit", user="mallory")
    pid = ruled.services()["pickup"]
    os.kill(host_pid(ruled, pid), signal.SIGKILL)
    wait_until(lambda: ruled.services().get("pickup", pid) != pid, "another pickup")
    assert send(ruled, "mallory", "after a kill").returncode == 75
    assert "later" in ruled.maildrop()
    rule(ruled, local_submission_rate_limit="100")
    ruled.wait_for_mail("bob", "after the limit")
    assert send(ruled, "mallory", "after a raise").returncode == 0
    ruled.wait_for_mail("bob", "after a raise")
    assert uid not in ruled.script(f"cat {SPOOL}/maildrop/.blocked 2>/dev/null || :")


def host_pid(machine: Machine, pid: int) -> int:
    """Return what the host calls a process of the machine."""
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            ids = next(line for line in path.read_text().splitlines() if line.startswith("NSpid:")).split()[1:]
            same = os.readlink(path.parent / "ns/pid") == os.readlink(f"/proc/{machine.pid}/ns/pid")
        except (OSError, StopIteration):
            continue
        if same and ids[-1] == str(pid):
            return int(ids[0])
    raise AssertionError(f"no process {pid}")


def test_a_message_with_more_recipients_than_the_limit_comes_back(ruled: Machine) -> None:
    rule(ruled, local_submission_rate_limit="0/3")
    assert send(ruled, "carol", "to too many", "bob", "alice", "mallory", "root").returncode == 0
    notice = ruled.wait_for_mail("carol", "to too many")
    assert "5.5.3" in notice and "local_submission_rate_limit = 0/3" in notice
    assert send(ruled, "carol", "to few enough", "bob", "alice", "mallory").returncode == 0
    ruled.wait_for_mail("alice", "to few enough")


@pytest.mark.parametrize(
    "setting",
    ["local_submission_rate_limit = lots", "authorized_submit_users = hash:/etc/users", "authorized_flush_users = x:y"],
)
def test_a_rule_that_cannot_be_read_changes_nothing_and_loses_no_mail(running: Machine, setting: str) -> None:
    kept = running.script("cat /etc/sendmail-py/main.cf")
    try:
        running.script(f"echo '{setting}' >> /etc/sendmail-py/main.cf")
        done = running.run("mailctl", "reload", check=False)
        assert done.returncode == 78 and setting.partition(" ")[0].encode() in done.stderr
        assert send(running, "alice", f"in spite of {setting}").returncode == 0
        running.wait_for_mail("bob", f"in spite of {setting}")
    finally:
        running.run("sh", "-c", "cat > /etc/sendmail-py/main.cf", input=kept.encode())
