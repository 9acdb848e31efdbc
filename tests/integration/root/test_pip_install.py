"""From the wheel to a mail system and back: pip install, `mailctl setup`, an upgrade, `mailctl setup --remove`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import USERS
from machine import HERE, ROOT, SPOOL, Machine

PYTHON = "/var/lib/mail/bin/python"
NAMES = {
    "/usr/sbin/sendmail": "/usr/local/sbin/sendmail",
    "/usr/lib/sendmail": "/usr/local/lib/sendmail",
    "/usr/bin/mailq": "/usr/local/bin/mailq",
    "/usr/bin/newaliases": "/usr/local/bin/newaliases",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel of this version, and of one after it."""
    return [build(tmp_path_factory.mktemp("wheel"), version) for version in ("0.1.0", "0.1.1")]


def build(directory: Path, version: str) -> Path:
    """Build the wheel from a copy of the checkout."""
    tree = directory / "tree"
    tree.mkdir()
    for name in ("bin", "docs", "packaging", "sendmail_py"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tree)
    (tree / "tests").mkdir()
    shutil.copy(ROOT / "tests/requirements-test.txt", tree / "tests")
    (tree / "sendmail_py/__init__.py").write_text(f'"""A version."""\n\n__version__ = "{version}"\n')
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", directory, tree]
    subprocess.run([sys.executable, *words], check=True, timeout=120)
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def machine(wheels: list[Path]) -> Iterator[Machine]:
    """A machine with the wheel in an environment that sees the distribution's libraries."""
    with Machine() as machine:
        machine.script(USERS)
        machine.run("python3", "-m", "venv", "--system-site-packages", "/var/lib/mail")
        pip_install(machine, wheels[0])
        yield machine


def pip_install(machine: Machine, wheel: Path) -> None:
    copy = machine.path("/var/lib") / wheel.name
    shutil.copy(wheel, copy)
    machine.run(PYTHON, "-m", "pip", "install", "-q", "--no-deps", "--no-index", f"/var/lib/{wheel.name}")


def setup(machine: Machine, *words: str) -> list[str]:
    return machine.run(PYTHON, "-m", "sendmail_py", "setup", *words).stdout.decode().splitlines()


def test_a_wheel_becomes_a_mail_system_is_upgraded_and_removed(machine: Machine, wheels: list[Path]) -> None:
    done = setup(machine, "--root-alias", "alice")
    assert done[0] == "installed the programs of 0.1.0 in /usr/local"
    assert [f"created {name}" for name in NAMES] == done[1:5]
    assert done[-1] == "/etc/aliases: root's mail goes to alice"
    assert setup(machine, "--root-alias", "alice") == ["already set up"]
    assert machine.run("mailctl", "setup").stdout == b"already set up\n"
    assert {name: machine.script(f"readlink {name}").strip() for name in NAMES} == NAMES
    for name in NAMES:
        assert machine.run("head", "-1", name).stdout == b"#!/usr/bin/python3 -IS\n"
    assert "ExecStart=/usr/local/bin/mailctl start" in machine.script("cat /usr/local/lib/systemd/system/*.service")
    assert ".Dt MAIN.CF 5" in machine.script("cat /usr/local/share/man/man5/main.cf.5")

    machine.configure(maillog_file="/var/log/mail.log")
    machine.start()
    for name in ("/usr/sbin/sendmail", "/usr/lib/sendmail"):
        machine.run(name, "root", user="bob", input=f"Subject: x\n\nby {name}\n".encode())
        machine.wait_for_mail("alice", f"by {name}")
    said = machine.run(
        "/usr/bin/python3", "-v", "-IS", "/usr/local/sbin/sendmail", "bob", user="nobody", input=b"x\n\nx\n"
    ).stderr.decode()
    assert "import 'sendmail_py.commands.sendmail'" not in said  # it comes out of the one file of byte code
    assert not re.search(r"code object from '?[^']*/sendmail_py/[^']*\.py'?$", said, re.MULTILINE)

    machine.stop()
    machine.run("/usr/sbin/sendmail", "bob", user="alice", input=b"Subject: x\n\nfor the new version\n")
    pip_install(machine, wheels[1])
    assert setup(machine) == ["installed the programs of 0.1.1 in /usr/local"]
    machine.start()
    machine.wait_for_mail("bob", "for the new version")

    machine.run("/usr/sbin/sendmail", "-odq", "bob", user="alice", input=b"Subject: x\n\nkept\n")
    machine.run("/usr/sbin/sendmail", "nobody@remote.example", user="alice", input=b"Subject: x\n\nkept too\n")
    done = setup(machine, "--remove")
    assert done[:5] == ["stopped the services", *(f"removed {name}" for name in NAMES)]
    assert f"kept {SPOOL}: 2 messages are in it" in done
    assert "kept /etc/sendmail-py/main.cf: it has been changed" in done
    assert done[-1] == "removed the programs in /usr/local"
    assert machine.script("find /usr/local -mindepth 1 ! -type d") == ""
    assert "sendmail-py" in machine.script("getent passwd")
    assert setup(machine, "--remove")[-1] == "nothing to remove"

    assert setup(machine)[0] == "installed the programs of 0.1.1 in /usr/local"
    machine.start()
    machine.run("mailctl", "flush")
    machine.wait_for_mail("bob", "kept")
    machine.run("mailctl", "stop")
    machine.script(f"rm -f {SPOOL}/deferred/*/* /etc/sendmail-py/main.cf")
    setup(machine)
    done = setup(machine, "--remove")
    assert not [line for line in done if line.startswith("kept")]
    assert setup(machine, "--remove") == ["nothing to remove"]
    places = "/etc/sendmail-py /var/spool/sendmail-py /var/lib/sendmail-py /run/sendmail-py " + " ".join(NAMES)
    assert machine.script(f"ls -d {places} 2>/dev/null || true") == ""
    assert "sendmail-py" not in machine.script("getent passwd; getent group")


def test_the_name_of_another_mail_system_stays(machine: Machine) -> None:
    machine.script("echo other > /usr/sbin/sendmail")
    done = machine.run(PYTHON, "-m", "sendmail_py", "setup")
    assert b"warning: /usr/sbin/sendmail is of another mail system; it stays" in done.stderr
    setup(machine, "--remove")
    assert machine.script("cat /usr/sbin/sendmail; rm /usr/sbin/sendmail") == "other\n"


def test_an_environment_that_a_user_can_change_is_refused(machine: Machine) -> None:
    machine.script("chown alice /var/lib/mail")
    done = machine.run(PYTHON, "-m", "sendmail_py", "setup", check=False)
    machine.script("chown root /var/lib/mail")
    assert done.returncode == 73
    assert b"/var/lib/mail can be changed by others than root" in done.stderr
    assert machine.script("ls /usr/local/bin 2>/dev/null || true") == ""


def test_what_make_install_has_put_there_is_not_replaced(machine: Machine) -> None:
    machine.run("make", "-s", "-C", HERE, "install", "PREFIX=/usr/local")
    done = machine.run(PYTHON, "-m", "sendmail_py", "setup", check=False)
    assert done.returncode == 73
    assert b"remove that installation first" in done.stderr
