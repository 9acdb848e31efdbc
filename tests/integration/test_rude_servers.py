"""Rude next hops: each fault at each step, and what becomes of the mail, as one table.

Each cell is a server of its own, the better mail exchanger of a domain whose backup is polite. A batch of two
messages goes there, the first with three recipients; the fault comes once, for the first message, and for its
second recipient where it is one of RCPT. The four letters of a cell are the three recipients and the second message:
s sent, S sent by the backup, d deferred, b bounced.
"""

import threading
from itertools import product

import pytest

from tests.integration.agent_harness import AgentProcess
from tests.servers.name_server import NameServer
from tests.servers.ports import free_port
from tests.servers.smtp_sink import EHLO, SmtpSink

FAULTS = {
    "421": "421 4.3.2 closing DROP",
    "4xx": "451 4.7.1 later",
    "5xx": "554 5.7.1 never",
    "3xx": "354 what now",
    "drop": "DROP",
    "half": "NORMAL-HALF",
    "silence": "SILENT",
    "no end": "ENDLESS",
    "chatter": "CHATTER",
    "10,000 lines": "LONG",
    "garbage": "hello there",
    "surplus": "NORMAL-AND-MORE",
}
GRID = """
              CONNECT  EHLO     MAIL     RCPT     DATA     DOT      BDAT     LAST     RSET     QUIT
421           SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
4xx           SSSS     ssss     ddds     sdss     ddds     ddds     ddds     ddds     ddds     ssss
5xx           SSSS     ssss     bbbs     sbss     bbbs     bbbs     bbbs     bbbs     ddds     ssss
3xx           SSSS     ssss     ddds     sdss     ssss     ddds     ddds     ddds     ddds     ssss
drop          SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
half          SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
silence       SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
no end        SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
chatter       SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
10,000 lines  SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
garbage       SSSS     SSSS     SSSS     SSSS     SSSS     ddds     SSSS     ddds     ddds     ssss
surplus       SSSS     SSSS     dbds     bbbs     ddds     sssb     ddds     sssb     ddds     ssss
"""
STEPS, *ROWS = (line for line in GRID.splitlines() if line)
STEPS = STEPS.split()
TABLE = {(step, row[:14].strip()): cell for row in ROWS for step, cell in zip(STEPS, row[14:].split(), strict=True)}
LETTERS = {"sent": "s", "deferred": "d", "bounced": "b"}
TIMEOUTS = ("helo", "mail", "rcpt", "data_init", "data_xfer", "data_done", "quit")
EXTENSIONS = {"BDAT": [*EHLO, "CHUNKING"], "LAST": [*EHLO, "CHUNKING"]}
TIMEOUT = "5s"


class RudeSink(SmtpSink):
    """A server with one fault at one step, the first time that it comes there."""

    def __init__(self, step, fault, **more):
        super().__init__(ehlo=EXTENSIONS.get(step), **more)
        self.step, self.fault = step, fault
        self.is_due = threading.Lock()

    def reply(self, key, *more):
        said = super().reply(key, *more)
        meets = self.step == key and (key != "RCPT" or any("b@" in name for name in more))
        if self.step == "RSET" and key == "MAIL" and not self.commands.count("RSET"):
            return "451 4.7.1 so that RSET comes"
        if not meets or not self.is_due.acquire(blocking=False):
            return said
        if self.fault == "NORMAL-HALF":
            return said[:3] + "-cut DROP"
        if self.fault == "NORMAL-AND-MORE":
            return f"{said}\n250 2.0.0 and more\n550 5.0.0 and more"
        if self.fault == "LONG":
            return "\n".join([f"{said[:3]}-line {n}" for n in range(10_000)]) + f"\n{said}"
        return self.fault


CELLS = list(product(STEPS, FAULTS))
RECIPIENTS = {"a": (0, 0), "b": (0, 1), "c": (0, 2), "d": (1, 0)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Send to all the servers at once; returns what each cell has come to."""
    port = free_port()
    zone = {"backup.test": {"A": ["127.0.0.2"]}}
    servers = [SmtpSink(host="127.0.0.2", port=port)]
    for number, (step, fault) in enumerate(CELLS):
        address = f"127.9.{number // 200}.{number % 200 + 1}"
        zone[f"d{number}.test"] = {"MX": [f"10 m{number}.test.", "20 backup.test."]}
        zone[f"m{number}.test"] = {"A": [address]}
        servers.append(RudeSink(step, FAULTS[fault], host=address, port=port))
    timeouts = {f"smtp_{name}_timeout": TIMEOUT for name in TIMEOUTS}
    found = {}
    with NameServer(zone) as dns:
        for server in servers:
            server.__enter__()
        with AgentProcess(
            tmp_path_factory.mktemp("rude"),
            myhostname="client.test",
            smtp_tcp_port=port,
            smtp_permit_loopback_mx="yes",
            resolver_nameservers=dns.address,
            **timeouts,
        ) as agent:
            numbers = []
            for number in range(len(CELLS)):
                to = [f"{user}@d{number}.test" for user in "abc"]
                both = agent.delivery(to=to), agent.delivery(to=[f"d@d{number}.test"])
                numbers.append(agent.give(f"d{number}.test", *both))
            for cell, number in zip(CELLS, numbers, strict=True):
                found[cell] = agent.results(number)
            assert not [line for line in agent.log().splitlines() if "]: error: " in line]
            assert agent.rss() < 150e6
        for server in servers:
            server.__exit__()
    return found, servers


def letter(result):
    one = LETTERS[result.outcome.value]
    return one.upper() if "backup.test" in result.relay else one


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_cell_is_as_written(outcomes, step, fault):
    results = outcomes[0][step, fault]
    assert "".join(letter(results[key]) for key in RECIPIENTS.values()) == TABLE[step, fault]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_sent_has_arrived_once_and_what_was_not_has_not(outcomes, step):
    found, (backup, *servers) = outcomes
    for number, cell in enumerate(CELLS):
        if cell[0] != step:
            continue
        arrived = [r for m in (*backup.messages, *servers[number].messages) for r in m.recipients]
        for user, key in RECIPIENTS.items():
            copies = sum(r.startswith(f"<{user}@d{number}.test>") for r in arrived)
            is_sent = found[cell][key].outcome.value == "sent"
            may_have_arrived = step in ("DOT", "LAST") or cell[1] == "surplus"  # nobody can tell
            assert copies == is_sent or may_have_arrived, cell
