"""The Debian package on a machine with cron, mailx and PHP: nothing is asked, and no mail is lost."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NEWER, NEXT, VERSION
from package_machine import BUILT, HOST, ROOT, PackageMachine, wait_until

from sendmail_py.spool.format import FORMAT

SPOOL = "/var/spool/sendmail-py"
_OTHER = """
mkdir -p /tmp/other/DEBIAN /tmp/other/usr/sbin
printf 'Package: other-mta\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <nobody@example.org>
Provides: mail-transport-agent\\nConflicts: mail-transport-agent\\nReplaces: mail-transport-agent
Description: a second mail server\\n' > /tmp/other/DEBIAN/control
printf '#!/bin/sh\\necho another mail server\\n' > /tmp/other/usr/sbin/sendmail
chmod 755 /tmp/other/usr/sbin/sendmail
dpkg-deb --build /tmp/other /tmp/other.deb
"""


class DebMachine(PackageMachine):
    """The machine, with apt's words; the packages come as files."""

    def apt(self, *words: str, check: bool = True) -> str:
        done = self.run("apt-get", "-y", "-q", *words, check=False, HOME="/root", DEBIAN_FRONTEND="readline")
        text = (done.stdout + done.stderr).decode()
        assert (done.returncode == 0) == check, text
        return text

    def is_active(self) -> bool:
        return self.script("systemctl is-active sendmail-py || true").strip() == "active"

    def status(self) -> str:
        return self.script("dpkg-query -W -f '${Version} ${db:Status-Status}' sendmail-py 2>/dev/null || true")


def package(version: str = VERSION) -> str:
    return f"{BUILT}/sendmail-py_{version}_all.deb"


@pytest.fixture
def machine(built: Path) -> Iterator[DebMachine]:
    with DebMachine(built) as machine:
        yield machine


def test_lintian_has_no_error_that_is_not_explained(machine: DebMachine) -> None:
    done = machine.run("lintian", "--profile", "debian", "--fail-on", "error,warning", package(), check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "")


def test_the_package_knows_the_queues_format() -> None:
    assert f'[ "${{found:-0}}" -gt {FORMAT} ]' in (ROOT / "packaging/debian/preinst").read_text()


