"""The table of levels and what DNS says, with real DNSSEC, for us and for Postfix: the same, or OTHERWISE says why.

unbound validates what nsd serves; the servers, the agent and Postfix are on one machine with them.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import HERE, Machine
from signed_dns import REMOTE, RESOLVER, SignedDns
from smarthosts import Smarthosts

from tests.conftest import needs
from tests.integration.test_dane_levels import CELLS, DEFECTS, LEVELS, TABLE, TOLD
from tests.servers.postfix import MANY_AT_ONCE, MASTER

pytestmark = pytest.mark.real("dovecot", "nsd", "unbound", "ldns-signzone", "drill", root=True)
DIRECTORY = "/var/lib/levels"
OTHERWISE = {
    # It goes in clear where the handshake fails as we do, but not in the first attempt.
    ("broken handshake", "may"): "d",
}
_SERVERS = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {HERE!r})
sys.path.insert(0, {HERE!r} + "/tests/integration/root")
from signed_dns import Receivers
from tests.integration.agent_harness import AgentProcess
from tests.integration.test_dane_levels import CELLS, Cell, deliver, seen, settings
from tests.servers.certificates import Authority
directory = Path({DIRECTORY!r})
directory.mkdir()
ours, stranger = Authority(directory, "Ours"), Authority(directory, "Somebody Else")
cells = [Cell(number, defect, ours, stranger) for number, (defect, _) in enumerate(CELLS)]
for cell in cells:
    cell.sink.__enter__()
more = settings(cells, directory, ours)
transport = "".join(f"t{{number}}.test smtp:{{cell.nexthop}}\\n" for number, cell in enumerate(cells))
(directory / "transport").write_text(transport)
receivers = Receivers(ours, stranger)
(directory / "receiver.pem").write_bytes(Path(receivers.path).read_bytes())
records = dict(receivers.records)
for cell in cells:
    records |= cell.records
print(json.dumps(records), flush=True)
sys.stdin.readline()
for resolver in {RESOLVER!r}, {REMOTE!r}:
    (directory / resolver).mkdir()
    done = deliver(cells, directory / resolver, resolver_nameservers=resolver, smtp_tls_loglevel="1", **more)
    for cell in cells:
        cell.sink.messages.clear()
        cell.sink.seen_as.clear()
    log = (directory / resolver / "log").read_text()
    print(json.dumps([[letter, lines] for _, letter, lines in done.values()]), json.dumps(log), sep="\\n", flush=True)
sys.stdin.readline()
print(json.dumps([seen(cell.sink) for cell in cells]))
done = {{}}
with AgentProcess(directory, **receivers.settings) as agent:
    for kind, domain in receivers.domains.items():
        result = agent.result(f"{{domain}}:25", to=["alice@smarthost.test"])
        done[kind] = result.outcome.value, result.reason
print(json.dumps(done), flush=True)
"""
_MAIN_CF = f"""
relay_domains = test
transport_maps = texthash:{DIRECTORY}/transport
smtp_tls_policy_maps = texthash:{DIRECTORY}/policies
smtp_tls_CAfile = {DIRECTORY}/authority-Ours.pem
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_dane_insecure_mx_policy = dane
smtp_starttls_timeout = 10s
smtp_tls_loglevel = 1
smtpd_tls_loglevel = 1
smtpd_tls_chain_files = {DIRECTORY}/receiver.pem
"""


class Outcomes:
    """What became of each cell with us and with Postfix, and their logs."""

    def __init__(self, directory: Path) -> None:
        with Machine() as machine:
            machine.script("useradd --create-home --user-group alice")
            command = machine.command([machine.venv_python(), "-c", _SERVERS])
            self._servers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            with SignedDns(machine, self._said("")):
                self.ours, self.our_log = self._said("\n"), self._said("")
                self.remote, _ = self._said(""), self._said("")
                with Smarthosts(machine, directory, _MAIN_CF, MANY_AT_ONCE) as smarthosts:
                    smarthosts.send_to_each("t", len(CELLS))
                    self.postfix, self.received = self._said("\n"), self._said("")
                    self.log = smarthosts.logs()
            self._servers.wait(60)

    def _said(self, order: str):  # type: ignore[no-untyped-def]
        assert self._servers.stdin and self._servers.stdout
        self._servers.stdin.write(order)
        self._servers.stdin.flush()
        return json.loads(self._servers.stdout.readline())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    needs(MASTER)
    yield Outcomes(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_validating_resolver_makes_no_difference(outcomes: Outcomes, defect: str, level: str) -> None:
    letter, (line,) = outcomes.ours[CELLS.index((defect, level))]
    assert letter == TABLE[defect, level], line


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_resolver_on_another_host_says_nothing_of_dnssec(outcomes: Outcomes, defect: str) -> None:
    """Nobody has said that it is trusted: dane is may, and dane-only waits."""
    dane, only = (outcomes.remote[CELLS.index((defect, level))] for level in ("dane", "dane-only"))
    assert dane[0] == TABLE[defect, "may"], dane
    assert only[0] == "d", only


@pytest.mark.parametrize("kind", ["3 1 1", "2 1 1", "other 3 1 1", "other 2 1 1"])
def test_postfix_takes_our_mail_where_its_certificate_matches(outcomes: Outcomes, kind: str) -> None:
    outcome, reason = outcomes.received[kind]
    if "other" in kind:
        assert (outcome, "Server certificate not verified" in reason) == ("deferred", True)
    else:
        assert (outcome, reason[:3]) == ("sent", "250"), reason
        assert "TLS connection established from" in outcomes.log


def trust(log: str, relay: str) -> set[str]:
    """Return the words of a log for who a server is."""
    found = re.findall(rf"(\w+) TLS connection established to {re.escape(relay)}", log)
    return {word for word in found if word in ("Verified", "Trusted")}


@pytest.mark.parametrize("defect", [defect for defect in DEFECTS if TABLE[defect, "dane"] == "T"])
def test_the_logs_have_the_same_word_for_who_a_server_is(outcomes: Outcomes, defect: str) -> None:
    """Postfix says Trusted also at may, where it has looked at the authority for nothing."""
    number = CELLS.index((defect, "dane"))
    told = [line for line in outcomes.log.splitlines() if f"to=<bob@t{number}.test>" in line]
    relay = told[-1].partition("relay=")[2].partition(", ")[0]
    ours, postfix = trust(outcomes.our_log, relay), trust(outcomes.log, relay)
    assert ours == {"dane": {"Verified"}, "dane:halfdane": {"Trusted"}}.get(TOLD.get(defect, "dane"), set())
    assert postfix == (ours or {"Trusted"})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_postfix_does_the_same(outcomes: Outcomes, defect: str, level: str) -> None:
    number = CELLS.index((defect, level))
    told = [line for line in outcomes.log.splitlines() if f"to=<bob@t{number}.test>" in line]
    assert outcomes.postfix[number] == OTHERWISE.get((defect, level), TABLE[defect, level]), told
