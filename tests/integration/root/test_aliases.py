"""Aliases and .forward on a machine with users: what runs, as whom, and what nobody can make run."""

from collections.abc import Iterator

import pytest
from machine import HOST, SPOOL, Machine, wait_until

FORGED = """
import os, sys
os.chdir("/var/spool/sendmail-py/maildrop")
body = "Subject: claimed\\n\\nclaimed\\n"
envelope = (f"sendmail-py-queue 1\\narrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000\\n"
    f"submitter: uid={os.getuid()} login=mallory pid=1 cwd=\\"/\\" command=\\"x\\"\\n"
    f"to: [ ] <alice>{sys.argv[1]}\\nflags: [ ] delay-warned  [ ] expire  [ ] queue-only\\n{sys.argv[2]}"
    f"size: {len(body):010d}\\n\\n{body}")
fd = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, envelope.encode())
os.fchmod(fd, 0o640)
trigger = os.open("../trigger", os.O_WRONLY | os.O_NONBLOCK)
os.write(trigger, f"\\n{sys.argv[3]}\\n".encode())
"""
DROP = "/run/dropped"  # everybody may write there


@pytest.fixture
def machine(running: Machine) -> Iterator[Machine]:
    """The machine with a place for what programs write, no aliases of an earlier test and no mail for a later one."""
    running.script(f"rm -rf {DROP}; mkdir -m 1777 {DROP}; rm -f /home/*/.forward /etc/aliases.*")
    yield running
    running.script("printf 'postmaster: root\\n' > /etc/aliases; rm -f /home/*/.forward /root/.forward")
    if running.run("mailctl", "queue", "count").stdout != b"0\n":
        running.stop()
        running.script(f"cd {SPOOL}; find incoming active deferred hold maildrop -type f -delete")


def aliases(machine: Machine, text: str, owner: str = "root") -> None:
    """Add to /etc/aliases, or with another owner to that user's own alias file."""
    path = "/etc/aliases" if owner == "root" else f"/etc/aliases.{owner}"
    with open(machine.path(path), "a", encoding="utf-8") as file:
        file.write(text)
    machine.run("chown", owner, path)


def forward(machine: Machine, user: str, text: str) -> None:
    home = "/root" if user == "root" else f"/home/{user}"
    machine.path(f"{home}/.forward").write_text(text)
    machine.run("chown", user, f"{home}/.forward")
    machine.run("chmod", "600", f"{home}/.forward")


def dropped(machine: Machine, name: str) -> str:
    """Wait until a program has written a file, and return its text."""
    path = machine.path(f"{DROP}/{name}")
    try:
        wait_until(lambda: path.exists() and path.read_text(), f"{name} is written")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{machine.log()}") from None
    return path.read_text()


def test_a_program_of_roots_alias_file_runs_as_default_privs_with_the_message(machine: Machine) -> None:
    aliases(machine, f'prog1: "|(id -un; id -Gn; cat) > {DROP}/prog1.new; mv {DROP}/prog1.new {DROP}/prog1"\n')
    machine.submit("alice", "prog1", text="to a program")
    text = dropped(machine, "prog1")
    assert text.startswith("nobody\nnogroup\nFrom alice@") and "Subject: to a program\n" in text
    machine.wait_for_log(f"to=<prog1@{HOST}>, relay=local")


def test_a_program_and_a_file_of_a_users_alias_file_are_used_as_that_user(machine: Machine) -> None:
    machine.run("mailctl", "config", "-e", "alias_maps=hash:/etc/aliases, hash:/etc/aliases.bob")
    try:
        aliases(machine, f'prog2: "|id -un > {DROP}/p.new; mv {DROP}/p.new {DROP}/prog2", {DROP}/file2\n', "bob")
        machine.run("mailctl", "reload")
        machine.submit("alice", "prog2", text="for bobs list")
        assert dropped(machine, "prog2") == "bob\n"
        assert "for bobs list" in dropped(machine, "file2")
        assert machine.script(f"stat -c %U {DROP}/file2") == "bob\n"
    finally:
        machine.run("mailctl", "config", "-e", "alias_maps=hash:/etc/aliases")
        machine.run("mailctl", "reload")


