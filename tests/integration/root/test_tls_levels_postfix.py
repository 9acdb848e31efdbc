"""The table of levels of TLS and defects with Postfix as the client: the same, or OTHERWISE says what and why."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from machine import HERE, Machine
from smarthosts import Smarthosts

from tests.conftest import needs
from tests.integration.test_tls_levels import CELLS, DEFECTS, LEVELS, TABLE
from tests.servers.postfix import MANY_AT_ONCE, MASTER

pytestmark = pytest.mark.real("dovecot", root=True)
DIRECTORY = "/var/lib/levels"
OTHERWISE = {
    # It takes no address of a destination for a name that a certificate could have.
    ("fine", "secure"): "d",
    ("another key", "secure"): "d",
    # It throws away what comes in clear after the reply to STARTTLS and goes on; we end the session.
    **{("injection", level): "T" for level in ("may", "encrypt", "fingerprint", "dane", "verify")},
    # It goes in clear where the handshake fails as we do, but not in the first attempt.
    **{
        (defect, level): "d"
        for defect in ("broken handshake", "old version", "weak cipher")
        for level in ("may", "dane")
    },
}
_SERVERS = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {HERE!r})
from tests.integration.test_tls_levels import CELLS, policy, seen, server
from tests.servers.certificates import Authority
directory = Path({DIRECTORY!r})
directory.mkdir()
ours, stranger = Authority(directory, "Ours"), Authority(directory, "Somebody Else")
sinks, policies, transport = [], "", ""
for number, cell in enumerate(CELLS):
    sink, path = server(cell[0], ours, stranger)
    sinks.append(sink.__enter__())
    policies += f"[127.0.0.1]:{{sink.port}} {{policy(*cell, path)}}\\n"
    transport += f"c{{number}}.test smtp:[127.0.0.1]:{{sink.port}}\\n"
(directory / "policies").write_text(policies)
(directory / "transport").write_text(transport)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([seen(sink) for sink in sinks]))
"""
_MAIN_CF = f"""
relay_domains = test
transport_maps = texthash:{DIRECTORY}/transport
smtp_tls_policy_maps = texthash:{DIRECTORY}/policies
smtp_tls_CAfile = {DIRECTORY}/authority-Ours.pem
smtp_tls_fingerprint_digest = sha256
smtp_starttls_timeout = 10s
"""


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What Postfix has made of each cell, and its log."""
    needs(MASTER)
    with Machine() as machine:
        machine.script("useradd --create-home --user-group alice")
        command = machine.command([machine.venv_python(), "-c", _SERVERS])
        servers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert servers.stdin and servers.stdout and servers.stdout.readline() == "ready\n"
        with Smarthosts(machine, tmp_path_factory.mktemp("authority"), _MAIN_CF, MANY_AT_ONCE) as smarthosts:
            smarthosts.send_to_each("c", len(CELLS))
        cells, _ = servers.communicate("\n", timeout=60)
        yield json.loads(cells)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_postfix_does_the_same(postfix: list[str], defect: str, level: str) -> None:
    cell = defect, level
    assert postfix[CELLS.index(cell)] == OTHERWISE.get(cell, TABLE[cell])
