"""The RPM packages on machines of their own: dnf resolves, the scriptlets run, systemd starts, mail goes."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NEWER, NEXT, VERSION
from package_machine import BUILT, ROOT, PackageMachine, wait_until

from sendmail_py.spool.format import FORMAT

SPOOL = "/var/spool/sendmail-py"
OURS = "/usr/sbin/sendmail.sendmail-py"
NAMES = "/usr/sbin/sendmail /usr/bin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases /usr/bin/rmail"
_DNF = "dnf -y --releasever=10 --disablerepo=* --repofrompath=ours,file:///srv/packages/repository --nogpgcheck".split()
# Debian has update-alternatives, and no program of the name that EL gives it; ALTERNATIVES may name EL's, built of
# chkconfig's source.
_REAL = os.environ.get("ALTERNATIVES", "")
_STUB = "printf '#!/bin/bash\\n. /usr/share/stubs/alternatives\\n' > usr/sbin/alternatives"
_READY = f"rm -f usr/sbin/alternatives; {f'cp {_REAL} usr/sbin/alternatives' if _REAL else _STUB}"
_READY += "; chmod 755 usr/sbin/alternatives; mkdir -p var/lib/alternatives"


class RpmMachine(PackageMachine):
    """The machine, with dnf's words."""

    def dnf(self, *words: str, check: bool = True) -> str:
        done = self.run(*_DNF, *words, check=False, HOME="/root")
        text = (done.stdout + done.stderr).decode()
        assert not check or done.returncode == 0, text
        assert check or done.returncode != 0, text
        return text

    def package(self, dist: str, version: str = VERSION) -> str:
        return f"{BUILT}/sendmail-py-{version}-1.{dist}.noarch.rpm"

    def configure_relay(self) -> None:
        self.configure(relayhost="[127.0.0.1]:2525", minimal_backoff_time="1h", maximal_backoff_time="2h")


@pytest.fixture
def machine(built: Path) -> Iterator[RpmMachine]:
    with RpmMachine(built, _READY) as machine:
        yield machine


def test_rpmlint_has_no_error_that_is_not_explained(built: Path, machine: RpmMachine) -> None:
    config = f"{BUILT}/tree/packaging/rpm/rpmlint.toml"
    packages = machine.script(f"ls {BUILT}/sendmail-py-{VERSION}-*.rpm").split()
    assert len(packages) == 3
    packages += machine.script(f"ls {BUILT}/sendmail-py-postfix-verbs-{VERSION}-*.rpm").split()
    done = machine.run("rpmlint", "-c", config, *packages, check=False)
    assert b"6 packages and 0 specfiles checked; 0 errors, 0 warnings" in done.stdout, done.stdout.decode()


