"""What users and the administrator make of their mail: .forward, programs, filters, files, with real programs."""

import re
from collections.abc import Iterator

import pytest
from machine import HOST, Machine, wait_until

SENDMAIL_IN_PLACE = """
mkdir /var/lib/upper /var/lib/work
mount -t overlay -o lowerdir=/usr/sbin,upperdir=/var/lib/upper,workdir=/var/lib/work overlay /usr/sbin
ln -sf /usr/local/sbin/sendmail /usr/sbin/sendmail
"""
USERS = """
for user in alice bob carol mallory; do useradd --create-home --user-group "$user"; chmod 700 "/home/$user"; done
"""
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s"}


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """A machine for this file, whose services run."""
    with Machine() as machine:
        machine.install()
        machine.set_up(maildrop_scan_delay="2s", recipient_delimiter="+", **QUICK)
        machine.script(USERS + SENDMAIL_IN_PLACE)
        machine.start()
        yield machine


@pytest.fixture(autouse=True)
def clean(host: Machine) -> Iterator[None]:
    """After each test nobody has a .forward, and the aliases are as they were."""
    yield
    host.script(
        "rm -rf /home/*/.forward* /root/.forward; echo 'postmaster: root' >/etc/aliases; rm -f /etc/aliases.bob"
    )


def write(host: Machine, user: str, text: str, name: str = ".forward") -> None:
    """Write a file into a user's home, as that user."""
    home = "/root" if user == "root" else f"/home/{user}"
    host.run(
        "sh", "-c", 'umask 077; cat >"$0"', f"{home}/{name}", user="" if user == "root" else user, input=text.encode()
    )


def wait_for_file(host: Machine, path: str, text: str = "") -> str:
    """Wait until a file is there and holds a text; returns all of it."""

    def content() -> str:
        done = host.run("cat", path, check=False)
        return done.stdout.decode() if not done.returncode and text in done.stdout.decode() else ""

    try:
        return str(wait_until(content, f"{text!r} in {path}"))
    except AssertionError as error:
        raise AssertionError(f"{error}\n{host.log()}") from None


def wait_empty(host: Machine) -> None:
    wait_until(lambda: host.run("mailctl", "queue", "count").stdout.strip() == b"0", "an empty queue")


def test_mail_is_forwarded_to_another_user_with_its_sender_and_once(host: Machine) -> None:
    write(host, "alice", "bob, Bob\nbob@localhost\n")
    host.submit("carol", "alice", text="forwarded once")
    message = host.wait_for_mail("bob", "forwarded once")
    assert f"Return-Path: <carol@{HOST}>" in message and f"X-Original-To: alice@{HOST}" in message
    wait_empty(host)
    assert host.mailbox("bob").count("Subject: forwarded once") == 1
    assert "forwarded once" not in host.mailbox("alice")


def test_a_copy_stays_and_a_copy_goes(host: Machine) -> None:
    write(host, "alice", "\\alice, bob\n")
    host.submit("carol", "alice", text="two copies")
    host.wait_for_mail("bob", "two copies")
    host.wait_for_mail("alice", "two copies")


def test_users_who_forward_to_each_other_get_each_message_once_in_one_place(host: Machine) -> None:
    write(host, "alice", "bob\n")
    write(host, "bob", "alice\n")
    host.submit("carol", "alice", text="round and round")
    host.wait_for_mail("alice", "round and round")
    wait_empty(host)
    assert "round and round" not in host.mailbox("bob")


def test_procmail_sorts_as_the_user(host: Machine) -> None:
    write(host, "alice", "MAILDIR=$HOME\nVERBOSE=off\n:0:\n* ^Subject: sorted\nsorted-mail\n", ".procmailrc")
    write(host, "alice", '"|exec /usr/bin/procmail"\n')
    host.submit("bob", "alice", text="sorted by procmail")
    text = wait_for_file(host, "/home/alice/sorted-mail", "sorted by procmail")
    assert text.startswith(f"From bob@{HOST} ") and f"\nDelivered-To: alice@{HOST}\n" in text
    assert host.script("stat -c '%U %a' /home/alice/sorted-mail") == "alice 600\n"
    host.submit("bob", "alice", text="left to procmail")
    host.wait_for_mail("alice", "left to procmail")


