"""Mail between the users of a machine, each of whom submits as himself and has what is his alone."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from machine import HOST, SPOOL, Machine, wait_until


@pytest.mark.parametrize(("sender", "recipient"), [("alice", "bob"), ("bob", "carol"), ("carol", "alice")])
def test_mail_between_users_arrives_with_one_of_them_without_a_home(
    running: Machine, sender: str, recipient: str
) -> None:
    text = f"from {sender} to {recipient}"
    running.submit(sender, recipient, text=text)
    message = running.wait_for_mail(recipient, text)
    assert f"Return-Path: <{sender}@{HOST}>" in message
    assert f"Delivered-To: {recipient}@{HOST}" in message


@pytest.mark.parametrize("mode", ["2775", "0775"])
def test_a_mailbox_is_made_for_its_user_alone_with_the_group_of_the_directory(running: Machine, mode: str) -> None:
    running.script(f"chmod 0{mode} /var/mail; rm -f /var/mail/bob")
    running.submit("alice", "bob", text=f"mode {mode}")
    running.wait_for_mail("bob", f"mode {mode}")
    assert (
        running.script("stat -c '%a %U:%G' /var/mail/bob /var/mail") == f"600 bob:mail\n{mode.lstrip('0')} root:mail\n"
    )
    wait_until(lambda: running.script("ls -A /var/mail | grep -v '^[a-z]*$' || :") == "", "the lock files are gone")


def test_other_users_read_neither_a_mailbox_nor_waiting_mail_nor_the_names_of_it(stopped: Machine) -> None:
    stopped.submit("alice", "bob", text="private")
    (name,) = stopped.maildrop()
    assert stopped.script(f"stat -c '%a %U:%G' {SPOOL}/maildrop/{name}") == "640 alice:sendmail-py\n"
    for user in ("bob", "mallory", "nobody"):
        for words in (["cat", f"{SPOOL}/maildrop/{name}"], ["ls", f"{SPOOL}/maildrop"], ["ls", f"{SPOOL}/incoming"]):
            done = stopped.run(*words, user=user, check=False)
            assert done.returncode and b"Permission denied" in done.stderr
        for words in (["rm", "-f", name], ["mv", name, "other"]):
            assert stopped.run(*words, user=user, cwd=f"{SPOOL}/maildrop", check=False).returncode
    stopped.start()
    stopped.wait_for_mail("bob", "private")
    done = stopped.run("cat", "/var/mail/bob", user="mallory", check=False)
    assert done.returncode and b"Permission denied" in done.stderr


def test_the_sender_is_who_the_kernel_says_and_not_what_the_environment_says(running: Machine) -> None:
    running.submit("alice", "bob", text="I am root", USER="root", LOGNAME="root", HOME="/root", NAME="Root")
    message = running.wait_for_mail("bob", "I am root")
    assert f"Return-Path: <alice@{HOST}>" in message
    assert f"From: Alice Example <alice@{HOST}>" in message
    running.wait_for_log(f"uid={uid_of(running, 'alice')} from=<alice@{HOST}>")


def test_every_user_may_choose_the_reverse_path_and_the_log_still_has_his_uid(running: Machine) -> None:
    running.submit("mallory", "-f", "ceo@example.com", "bob", text="chosen")
    assert "Return-Path: <ceo@example.com>" in running.wait_for_mail("bob", "chosen")
    running.wait_for_log(f"uid={uid_of(running, 'mallory')} from=<ceo@example.com>")


def test_nobody_can_submit(running: Machine) -> None:
    running.submit("nobody", "bob", text="from nobody")
    assert f"Return-Path: <nobody@{HOST}>" in running.wait_for_mail("bob", "from nobody")


def test_a_user_whom_the_user_data_base_does_not_know_can_submit(running: Machine) -> None:
    words = running.command(["/usr/local/bin/sendmail", "bob"])
    at = words.index("env")
    running_as = [*words[:at], "setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *words[at:]]
    done = subprocess.run(running_as, input=b"Subject: stranger\n\nstranger\n", capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"Return-Path: <uid-54321@{HOST}>" in running.wait_for_mail("bob", "stranger")


def test_without_the_right_to_gain_privileges_all_works_the_same(running: Machine) -> None:
    words = running.command(["/usr/local/bin/sendmail", "bob"], user="alice")
    words.insert(words.index("setpriv") + 1, "--no-new-privs")
    words.insert(words.index("setpriv") + 1, "--bounding-set=-all")
    done = subprocess.run(words, input=b"Subject: x\n\nno new privileges\n", capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    running.wait_for_mail("bob", "no new privileges")


def test_an_unknown_user_comes_back_to_the_sender_as_a_failure_notice(running: Machine) -> None:
    running.submit("alice", "no-such-user", text="nowhere to go")
    notice = running.wait_for_mail("alice", "nowhere to go")
    assert "5.1.1" in notice and "Return-Path: <>" in notice


@pytest.fixture
def maildirs(running: Machine) -> Iterator[Machine]:
    """The running machine, delivering to Maildirs."""
    running.configure(home_mailbox="Maildir/")
    running.run("mailctl", "reload")
    yield running
    running.configure(home_mailbox="")
    running.run("mailctl", "reload")


def test_a_maildir_belongs_to_its_user_and_mail_for_one_without_a_home_waits(maildirs: Machine) -> None:
    maildirs.submit("alice", "bob,carol", text="to the homes")
    count = "find /home/bob/Maildir/new -type f 2>/dev/null | wc -l"
    wait_until(lambda: maildirs.script(count) == "1\n", "a message in bob's Maildir")
    owners = maildirs.script("find /home/bob/Maildir -printf '%U:%G %m\\n' | sort -u")
    uid = uid_of(maildirs, "bob")
    assert owners == f"{uid}:{uid} 600\n{uid}:{uid} 700\n"
    line = maildirs.wait_for_log(f"to=<carol@{HOST}>, relay=local, delay=")
    line = wait_until(
        lambda: next((x for x in maildirs.log().splitlines() if "home directory /home/carol" in x), ""), "deferred"
    )
    assert "dsn=4.2.0, status=deferred (home directory /home/carol of user carol is not there)" in line
    queue = maildirs.run("mailq", user="mallory").stdout.decode()
    assert f"carol@{HOST}" in queue and "home directory /home/carol of user carol is not there" in queue
    maildirs.configure(home_mailbox="")
    maildirs.run("mailctl", "reload")
    maildirs.run("mailctl", "flush")
    maildirs.wait_for_mail("carol", "to the homes")


def test_root_itself_opens_nothing_where_users_can_write(stopped: Machine) -> None:
    with stopped.traced("execve,openat,link,linkat,unlink,unlinkat,rename,renameat,setresuid") as trace:
        stopped.submit("alice", "bob,carol", text="watched")
        stopped.wait_for_mail("carol", "watched")
        stopped.configure(home_mailbox="Maildir/")
        stopped.run("mailctl", "reload")
        try:
            stopped.submit("alice", "bob", text="watched at home")
            count = "grep -rl 'watched at home' /home/bob/Maildir/new | wc -l"
            wait_until(lambda: stopped.script(count) == "1\n", "a message in bob's Maildir")
        finally:
            stopped.configure(home_mailbox="")
    uids = {uid_of(stopped, user): user for user in ("bob", "carol")}
    acting: dict[str, str] = {}
    local: set[str] = set()
    touched: set[tuple[str, str]] = set()
    for pid, call in trace:
        if '/__main__.py", "local", ' in call:
            local.add(pid)
        elif switched := re.search(r"setresuid\((-?\d+), (\d+), ", call):
            acting[pid] = switched[2]
        elif not re.match(r'openat\(AT_FDCWD, "/var/spool/mail", [A-Z_|]*O_DIRECTORY', call) and (
            # the directory itself is the administrator's; what matters is what lies in it
            re.search(r'"/home/|/mail/', call) or (pid in local and re.search(r"\(\d+, ", call))
        ):
            assert acting.get(pid, "0") in uids, call
            touched.add((uids[acting[pid]], "home" if "/home/" in call else "spool"))
    assert len(local) == 1  # it goes on with the new configuration after the reload
    # Each user's home is looked into for a .forward, with the rights of that user.
    assert touched == {("bob", "spool"), ("carol", "spool"), ("bob", "home"), ("carol", "home")}


def uid_of(machine: Machine, user: str) -> str:
    return machine.run("id", "-u", user).stdout.decode().strip()


def test_a_user_who_speaks_smtp_on_a_pipe_is_told_the_id_and_known_by_his_uid(running: Machine) -> None:
    lines = [
        "EHLO x",
        "MAIL FROM:<ceo@example.com>",
        "RCPT TO:<bob>",
        "DATA",
        "Subject: smtp",
        "",
        "by smtp",
        ".",
        "QUIT",
    ]
    done = running.run("/usr/local/bin/sendmail", "-bs", user="mallory", input="\r\n".join([*lines, ""]).encode())
    told = re.search(r"^250 2\.0\.0 Ok: queued as ([0-9A-F]{10,})", done.stdout.decode(), re.MULTILINE)
    assert told, done
    message = running.wait_for_mail("bob", "by smtp")
    assert "Return-Path: <ceo@example.com>" in message
    assert f"from userid {uid_of(running, 'mallory')})" in message
    running.wait_for_log(f"{told[1]}: uid={uid_of(running, 'mallory')} from=<ceo@example.com>")
