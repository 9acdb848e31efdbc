"""What a hostile user can put into maildrop/: it is left alone, or taken as that user's own mail."""

import os

import pytest
from machine import HOST, SPOOL, Machine, wait_until

# Runs as mallory. envelope() is what sendmail(1) writes, drop() what it does with it.
MALLORY = """
import os, sys, time
os.chdir("/var/spool/sendmail-py/maildrop")

def envelope(to="alice", size=None, head="", submitter=None, text="forged"):
    body = f"Subject: {text}\\n\\n{text}\\n"
    number = len(body) if size is None else size
    submitter = submitter or f"uid={os.getuid()} login=mallory pid=1 cwd=\\"/\\" command=\\"x\\""
    return (f"sendmail-py-queue 1\\narrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000\\n"
            f"submitter: {submitter}\\nto: [ ] <{to}>\\nflags: [ ] delay-warned  [ ] expire  [ ] queue-only\\n"
            f"{head}size: {number:010d}\\n\\n{body}").encode()

def drop(name, data, mode=0o640):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data)
    os.fchmod(fd, mode)
    os.close(fd)

def poke(*names):
    fd = os.open("../trigger", os.O_WRONLY | os.O_NONBLOCK)
    for name in names:
        os.write(fd, b"\\n" + name.encode() + b"\\n")
    os.close(fd)
"""


def as_mallory(machine: Machine, program: str) -> None:
    machine.python(MALLORY + program, user="mallory")


def clear(machine: Machine) -> None:
    machine.script(f"find {SPOOL}/maildrop -mindepth 1 -user mallory -delete")


JUNK = {
    "symlink": 'os.symlink("/etc/passwd", "symlink")',
    "dangling": 'os.symlink("/nowhere", "dangling")',
    "loop": 'os.symlink("loop", "loop")',
    "fifo": 'os.mkfifo("fifo", 0o600); os.chmod("fifo", 0o640)',
    "directory": 'os.mkdir("directory")',
    "hardlink": 'drop("hardlink", envelope()); os.link("hardlink", "hardlink2")',
    "open": 'drop("open", envelope(), 0o666)',
    "setuid": 'drop("setuid", envelope(), 0o4640)',
    "closed": 'drop("closed", envelope(), 0)',
    "noise": 'drop("noise", os.urandom(4096))',
    "empty": 'drop("empty", b"")',
    "nul": 'drop("nul", bytes(100000))',
    "newer": 'drop("newer", envelope().replace(b"queue 1", b"queue 2"))',
    "claims": 'drop("claims", envelope(size=9_999_999_999))',
    "negative": 'drop("negative", envelope().replace(b"size: 00", b"size: -0"))',
    "nobody": 'drop("nobody", envelope().replace(b"to: [ ] <alice>\\n", b""))',
    "done": 'drop("done", envelope().replace(b"to: [ ]", b"to: [x]"))',
    "program": 'drop("program", envelope().replace(b"<alice>", b"<alice> target=\\"|touch /var/lib/ran\\""))',
    "file": 'drop("file", envelope().replace(b"<alice>", b"<alice> target=\\"/var/lib/ran\\""))',
    "control": 'drop("control", envelope(to="a\\0lice"))',
    "othergroup": 'drop("othergroup", envelope(), 0o600); os.chown("othergroup", -1, os.getgid()); '
    'os.chmod("othergroup", 0o640)',
}