def test_an_address_in_a_forward_that_leads_to_roots_aliases_has_their_rights_and_the_rest_the_users(
    machine: Machine,
) -> None:
    aliases(machine, f'prog3: "|id -un > {DROP}/a.new; mv {DROP}/a.new {DROP}/in-alias"\n')
    forward(machine, "bob", f'prog3, "|id -un > {DROP}/f.new; mv {DROP}/f.new {DROP}/in-forward"\n\\bob\n')
    machine.submit("alice", "bob", text="three ways")
    assert dropped(machine, "in-alias") == "nobody\n"
    assert dropped(machine, "in-forward") == "bob\n"
    machine.wait_for_mail("bob", "three ways")


def test_two_users_who_forward_to_each_other_get_one_copy_and_it_ends(machine: Machine) -> None:
    forward(machine, "alice", "bob\n")
    forward(machine, "bob", "alice\n")
    machine.submit("mallory", "alice", text="round and round")
    machine.wait_for_mail("alice", "round and round")
    wait_until(lambda: machine.run("mailctl", "queue", "count").stdout == b"0\n", "an empty queue")
    assert "round and round" not in machine.mailbox("bob")
    assert machine.mailbox("alice").count("Subject: round and round\n") == 1


def test_nothing_of_roots_forward_runs_as_root_and_its_mail_waits(machine: Machine) -> None:
    forward(machine, "root", f'"|id -un > {DROP}/root"\n')
    machine.submit("alice", "root", text="for root")
    line = machine.wait_for_log(f"to=<root@{HOST}>, relay=")
    assert "status=deferred" in line and "not used with the rights of root" in line
    assert not machine.path(f"{DROP}/root").exists()
    machine.run("mailctl", "queue", "delete", "ALL", check=False)


@pytest.mark.parametrize(
    ("name", "target", "head"),
    [
        ("program", f' target="|id -un > {DROP}/forged"', ""),
        ("as-root", f' target="|id -un > {DROP}/forged"', "controlling-uid: 0\n"),
        ("file", f' target="{DROP}/forged"', "controlling-uid: 0\n"),
        ("uid", "", "controlling-uid: 0\n"),
    ],
)
def test_a_target_in_a_file_of_maildrop_runs_nothing(machine: Machine, name: str, target: str, head: str) -> None:
    machine.python(FORGED, target, head, name, user="mallory")
    if target:
        machine.wait_for_log(f"maildrop/{name} is left alone: bad recipient")
    else:
        machine.wait_for_mail("alice", "Subject: claimed")
    machine.submit("mallory", "mallory", text="a mark in the log")
    machine.wait_for_mail("mallory", "a mark in the log")
    assert not machine.path(f"{DROP}/forged").exists()
    machine.script("find /var/spool/sendmail-py/maildrop -mindepth 1 -user mallory -delete")


def test_an_include_file_that_the_queues_owner_may_not_read_makes_the_mail_wait_and_says_so(machine: Machine) -> None:
    machine.script("echo alice > /etc/hidden.list; chmod 600 /etc/hidden.list")
    aliases(machine, "hidden: :include:/etc/hidden.list\n")
    machine.submit("alice", "hidden", text="to a hidden list")
    line = machine.wait_for_log(f"to=<hidden@{HOST}>")
    assert "status=deferred (cannot read include file /etc/hidden.list: Permission denied)" in line
    machine.run("chmod", "644", "/etc/hidden.list")
    machine.run("mailctl", "flush")
    machine.wait_for_mail("alice", "to a hidden list")


def test_a_users_include_file_shows_nothing_that_he_may_not_read(machine: Machine) -> None:
    machine.script("mkdir -p /run/secret; echo hidden@secret.example > /run/secret/list; chmod 750 /run/secret/list")
    machine.script("chgrp sendmail-py /run/secret/list; chmod 640 /run/secret/list")
    machine.run("mailctl", "config", "-e", "alias_maps=hash:/etc/aliases, hash:/etc/aliases.bob")
    try:
        aliases(machine, "stolen: :include:/run/secret/list\n", "bob")
        machine.run("mailctl", "reload")
        machine.submit("mallory", "stolen", text="what is in it")
        line = machine.wait_for_log(f"to=<stolen@{HOST}>")
        assert "status=deferred" in line and "may not read it" in line and "secret.example" not in machine.log()
    finally:
        machine.run("mailctl", "config", "-e", "alias_maps=hash:/etc/aliases")
        machine.run("mailctl", "reload")
