"""The installed programs: found by every name, compiled once, and put in place again without harm."""

import re
import subprocess

import pytest
from machine import HOST, SPOOL, Machine

PACKAGE = "/usr/local/share/sendmail-py"


@pytest.fixture
def names(running: Machine) -> Machine:
    """The machine with the names that distributions and alternatives give the program."""
    running.script(
        """mkdir -p /run/names/sbin /run/names/links
        ln -sf /usr/local /run/names/local
        ln -sf ../local/bin/sendmail /run/names/sbin/sendmail
        ln -sf /run/names/sbin/sendmail /run/names/links/mta
        ln -sf mta /run/names/links/sendmail.sendmail-py
        ln -sf mta /run/names/links/mailq.sendmail-py
        ln -sf mta /run/names/links/newaliases.sendmail-py
        ln -sf ../../../usr/local/bin/mailctl /run/names/links/mailctl
        chmod -R go=rX /run/names"""
    )
    return running


@pytest.mark.parametrize(
    "path", ["/usr/local/bin/sendmail", "/usr/local/sbin/sendmail", "/run/names/sbin/sendmail", "/run/names/links/mta"]
)
def test_sendmail_finds_its_tree_through_any_links(names: Machine, path: str) -> None:
    names.run(path, "bob", user="alice", input=f"Subject: x\n\nby {path}\n".encode())
    names.wait_for_mail("bob", f"by {path}")


def test_sendmail_finds_its_tree_by_a_relative_path(names: Machine) -> None:
    names.run("links/sendmail.sendmail-py", "bob", user="alice", cwd="/run/names", input=b"Subject: x\n\nrelative\n")
    names.wait_for_mail("bob", "relative")


@pytest.mark.parametrize("name", ["mailq", "/run/names/links/mailq.sendmail-py"])
def test_the_name_chooses_the_mode_and_the_packages_suffix_does_not_count(names: Machine, name: str) -> None:
    assert b"ueue" in names.run(name, user="alice").stdout


@pytest.mark.parametrize("name", ["newaliases", "/run/names/links/newaliases.sendmail-py"])
def test_newaliases_checks_the_alias_file(names: Machine, name: str) -> None:
    assert names.run(name).stdout == b"/etc/aliases: 1 aliases, longest 4 bytes, 14 bytes total\n"


def test_mailctl_is_found_through_a_link(names: Machine) -> None:
    assert b"pid" in names.run("/run/names/links/mailctl", "status", user="alice").stdout


def test_mail_for_postmaster_goes_to_root_by_the_alias(running: Machine) -> None:
    running.submit("alice", "postmaster", text="for the postmaster")
    assert f"Delivered-To: root@{HOST}" in running.wait_for_mail("root", "for the postmaster")


@pytest.mark.parametrize("program", ["bin/sendmail", "bin/mailctl"])
def test_what_is_imported_comes_from_the_cache_also_for_nobody(running: Machine, program: str) -> None:
    words = {"bin/sendmail": ["bob"], "bin/mailctl": ["status"]}[program]
    done = running.run(
        "/usr/bin/python3", "-v", "-IS", f"/usr/local/{program}", *words, user="nobody", input=b"x\n\nx\n"
    )
    said = done.stderr.decode()
    tree = r"/usr/local/bin/\.\./share/sendmail-py"
    assert "import 'sendmail_py." in said
    assert not re.search(rf"code object from '?{tree}/[^']*\.py'?$", said, re.MULTILINE)
    assert not re.search(rf"^# wrote .*{tree}", said, re.MULTILINE)


def test_root_writes_no_byte_code_either(running: Machine) -> None:
    listing = f"find {PACKAGE} -type f -printf '%P %T@ %s\\n' | sort"
    before = running.script(listing)
    running.run("mailctl", "stop")
    running.run("mailctl", "config", "-n")
    running.start()
    running.run("mailctl", "queue", "count")
    assert running.script(listing) == before
    modules, compiled = (running.script(f"find {PACKAGE} -name '*.{end}' | wc -l") for end in ("py", "pyc"))
    assert modules == compiled


def test_sendmail_bd_starts_the_daemon(stopped: Machine) -> None:
    stopped.submit("alice", "bob", text="started by -bd")
    with open("/dev/null", "r+b") as null:
        command = stopped.command(["/usr/local/sbin/sendmail", "-bd"])
        assert subprocess.run(command, stdin=null, stdout=null, stderr=2, timeout=60).returncode == 0
    stopped.wait_for_mail("bob", "started by -bd")


def test_install_and_setup_again_change_nothing_and_mail_goes_on(running: Machine) -> None:
    places = f"/usr/local {SPOOL} /etc/sendmail-py /var/lib/sendmail-py"
    listing = f"find {places} -printf '%p %m %u:%g %l\\n' | sort"
    running.submit("alice", "bob", text="before the upgrade")
    running.wait_for_mail("bob", "before the upgrade")
    before = running.script(listing)
    running.install()
    assert running.run("mailctl", "setup").stdout == b"already set up\n"
    assert running.script(listing) == before
    running.submit("alice", "bob", text="old services, new files")
    running.wait_for_mail("bob", "old services, new files")
    running.stop()
    running.start()
    running.submit("alice", "bob", text="all new")
    running.wait_for_mail("bob", "all new")