def test_install_upgrade_downgrade_switch_and_purge_lose_no_mail(machine: DebMachine) -> None:
    # it takes the place of the mail server that the others depend on, asks nothing, and runs
    said = machine.apt("install", package())
    assert "REMOVED:\n  no-mail-server" in said
    assert machine.is_active()
    assert machine.script("dpkg-query -W -f '${db:Status-Abbrev}' cron bsd-mailx php-cli").split() == ["ii"] * 3
    assert machine.script("dpkg --verify sendmail-py").strip() == ""
    machine.script("echo '* * * * * echo by cron; crontab -r' | crontab -", user="alice")
    for path in ("/usr/sbin/sendmail", "/usr/lib/sendmail"):
        machine.send(path, "bob", f"by {path}")
        assert f"From: alice@{HOST}" in machine.wait_for_mail("bob", f"by {path}")  # the domain of /etc/mailname
    machine.script("echo by mailx | mail -s mailx bob", user="alice")
    machine.wait_for_mail("bob", "by mailx")
    machine.script('php -r \'exit(mail("bob", "php", "by php") ? 0 : 1);\'', user="alice")
    machine.wait_for_mail("bob", "by php")
    assert machine.script("newaliases; mailq; command -v rmail").splitlines()[1:] == [
        "Mail queue is empty",
        "/usr/sbin/rmail",
    ]
    words = ["/usr/bin/python3", "-v", "-IS", "/usr/sbin/sendmail", "bob"]
    traced = machine.run(*words, user="nobody", input=b"Subject: x\n\nx\n").stderr.decode()
    assert "import 'sendmail_py.commands.sendmail'" not in traced  # it comes out of the one file of byte code

    machine.rotate_the_log()
    completes(
        machine,
        "bash --norc --noprofile -i",
        ". /usr/share/bash-completion/completions/mailctl; complete -F _mailctl say",
    )
    completes(machine, "zsh -f -i", "autoload -Uz compinit; compinit -D -u; compdef _mailctl say")

    # an upgrade while mail waits, also in maildrop/ where nobody has been told of it
    machine.configure(relayhost="[127.0.0.1]:2525", minimal_backoff_time="1h", maximal_backoff_time="2h")
    machine.run("systemctl", "reload", "sendmail-py")
    machine.send("/usr/sbin/sendmail", "carol@remote.example", "deferred before the upgrade")
    wait_until(lambda: "refused" in machine.script("mailq"), "it is deferred")
    machine.script(f"rm {SPOOL}/trigger")
    machine.send("/usr/sbin/sendmail", "bob", "in maildrop before the upgrade")
    before = machine.main_pid()
    machine.apt("install", "-o", "Dpkg::Options::=--force-confold", package(NEXT))
    assert (machine.status(), machine.is_active()) == (f"{NEXT} installed", True)
    assert machine.main_pid() != before
    machine.wait_for_mail("bob", "in maildrop before the upgrade")
    holding = machine.script(f"grep -rl '{NEWER}' /etc/sendmail-py /etc/logrotate.d")
    assert sorted(holding.split()) == ["/etc/logrotate.d/sendmail-py", "/etc/sendmail-py/main.cf.dpkg-dist"]
    assert "relayhost = [127.0.0.1]:2525" in machine.script("mailctl config -n")

    # a downgrade to a program that cannot read the queue is refused
    machine.script(f"echo 'sendmail-py-queue {FORMAT + 1}' > {SPOOL}/lock/format")
    said = machine.apt("install", "--allow-downgrades", package(), check=False)
    assert f"holds mail of queue format {FORMAT + 1}, of a newer version" in said
    assert machine.status().startswith(NEXT)
    machine.script(f"echo 'sendmail-py-queue {FORMAT}' > {SPOOL}/lock/format")
    assert (machine.status(), "deferred before the upgrade" in machine.script(f"cat {SPOOL}/deferred/*/*")) == (
        f"{NEXT} installed",
        True,
    )
    machine.run("systemctl", "start", "sendmail-py")

    # another mail server takes its place while it runs: the queue stays, and is there when ours comes back
    machine.script(_OTHER)
    machine.apt("install", "/tmp/other.deb")
    assert machine.script("/usr/sbin/sendmail") == "another mail server\n"
    assert not machine.is_active()
    machine.apt("install", package(NEXT))
    machine.exchanger()
    machine.run("mailctl", "flush")
    machine.relayed("deferred before the upgrade")
    machine.wait_for_mail("alice", "by cron")

    # purged while it holds mail, the queue stays; purged without, nothing does
    machine.exchanger("stop")
    machine.send("/usr/sbin/sendmail", "carol@remote.example", "kept at the purge")
    wait_until(lambda: "refused" in machine.script("mailq"), "it is deferred")
    assert f"{SPOOL} holds mail and stays" in machine.apt("purge", "sendmail-py")
    assert machine.script("ls -d /usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq 2>/dev/null || true") == ""
    machine.apt("install", package(NEXT))
    machine.configure(relayhost="[127.0.0.1]:2525")
    machine.exchanger()
    machine.run("systemctl", "reload", "sendmail-py")
    machine.run("mailctl", "flush")
    machine.relayed("kept at the purge")
    machine.apt("purge", "sendmail-py")
    assert machine.script("find / -xdev -name 'sendmail-py*' ! -path '/srv/*'").split() == []


_COMPLETED = {
    "flu": "flush",
    "-c /etc/sendmail-p": "-c /etc/sendmail-py",
    "-c /etc/sendmail-py queue summ": "-c /etc/sendmail-py queue summary",
    "queue delete --send": "queue delete --sender",
    "config expl": "config explain",
    "config -n mydest": "config -n mydestination",
    "dkim keyg": "dkim keygen",
    "import post": "import postfix",
    "map cid": "map cidr:",
    "setup --rem": "setup --remove",
    "test-delivery bo": "test-delivery bob",
}


def completes(machine: DebMachine, shell: str, load: str) -> None:
    """A shell at a terminal completes at the tab key; `say` stands for mailctl, and says what became of its line."""
    lines = [load, "say() { printf '<%s>\\n' \"$*\"; }", *(f"say {typed}\t" for typed in _COMPLETED), "exit", ""]
    done = machine.run("script", "-qec", shell, "/dev/null", user="alice", input="\n".join(lines).encode(), TERM="dumb")
    assert re.findall(r"^<(.*)>\r$", done.stdout.decode(), re.MULTILINE) == list(_COMPLETED.values())