def test_maildrop_filters_as_mailbox_command_for_everybody_but_root(host: Machine) -> None:
    host.configure(mailbox_command='/usr/bin/maildrop -f "$SENDER"')
    host.run("mailctl", "reload")
    try:
        write(host, "bob", 'to "$HOME/filtered"\n', ".mailfilter")
        host.submit("alice", "bob", text="filtered by maildrop")
        assert "filtered by maildrop" in wait_for_file(host, "/home/bob/filtered", "filtered by maildrop")
        assert host.script("stat -c %U /home/bob/filtered") == "bob\n"
        host.submit("alice", "root", text="root has a mailbox")
        host.wait_for_mail("root", "root has a mailbox")
    finally:
        host.configure(mailbox_command="")
        host.run("mailctl", "reload")


def test_vacation_keeps_the_mail_and_answers_the_sender_once(host: Machine) -> None:
    write(host, "alice", "Subject: away\n\nI am on vacation.\n", ".vacation.msg")
    host.run("/usr/bin/vacation", "-I", user="alice", HOME="/home/alice", USER="alice")
    write(host, "alice", '\\alice, "|/usr/bin/vacation alice"\n')
    message = b"To: alice@host.example.org\nSubject: are you there\n\nare you there\n"
    host.run("/usr/local/bin/sendmail", "alice", user="bob", input=message)
    assert "I am on vacation" in host.wait_for_mail("bob", "Subject: away")
    wait_empty(host)  # vacation does not lock its data base: two at once would both answer
    host.run("/usr/local/bin/sendmail", "alice", user="bob", input=message)
    wait_until(lambda: host.mailbox("alice").count("Subject: are you there") == 2, "both messages")
    wait_empty(host)
    assert host.mailbox("bob").count("Subject: away") == 1


def test_a_file_for_an_extension_takes_what_is_sent_to_it(host: Machine) -> None:
    write(host, "alice", "/home/alice/lists\n", ".forward+lists")
    host.submit("bob", "alice+lists", text="for the extension")
    assert f"Delivered-To: alice+lists@{HOST}" in wait_for_file(host, "/home/alice/lists", "for the extension")
    host.submit("bob", "alice+other", text="for another one")
    host.wait_for_mail("alice", "for another one")


def test_a_program_sees_who_it_runs_for(host: Machine) -> None:
    write(host, "alice", "|env >$HOME/environment; id -un >>$HOME/environment; pwd >>$HOME/environment\n")
    host.submit("bob", "alice+x.y", text="environment")
    text = wait_for_file(host, "/home/alice/environment", "\n/home/alice\n")
    lines = text.splitlines()
    assert {
        "HOME=/home/alice", "USER=alice", "LOGNAME=alice", "EXTENSION=x.y", f"DOMAIN={HOST}", "LOCAL=alice+x.y",
        f"SENDER=bob@{HOST}", f"RECIPIENT=alice+x.y@{HOST}", "alice",
    } <= set(lines)  # fmt: skip


def test_what_a_program_says_is_in_the_report_to_the_sender(host: Machine) -> None:
    write(host, "alice", "|echo no room for this here; exit 73\n")
    host.submit("bob", "alice", text="unwanted")
    report = host.wait_for_mail("bob", "no room for this here")
    assert "\nAction: failed\n" in report and "\nStatus: 5.2.0\n" in report
    assert f"Final-Recipient: rfc822; alice@{HOST}" in report and "Diagnostic-Code: x-unix; no room" in report


def test_a_program_that_says_75_is_tried_again(host: Machine) -> None:
    write(host, "alice", "|test -e $HOME/ready && cat >>$HOME/late || exit 75\n")
    host.submit("bob", "alice", text="try again later")
    line = host.wait_for_log("status=deferred (temporary failure")
    assert "to=<alice@" in line and "relay=local" in line and "dsn=4.3.0" in line
    host.run("touch", "/home/alice/ready", user="alice")
    wait_for_file(host, "/home/alice/late", "try again later")
    wait_empty(host)


