"""MTA-STS beside DANE: who decides where a domain has both.

At the level dane, to servers whose certificate no authority vouches for. T: sent under TLS, d: deferred.
"""

import pytest

from tests.integration.test_sts_mail import start, zone_of
from tests.integration.test_tls_levels import seen
from tests.servers.certificates import Authority, association, read
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.secure_sink import SecureSink

BESIDE = """
                       names it  names another  no policy
records that match     T         T              T
records that do not    d         d              d
unusable records       d         d              T
no records             d         d              T
"""
POLICIES, *BESIDE_ROWS = ([part for part in line.split("  ") if part] for line in BESIDE.splitlines() if line)
POLICIES = [name.strip() for name in POLICIES]
WHAT_DECIDES = {
    (row[0].strip(), name): cell.strip() for row in BESIDE_ROWS for name, cell in zip(POLICIES, row[1:], strict=True)
}


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """Send at the level dane to servers whose certificate nobody would verify; returns {cell: (result, letter)}."""
    tmp_path = tmp_path_factory.mktemp("beside")
    ours = Authority(tmp_path)
    path = ours.certificate("other.test", self_signed=True)
    zone, pages, sinks = {}, {}, {}
    for number, cell in enumerate(WHAT_DECIDES):
        domain, sinks[cell] = f"d{number}.test", SecureSink(path)
        host = f"mx.{domain}"
        zone |= zone_of(domain, host)
        zone[domain]["secure"] = zone[host]["secure"] = True
        right = association(1, 1, read(path)).hex()
        records = {"records that match": f"3 1 1 {right}", "records that do not": f"3 1 1 {'ab' * 32}"}
        records["unusable records"] = f"0 1 1 {right}"
        if cell[0] in records:
            zone[f"_{sinks[cell].port}._tcp.{host}"] = {"TLSA": [records[cell[0]]], "secure": True}
        if cell[1] == "no policy":
            del zone[f"_mta-sts.{domain}"]
        pages[domain] = policy("enforce", host if cell[1] == "names it" else "nobody.test")
    for sink in sinks.values():
        sink.__enter__()
    with NameServer(zone) as names, PolicyHost(ours, pages) as policies:
        with start(tmp_path, ours, names, policies, smtp_tls_security_level="dane") as agent:
            given = [agent.give(f"d{n}.test:{sink.port}", agent.delivery()) for n, sink in enumerate(sinks.values())]
            results = [agent.results(number)[0, 0] for number in given]
    for sink in sinks.values():
        sink.__exit__()
    return {cell: (result, seen(sinks[cell])) for cell, result in zip(WHAT_DECIDES, results, strict=True)}


@pytest.mark.parametrize("cell", WHAT_DECIDES, ids="-".join)
def test_dane_decides_before_a_policy_does(beside, cell):
    result, letter = beside[cell]
    assert letter == WHAT_DECIDES[cell]
    if letter == "d":
        by_dane = "matches none of the TLSA records" in result.reason
        assert by_dane == (cell[0] == "records that do not")
