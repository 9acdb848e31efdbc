"""Machines of their own with sendmail-py installed, set up and, mostly, running for three users.

alice and bob have homes of mode 0700, carol's does not exist; mallory is not to be trusted.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machine import Machine

USERS = """
for user in alice bob mallory; do useradd --create-home --user-group "$user"; chmod 700 "/home/$user"; done
useradd --no-create-home --user-group carol
usermod --comment 'Alice Example,,,' alice
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this directory need root and what a machine is made of."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real("unshare", "nsenter", "setpriv", "ip", "useradd", "make", root=True))


def _installed() -> Iterator[Machine]:
    probe = "import dns, filelock, daemon, cryptography"
    if subprocess.run(["/usr/bin/python3", "-I", "-c", probe], capture_output=True).returncode:
        pytest.skip("needs the dependencies for /usr/bin/python3 (`make test-deps`)")
    with Machine() as machine:
        machine.install()
        machine.set_up(maildrop_scan_delay="2s", deliver_lock_attempts=3)
        machine.script(USERS)
        yield machine


@pytest.fixture(scope="session")
def installed() -> Iterator[Machine]:
    """One machine for all tests that leave it as they found it; the services may run or not."""
    yield from _installed()


@pytest.fixture
def running(installed: Machine) -> Machine:
    """The same with its services running."""
    if not installed.path("/run/sendmail-py/master.pid").exists():
        installed.start()
    return installed


@pytest.fixture
def stopped(installed: Machine) -> Machine:
    """The same with its services stopped."""
    installed.stop()
    return installed


@pytest.fixture
def fresh() -> Iterator[Machine]:
    """A machine for one test alone."""
    yield from _installed()
