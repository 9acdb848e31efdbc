"""A dead host next to a living one, in a network where packets to the dead one really go nowhere."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import HERE, Machine, wait_until

pytestmark = pytest.mark.real("ip", root=True)
DEAD, DEAD6 = "10.77.0.9", "fd77::9"
ZONE = {
    "twins.test": {"MX": ["10 dead.test.", "10 living.test."]},
    "both.test": {"A": ["127.0.0.1"], "AAAA": [DEAD6]},
    "dead.test": {"A": [DEAD], "AAAA": [DEAD6]},
    "living.test": {"A": ["127.0.0.1"]},
}
# The other end of the pair listens to nobody, and neighbours are told instead of asked for: no error ever comes back.
_NETWORK = f"""
ip link add hole type veth peer name beyond
ip addr add 10.77.0.1/24 dev hole
ip addr add fd77::1/64 dev hole nodad
ip link set hole up
ip link set beyond up
ip neigh add {DEAD} lladdr 02:00:00:00:00:09 dev hole
ip -6 neigh add {DEAD6} lladdr 02:00:00:00:00:09 dev hole
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine that relays to a sink on its port 25; the time-out of a connection is longer than any test waits."""
    with Machine() as machine:
        machine.install()
        machine.script("useradd --create-home --user-group alice; mkdir /var/lib/sink")
        machine.script(_NETWORK)
        machine.set_up(
            mydestination="",
            smtpd_port="",
            inet_protocols="all",
            smtp_address_preference="ipv6",
            resolver_nameservers="127.0.0.1:5300",
            smtp_permit_loopback_mx="yes",
            smtp_connect_timeout="600s",
            stop_timeout="1s",
        )
        machine.path("/var/lib/zone").write_text(json.dumps(ZONE))
        python = machine.venv_python()
        servers = (
            [python, f"{HERE}/tests/servers/name_server.py", "--zone", "/var/lib/zone", "--port", 5300],
            [python, f"{HERE}/tests/servers/smtp_sink.py", "--dir", "/var/lib/sink", "--port", 25],
        )
        running = [subprocess.Popen(machine.command(words), stdout=subprocess.DEVNULL) for words in servers]
        machine.start()
        yield machine
        machine.stop()
        for process in running:
            process.terminate()
            process.wait(60)


def arrived(machine: Machine, text: str) -> bool:
    return any(text in path.read_text() for path in Path(machine.path("/var/lib/sink")).glob("*.eml"))


def test_the_hole_is_one(machine: Machine) -> None:
    text = f"import socket; socket.create_connection(({DEAD!r}, 25), 4)"
    assert b"TimeoutError" in machine.run("python3", "-I", "-c", text, check=False).stderr


@pytest.mark.parametrize("domain", ["twins.test", "both.test"])
def test_a_dead_host_or_family_beside_a_living_one_holds_nothing_up(machine: Machine, domain: str) -> None:
    for number in range(3):
        machine.submit("alice", f"bob@{domain}", text=f"{domain} {number}")
        wait_until(lambda text=f"{domain} {number}": arrived(machine, text), f"{domain} {number}")


def test_mail_for_a_dead_host_holds_up_no_other_mail(machine: Machine) -> None:
    for number in range(10):
        machine.submit("alice", f"bob{number}@dead.test", text="into the hole")
    for number in range(5):
        machine.submit("alice", f"bob{number}@living.test", text=f"past the hole {number}")
    wait_until(lambda: all(arrived(machine, f"past the hole {n}") for n in range(5)), "mail past the hole")
    assert not arrived(machine, "into the hole")