def test_programs_of_the_system_aliases_run_as_nobody_and_those_of_a_users_file_as_that_user(host: Machine) -> None:
    host.script(
        "mkdir -m 1777 -p /var/lib/out; install -o bob -m 644 /dev/null /etc/aliases.bob;"
        "echo 'robot: \"|id -un >/var/lib/out/robot; cat >>/var/lib/out/robot\"' >>/etc/aliases;"
        "echo 'bobs: \"|id -un >/var/lib/out/bobs\", /home/bob/bobs-archive' >>/etc/aliases.bob"
    )
    host.configure(alias_maps="hash:/etc/aliases, hash:/etc/aliases.bob")
    host.run("mailctl", "reload")
    host.submit("alice", "robot", text="for the robot")
    text = wait_for_file(host, "/var/lib/out/robot", "for the robot")
    assert text.splitlines()[0] == "nobody"
    assert f"Delivered-To: robot@{HOST}" in text
    host.submit("alice", "bobs", text="for bob's robot")
    assert wait_for_file(host, "/var/lib/out/bobs", "\n") == "bob\n"
    wait_for_file(host, "/home/bob/bobs-archive", "for bob's robot")
    assert host.script("stat -c '%U %a' /home/bob/bobs-archive") == "bob 600\n"
    host.configure(alias_maps="hash:/etc/aliases")
    host.run("mailctl", "reload")


def test_roots_forward_forwards_but_runs_nothing(host: Machine) -> None:
    write(host, "root", "carol\n")
    host.submit("alice", "root", text="for the administrator")
    host.wait_for_mail("carol", "for the administrator")
    write(host, "root", '"|id >/var/lib/out-of-root"\n')
    host.submit("alice", "root", text="run as root please")
    line = host.wait_for_log("not used with the rights of root")
    assert "status=deferred" in line
    assert not host.path("/var/lib/out-of-root").exists()
    host.script("rm /root/.forward")
    host.wait_for_mail("root", "run as root please")


@pytest.mark.parametrize(
    "spoil", ["chmod 666 .forward", "chmod 777 .", "ln -s real .forward2; mv -T .forward2 .forward"]
)
def test_an_unsafe_file_is_ignored_with_a_line_in_the_log(host: Machine, spoil: str) -> None:
    write(host, "alice", "mallory\n")
    write(host, "alice", "mallory\n", "real")
    host.script(f"cd /home/alice; {spoil}", user="alice")
    try:
        host.submit("bob", "alice", text=f"not for mallory {spoil}")
        host.wait_for_mail("alice", f"not for mallory {spoil}")
        assert re.search(r"/home/alice/\.forward of user alice is ignored: ", host.log())
        wait_empty(host)
        assert "not for mallory" not in host.mailbox("mallory")
    finally:
        host.script("chmod 700 /home/alice", user="alice")


def test_an_agent_that_is_killed_while_a_program_runs_repeats_the_delivery_and_says_so(host: Machine) -> None:
    write(host, "alice", "|cat >>$HOME/killed; test -e $HOME/go || sleep 30\n")
    host.submit("bob", "alice", text="killed half-way")
    wait_for_file(host, "/home/alice/killed", "killed half-way")
    host.run("touch", "/home/alice/go", user="alice")
    host.run("kill", "-9", host.services()["local"])
    host.wait_for_log("the local agent ended before it answered; a delivery may be repeated")
    wait_until(
        lambda: wait_for_file(host, "/home/alice/killed").count("Subject: killed half-way") == 2,
        "it is delivered again",
    )
    wait_empty(host)


def test_test_delivery_says_what_would_be_done_and_does_nothing(host: Machine) -> None:
    write(host, "alice", '\\alice, "|/usr/bin/vacation alice", bob@far.example\n')
    host.script("echo 'team: alice, robot' >>/etc/aliases; echo 'robot: \"|/bin/robot\"' >>/etc/aliases")
    before = host.log()
    done = host.run("mailctl", "test-delivery", "team", input=b"Subject: x\n\n")
    uid = host.script("id -u alice").strip()
    assert done.stdout.decode().splitlines() == [
        f"<team@{HOST}>: local",
        '  alias "team": alice, robot',
        '  alias "robot": |/bin/robot',
        f"  /home/alice/.forward as alice (uid {uid}): \\alice, |/usr/bin/vacation alice, bob@far.example",
        f"    mailbox /var/spool/mail/alice as alice (uid {uid})",
        f"    program /usr/bin/vacation alice as alice (uid {uid})",
        "    <bob@far.example>: smtp to far.example",
        "  program /bin/robot as nobody (uid 65534)",
    ]
    assert host.log() == before
