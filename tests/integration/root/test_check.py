"""mailctl check of the system's instance: what is broken is found, and the command that is told repairs it."""

import json

import pytest
from machine import Machine

FILES = ("files", "services", "configuration")


def found(machine: Machine) -> list[dict[str, str]]:
    done = machine.run("mailctl", "check", "--json", check=False)
    assert done.returncode in (0, 1, 2), done.stderr.decode()
    return [row for row in json.loads(done.stdout) if row["area"] in FILES]


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("chown root: /var/spool/sendmail-py/active", "/var/spool/sendmail-py/active belongs to uid 0"),
        ("chmod 00777 /var/spool/sendmail-py/maildrop", "has mode 777, not 3733"),
        ("rmdir /var/spool/sendmail-py/hold", "/var/spool/sendmail-py/hold: No such file"),
        ("chmod 755 /var/lib/sendmail-py/oauth", "/var/lib/sendmail-py/oauth holds tokens; it has mode 755"),
        ("chown alice: /etc/sendmail-py/main.cf", "who can change what the services do"),
        ("chmod 666 /etc/sendmail-py/main.cf", "others can change what the services do"),
        ("echo relayhots=x >> /etc/sendmail-py/main.cf", "unknown parameter relayhots"),
        ("mailctl stop", "the services are not running"),
    ],
)
def test_what_is_broken_is_found_and_its_repair_repairs_it(running: Machine, breaks: str, says: str) -> None:
    assert found(running) == []
    running.script(breaks)
    (row,) = found(running)
    assert says in row["text"]
    if row["repair"].endswith(" start"):
        running.start()
    else:
        running.script(row["repair"])
    assert found(running) == []


def test_only_root_can_check_the_systems_instance(running: Machine) -> None:
    done = running.run("mailctl", "check", user="alice", check=False)
    assert (done.returncode, done.stderr) == (77, b"mailctl: only root can check this instance\n")