REASONS = {
    "symlink": "Too many levels",
    "dangling": "Too many levels",
    "loop": "Too many levels",
    "fifo": "not a regular",
    "directory": "not a regular",
    "hardlink": "more than one link",
    "open": "mode 666",
    "setuid": "mode 4640",
    "closed": "mode 0",
    "noise": "not a queue file",
    "empty": "not a queue file",
    "nul": "not a queue file",
    "newer": "not a queue file, or one of a version",
    "claims": "torn",
    "negative": "bad size",
    "nobody": "no recipients",
    "done": "bad recipient",
    "program": "bad recipient",
    "file": "bad recipient",
    "control": "NUL in an address",
    "othergroup": "group ",
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_left_alone_and_logged_once(running: Machine, name: str) -> None:
    lines = len(running.log().splitlines())
    try:
        as_mallory(running, JUNK[name] + f"\npoke({name!r}, {name!r})\npoke({name!r})\n")
        running.submit("alice", "bob", text=f"after {name}")
        running.wait_for_mail("bob", f"after {name}")
        assert REASONS[name] in running.wait_for_log(f"maildrop/{name} is left alone: ")
        as_mallory(running, f"poke({name!r})\n")
        running.submit("alice", "bob", text=f"then {name}")
        running.wait_for_mail("bob", f"then {name}")
        told = [x for x in running.log().splitlines()[lines:] if f"maildrop/{name} " in x]
        assert len(told) == 1
        assert name in running.maildrop()
        assert "forged" not in running.mailbox("alice")
    finally:
        clear(running)


def test_a_hard_link_to_a_file_of_another_user_cannot_be_made_or_is_left_alone(stopped: Machine) -> None:
    stopped.submit("alice", "bob", text="linked")
    (name,) = stopped.maildrop()
    program = f"try: os.link({name!r}, 'mine')\nexcept PermissionError: pass"
    as_mallory(stopped, program)
    linked = "mine" in stopped.maildrop()
    stopped.start()
    if linked:  # fs.protected_hardlinks = 0
        stopped.wait_for_log("is left alone: it has more than one link")
        stopped.script(f"rm {SPOOL}/maildrop/mine")
    stopped.wait_for_mail("bob", "linked")
    assert stopped.mailbox("bob").count("Subject: linked") == 1


def test_a_name_of_odd_characters_is_no_mail_whatever_it_holds(running: Machine) -> None:
    names = [".hidden", "a b", "new\nline", "uml\u00e4ut", "x" * 65, "\x1b[2J", "-rf", "..."]
    try:
        as_mallory(running, f"names = {names!r}\nfor n in names: drop(n, envelope())\npoke(*names)\npoke('-rf')\n")
        running.submit("alice", "bob", text="odd names")
        running.wait_for_mail("bob", "odd names")
        running.wait_for_mail("alice", "forged")  # -rf is a good name, and the mail is mallory's
        assert set(names) - {"-rf"} <= set(running.maildrop())
        assert running.mailbox("alice").count("Subject: forged") == 1
        assert "\x1b" not in running.log()
    finally:
        clear(running)
        running.script("rm -f /var/mail/alice")


FORGED = {
    "maildrop": "maildrop: other 1 1\n",
    "parent": "parent: 660F390A33E5B211 0\n",
    "visited": "visited: bob\n",
    "controlling-uid": "controlling-uid: 0\n",
    "client": "client: 192.0.2.1\n",
    "from": "from: <root@localhost>\n",
    "unknown": "x-owner: root\n",
}


@pytest.mark.parametrize("line", FORGED)
def test_a_forged_line_of_the_envelope_gives_no_other_identity(running: Machine, line: str) -> None:
    name, before = f"forged-{line}", len(running.log())
    submitter = 'uid=0 login=root pid=1 cwd="/root" command="/sbin/init"'
    words = f'to="bob", head={FORGED[line]!r}, submitter={submitter!r}, text="as root, {line}"'
    as_mallory(running, f"drop({name!r}, envelope({words}))\npoke({name!r})\n")
    left_alone = f"maildrop/{name} is left alone"
    wait_until(lambda: f"as root, {line}" in running.mailbox("bob") or left_alone in running.log(), "an end")
    try:
        if left_alone not in running.log():
            message = running.wait_for_mail("bob", f"as root, {line}")
            sender = "root@localhost" if line == "from" else f"mallory@{HOST}"  # the reverse-path is anybody's choice
            assert f"Return-Path: <{sender}>" in message and "192.0.2.1" not in message
            uid = running.run("id", "-u", "mallory").stdout.decode().strip()
            running.wait_for_log(f"uid={uid} from=<{sender}>")
            assert name not in running.maildrop()
        assert "uid=0 from=<" not in running.log()[before:]
    finally:
        clear(running)


def test_a_file_being_written_is_not_junk_and_becomes_mail_when_it_is_complete(running: Machine) -> None:
    as_mallory(running, 'drop("slow", envelope(to="bob", text="slow one"), 0o600)\npoke("slow")\n')
    running.submit("alice", "bob", text="after the slow one")
    running.wait_for_mail("bob", "after the slow one")
    assert "maildrop/slow" not in running.log()
    as_mallory(running, 'os.chmod("slow", 0o640)\npoke("slow")\n')
    assert f"Return-Path: <mallory@{HOST}>" in running.wait_for_mail("bob", "Subject: slow one")


def test_a_file_that_was_never_finished_is_removed_after_a_day_and_a_half(running: Machine) -> None:
    program = 'drop("dead", envelope(), 0o600)\nos.utime("dead", (1e9, 1e9))\npoke("dead")\n'
    as_mallory(running, program)
    wait_until(lambda: "dead" not in running.maildrop(), "the file is gone")
    running.wait_for_log("never finished")


def test_two_thousand_junk_files_do_not_stop_a_good_message(running: Machine) -> None:
    try:
        as_mallory(running, 'for n in range(2000): drop(f"junk{n}", b"junk")\n')
        running.submit("alice", "bob", text="through the junk")
        running.wait_for_mail("bob", "through the junk")
        wait_until(lambda: sum("maildrop/junk" in x for x in running.log().splitlines()) >= 2000, "all logged")
        running.submit("alice", "bob", text="after the junk")
        running.wait_for_mail("bob", "after the junk")
        assert sum("maildrop/junk" in x for x in running.log().splitlines()) == 2000
    finally:
        clear(running)


def test_a_trigger_full_of_garbage_delays_mail_at_most_until_the_next_scan(running: Machine) -> None:
    flood = """
fd = os.open("../trigger", os.O_WRONLY | os.O_NONBLOCK)
written = 0
end = time.monotonic() + 20
while written < 1_000_000 and time.monotonic() < end:
    try:
        written += os.write(fd, os.urandom(2048) + b"../../etc/passwd\\n" + b"A" * 2000)
    except BlockingIOError:
        time.sleep(0.001)
os.write(fd, b"no end of line")
"""
    as_mallory(running, flood)
    lines = len(running.log().splitlines())
    running.submit("alice", "bob", text="through the flood")
    running.wait_for_mail("bob", "through the flood")
    assert len(running.log().splitlines()) - lines < 20
    assert running.services()["pickup"]


def test_a_submitter_who_changes_his_file_after_it_was_taken_changes_nothing_else(running: Machine) -> None:
    program = """
fd = os.open("late", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, envelope(to="bob", text="taken"))
os.fchmod(fd, 0o640)
poke("late")
end = time.monotonic() + 2
while time.monotonic() < end and os.fstat(fd).st_nlink:
    os.pwrite(fd, b"garbage", 0)
    os.pwrite(fd, b"more", 200)
    time.sleep(0.001)
"""
    before = len(running.log())
    as_mallory(running, program)
    running.submit("alice", "bob", text="after the change")
    running.wait_for_mail("bob", "after the change")
    since = running.log()[before:]
    assert "ended with status" not in since and "was killed" not in since
    assert not os.listdir(running.path(f"{SPOOL}/corrupt"))
    clear(running)