def test_the_spec_knows_the_queues_format_and_the_bundled_versions() -> None:
    spec = (ROOT / "packaging/rpm/sendmail-py.spec").read_text()
    assert f"%global queue_format {FORMAT}\n" in spec
    for line in (ROOT / "packaging/rpm/bundled.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert f"Provides:       bundled(python3dist({name})) = {version}\n" in spec
            assert f"{name.replace('-', '_')}-{version}-py" in spec


def test_install_upgrade_downgrade_switch_and_erase_lose_no_mail(machine: RpmMachine) -> None:
    # install, from the repository and by the name that other packages ask for
    machine.dnf("install", f"sendmail-py-{VERSION}")
    assert f"sendmail-py-0:{VERSION}-1.el10.noarch" in machine.dnf("repoquery", "--whatprovides", "server(smtp)")
    assert machine.script(f"readlink -f {NAMES}").split() == [OURS] * 6
    assert_users(machine)
    assert "No such" not in machine.script("ls -lL /usr/share/man/man8/sendmail.8.gz /etc/pam.d/smtp")
    assert machine.script("rpm -V --nodeps sendmail-py || true") == ""
    machine.configure_relay()
    machine.exchanger()
    machine.run("systemctl", "start", "sendmail-py")
    print(machine.script("systemd-analyze security --no-pager sendmail-py | tail -n 1"))
    assert "running: pickup qmgr" in machine.script("systemctl show -P StatusText sendmail-py")
    mail(machine)
    no_compilation(machine)
    machine.dnf("install", f"sendmail-py-postfix-verbs-{VERSION}")
    assert machine.script("/usr/sbin/postconf -h relayhost; postqueue -p").splitlines() == [
        "[127.0.0.1]:2525",
        "Mail queue is empty",
    ]

    machine.rotate_the_log()

    # an upgrade of the running instance: mail deferred, queued, and in maildrop/ where nobody has been told of it
    machine.exchanger("stop")
    machine.send("/usr/sbin/sendmail", "carol@remote.example", "deferred before the upgrade")
    wait_until(lambda: "refused" in machine.script("mailq"), "it is deferred")
    machine.send("/usr/sbin/sendmail", "bob", "queued before the upgrade", "alice", "-odq")
    machine.script(f"rm {SPOOL}/trigger")
    machine.send("/usr/sbin/sendmail", "bob", "in maildrop before the upgrade")
    assert machine.script(f"ls {SPOOL}/maildrop | wc -l").strip() != "0"
    before = machine.main_pid()
    machine.dnf("upgrade", "sendmail-py")
    assert machine.script("rpm -q sendmail-py").strip() == f"sendmail-py-{NEXT}-1.el10.noarch"
    assert machine.main_pid() not in (0, before)
    machine.wait_for_mail("bob", "in maildrop before the upgrade")
    machine.exchanger()
    machine.run("mailctl", "flush")
    machine.wait_for_mail("bob", "queued before the upgrade")
    machine.relayed("deferred before the upgrade")
    assert "relayhost = [127.0.0.1]:2525" in machine.script("mailctl config -n")
    holding = machine.script(f"grep -rl '{NEWER}' /etc/sendmail-py /etc/logrotate.d")
    assert sorted(holding.split()) == ["/etc/logrotate.d/sendmail-py", "/etc/sendmail-py/main.cf.rpmnew"]

    # a downgrade to a program that cannot read the queue is refused, and nothing is changed
    machine.script(f"echo 'sendmail-py-queue {FORMAT + 1}' > {SPOOL}/lock/format")
    said = machine.dnf("downgrade", f"sendmail-py-{VERSION}", check=False)
    assert f"holds mail of queue format {FORMAT + 1}, of a newer version" in said
    assert machine.script("rpm -q sendmail-py").strip() == f"sendmail-py-{NEXT}-1.el10.noarch"
    machine.script(f"echo 'sendmail-py-queue {FORMAT}' > {SPOOL}/lock/format")
    mail(machine, "after a refused downgrade")

    # a second mail server takes over by its priority, and gives way to an administrator's choice, for good
    machine.exchanger("stop")
    machine.send("/usr/sbin/sendmail", "carol@remote.example", "queued during the switch")
    machine.dnf("install", "other-mta")
    assert machine.script("readlink -f /usr/sbin/sendmail").strip() == "/usr/sbin/sendmail.other"
    machine.run("systemctl", "start", "postfix")
    wait_until(lambda: machine.main_pid() == 0, "our services make way")
    machine.script("/usr/sbin/alternatives --set mta /usr/sbin/sendmail.sendmail-py; systemctl start sendmail-py")
    assert machine.script("systemctl is-active postfix || true").strip() == "inactive"
    machine.dnf("reinstall", "sendmail-py")
    assert machine.script("readlink -f /usr/sbin/sendmail /usr/bin/mailq").split() == [OURS, OURS]
    machine.script("/usr/sbin/alternatives --set mta /usr/sbin/sendmail.other")
    machine.dnf("reinstall", "sendmail-py")
    assert machine.script("readlink -f /usr/sbin/sendmail").strip() == "/usr/sbin/sendmail.other"
    machine.script("/usr/sbin/alternatives --set mta /usr/sbin/sendmail.sendmail-py")

    # erased while it runs and holds mail: the queue stays, the links fall to the other, then go
    assert machine.main_pid()
    machine.dnf("remove", "sendmail-py")
    wait_until(lambda: machine.main_pid() == 0, "the services have stopped")
    assert machine.script("readlink -f /usr/sbin/sendmail").strip() == "/usr/sbin/sendmail.other"
    assert "queued during the switch" in machine.script(f"cat {SPOOL}/deferred/*/*")
    assert machine.script("ls -d /usr/share/sendmail-py 2>/dev/null || true") == ""
    machine.dnf("remove", "other-mta")
    assert machine.script(f"ls -d {NAMES} /etc/alternatives/mta* 2>/dev/null || true") == ""

    # and back: what has waited is sent; erased with an empty queue nothing stays but the changed main.cf
    machine.dnf("install", "sendmail-py")
    machine.configure_relay()
    machine.exchanger()
    machine.run("systemctl", "start", "sendmail-py")
    machine.run("mailctl", "flush")
    machine.relayed("queued during the switch")
    machine.dnf("remove", "sendmail-py")
    assert machine.script("find / -xdev -name '*sendmail-py*' ! -path '/srv/*' ! -path '/home/*'").split() == [
        "/etc/sendmail-py"
    ]
    assert machine.script("ls /etc/sendmail-py").split() == ["main.cf.rpmnew", "main.cf.rpmsave"]


def mail(machine: RpmMachine, text: str = "the first") -> None:
    """Send local, piped and relayed mail as an ordinary user, by both names."""
    for program in ("/usr/sbin/sendmail", "/usr/bin/sendmail"):
        machine.send(program, "bob", f"{text}, local by {program}")
        machine.wait_for_mail("bob", f"{text}, local by {program}")
        machine.send(program, "carol@remote.example", f"{text}, relayed by {program}")
        machine.relayed(f"{text}, relayed by {program}")
    machine.script("echo '|cat >> $HOME/piped' > /home/alice/.forward", user="alice")
    machine.send("/usr/sbin/sendmail", "alice", f"{text}, to a program", "bob")
    piped = machine.path("/home/alice/piped")
    wait_until(lambda: piped.exists() and f"{text}, to a program" in piped.read_text(), "the program has its mail")


_CLIENT = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", 25) as client:
    client.sendmail("alice@host.example.org", [sys.argv[1]], f"Subject: x\\n\\n{sys.argv[2]}\\n")
"""


def under_systemd(machine: RpmMachine) -> None:
    """The unit under the real systemd: SMTP, a setgid program, reloads, the socket unit, a master that hangs."""
    machine.script("echo '|exec /usr/bin/procmail' > /home/bob/.forward", user="bob")
    machine.python(_CLIENT, "bob", "by SMTP, through procmail", user="alice")
    machine.wait_for_mail("bob", "by SMTP, through procmail")
    assert "NoNewPrivs:\t0" in machine.script(f"cat /proc/{machine.main_pid()}/status")

    machine.script("echo 'message_size_limit = enormous' >> /etc/sendmail-py/main.cf")
    assert machine.run("systemctl", "reload", "sendmail-py", check=False).returncode == 1
    assert "the last reload was refused" in machine.script("systemctl show -P StatusText sendmail-py")
    machine.script("sed -i '$d' /etc/sendmail-py/main.cf; systemctl reload sendmail-py")
    assert "refused" not in machine.script("systemctl show -P StatusText sendmail-py")

    machine.script("systemctl stop sendmail-py; systemctl start sendmail-py.socket")
    assert machine.main_pid() == 0
    machine.python(_CLIENT, "bob", "woken by a client", user="alice")
    machine.wait_for_mail("bob", "woken by a client")

    machine.script(
        """cd /run/systemd/system && mkdir sendmail-py.service.d
        printf '[Service]\\nWatchdogSec=1s\\nTimeoutAbortSec=1s\\nRestartSec=0\\n' > sendmail-py.service.d/soon.conf
        systemctl daemon-reload; systemctl restart sendmail-py"""
    )
    hanging = machine.main_pid()
    machine.script(f"kill -STOP {hanging}")
    wait_until(lambda: machine.main_pid() not in (0, hanging), "a master that hangs is replaced")
    machine.send("/usr/bin/sendmail", "bob", "to the one after it")
    machine.wait_for_mail("bob", "to the one after it")


# Prints each module whose byte code Python would not take.
_STALE = """
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from struct import pack
for path in Path("/usr/share/sendmail-py").rglob("*.py"):
    made, source = Path(cache_from_source(path)), path.stat()
    right = MAGIC_NUMBER + pack("<III", 0, int(source.st_mtime), source.st_size)
    if not made.exists() or made.read_bytes()[:16] != right:
        print(path)
"""


def no_compilation(machine: PackageMachine, interpreter: str = "/usr/bin/python3") -> None:
    """Nothing is compiled when nobody sends mail, or when a service starts."""
    assert machine.run(interpreter, "-I", "-c", _STALE).stdout == b""
    words = [interpreter, "-v", "-IS", OURS, "bob"]
    said = machine.run(*words, user="nobody", input=b"Subject: x\n\nx\n").stderr.decode()
    assert "import 'sendmail_py.commands.sendmail'" not in said  # it comes out of the one file of byte code
    assert not re.search(r"code object from '?[^']*/sendmail_py/[^']*\.py'?$", said, re.MULTILINE)


def assert_users(machine: PackageMachine) -> None:
    """Both users are of the system, locked, without a home, and each in a group of its own."""
    for user in ("sendmail-py", "sendmail-py-net"):
        name, _, uid, _, _, home, shell = machine.script(f"getent passwd {user}").strip().split(":")
        assert (name, home, shell, int(uid) < 1000) == (user, "/nonexistent", "/usr/sbin/nologin", True)
        assert machine.script(f"id -Gn {user}; getent shadow {user} | cut -c -{len(user) + 2}").split() == [
            user,
            f"{user}:!",
        ]


# Another Python than the one that the packages are built with: its byte code bears another name. What the
# distribution has is compiled for it.
_OTHER_PYTHON = """
sed -z 's/^cpython-311$/cpython-312/' usr/bin/python3.11 > usr/bin/python3.12
chmod 755 usr/bin/python3.12
find usr/lib/python3* -name '*.cpython-311.pyc' | tar -c -T - --transform s/cpython-311/cpython-312/ | tar -x
"""


def test_on_el9_the_bundled_libraries_and_python_3_12_are_used(built: Path) -> None:
    without = "rm -rf usr/lib/python3/dist-packages/dns usr/lib/python3/dist-packages/filelock*"
    without += " usr/lib/python3/dist-packages/daemon usr/lib/python3/dist-packages/lockfile usr/bin/systemd-sysusers"
    with RpmMachine(built, f"{_READY}; {_OTHER_PYTHON}\n{without}") as machine:
        machine.dnf("install", machine.package("el9"))
        assert "python3.12-cryptography" in machine.script("rpm -qa")
        assert_users(machine)  # by useradd
        assert machine.script(f"head -n 1 {OURS} /usr/bin/mailctl").count("#!/usr/bin/python3.12 -IS") == 2
        machine.configure_relay()
        machine.exchanger()
        machine.run("systemctl", "start", "sendmail-py")
        mail(machine)
        no_compilation(machine, "/usr/bin/python3.12")
        assert "/usr/bin/python3.12" in machine.script(f"tr '\\0' ' ' < /proc/{machine.main_pid()}/cmdline")

        # byte code that an older version has made for this Python is not the newer one's
        fast = "/usr/share/sendmail-py/sendmail_py/fast"
        machine.script(f"test ! {fast}.cpython-312 -ef {fast}.cpython-311; echo older > {fast}.cpython-312")
        machine.dnf("reinstall", machine.package("el9"))
        no_compilation(machine, "/usr/bin/python3.12")
        machine.dnf("remove", "sendmail-py")
        assert machine.script("ls -d /usr/share/sendmail-py 2>/dev/null || true") == ""


def test_on_fedora_sbin_and_bin_are_one(built: Path) -> None:
    merge = f"{_READY}; cp -an usr/sbin/. usr/bin/; rm -rf usr/sbin; ln -s bin usr/sbin"
    with RpmMachine(built, merge) as machine:
        machine.dnf("install", machine.package("fc43"))
        assert (
            machine.script("readlink -f /usr/sbin/sendmail /usr/bin/sendmail /usr/lib/sendmail /usr/bin/mailq").split()
            == ["/usr/bin/sendmail.sendmail-py"] * 4
        )
        machine.configure_relay()
        machine.exchanger()
        machine.run("systemctl", "start", "sendmail-py")
        no_compilation(machine)
        mail(machine)
        under_systemd(machine)
        machine.dnf("remove", "sendmail-py")
        assert machine.script("ls -d /usr/sbin/sendmail /usr/share/sendmail-py 2>/dev/null || true") == ""
