"""Levels of TLS against what DNS and the server have to say, DANE's part of test_tls_levels.

T: sent under TLS, C: sent in clear, d: deferred, and nothing of the message said in clear. Names end in the
zone that they are in: signed.test, unsigned.test, and those whose answers no validating resolver gives:
bogus.test (wrong keys), expired.test (old signatures), lame.test (no server). Here a little name server plays
the resolver; root/test_dane_postfix.py does the same with a real one, and with Postfix.
"""

from itertools import product

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import AgentProcess
from tests.integration.test_tls_levels import seen
from tests.servers.certificates import Authority, association, read
from tests.servers.name_server import NameServer
from tests.servers.secure_sink import SecureSink

GRID = """
                          may  encrypt  dane  dane-only  verify  secure
3 1 1                     T    T        T     T          T       T
3 0 1                     T    T        T     T          T       T
3 1 2                     T    T        T     T          T       T
3 0 0                     T    T        T     T          T       T
3 1 0                     T    T        T     T          T       T
2 0 1                     T    T        T     T          T       T
2 1 1                     T    T        T     T          T       T
2 0 0                     T    T        T     T          T       T
2 1 0                     T    T        T     T          T       T
other 3 1 1               T    T        d     d          T       T
other 3 0 1               T    T        d     d          T       T
other 2 0 1               T    T        d     d          T       T
other 2 0 0               T    T        d     d          T       T
one of two                T    T        T     T          T       T
weak digest               T    T        d     d          T       T
strong digest             T    T        T     T          T       T
expired 3 1 1             T    T        T     T          d       d
expired 2 0 1             T    T        d     d          d       d
wrong name 3 1 1          T    T        T     T          d       d
wrong name 2 0 1          T    T        d     d          d       d
nexthop 2 0 1             T    T        T     T          d       T
self-signed 3 1 1         T    T        T     T          d       d
self-signed 2 0 1         T    T        d     d          d       d
not shown 2 0 1           T    T        d     d          T       T
not offered               C    d        d     d          d       d
broken handshake          C    d        d     d          d       d
unusable                  T    T        T     d          T       T
unusable, not offered     C    d        d     d          d       d
malformed                 T    T        T     d          T       T
bogus TLSA                T    T        d     d          T       T
expired TLSA              T    T        d     d          T       T
lame TLSA                 T    T        d     d          T       T
unsigned TLSA             T    T        T     d          T       T
no TLSA                   T    T        T     d          T       T
no TLSA, not offered      C    d        C     d          d       d
unsigned host             T    T        T     d          T       T
unsigned MX               T    T        T     d          T       T
unsigned MX, other        T    T        d     d          T       T
bogus MX                  d    d        d     d          d       d
alias                     T    T        T     T          T       T
alias 2 0 1               T    T        T     T          d       T
TLSA of the alias         T    T        T     T          T       T
alias of unsigned         T    T        T     T          T       T
unsigned alias            T    T        T     d          T       T
bogus alias               d    d        d     d          d       d
implicit MX               T    T        T     T          T       T
TLSA elsewhere            T    T        T     T          T       T
alias of a domain 2 0 1   T    T        T     T          d       T
unsigned domain's alias   T    T        d     d          d       d
"""
LEVELS, *ROWS = (line for line in GRID.splitlines() if line)
LEVELS = LEVELS.split()
TABLE = {(row[:26].strip(), level): cell for row in ROWS for level, cell in zip(LEVELS, row[26:].split(), strict=True)}
NO_TLS = {"starttls": False}
DEFECTS = {
    **{kind: {"tlsa": [kind]} for kind in ("3 1 1", "3 0 1", "3 1 2", "3 0 0", "3 1 0", "2 0 0", "2 1 0")},
    **{kind: {"tlsa": [kind], "shows_authority": True} for kind in ("2 0 1", "2 1 1")},
    **{f"other {kind}": {"tlsa": [f"other {kind}"]} for kind in ("3 1 1", "3 0 1", "2 0 0")},
    "other 2 0 1": {"tlsa": ["other 2 0 1"], "shows_authority": True},
    "one of two": {"tlsa": ["other 3 1 1", "3 1 1"]},
    "weak digest": {"tlsa": ["3 1 1", "other 3 1 2"]},
    "strong digest": {"tlsa": ["other 3 1 1", "3 1 2"]},
    "expired 3 1 1": {"tlsa": ["3 1 1"], "expired": True},
    "expired 2 0 1": {"tlsa": ["2 0 1"], "shows_authority": True, "expired": True},
    "wrong name 3 1 1": {"tlsa": ["3 1 1"], "name": "somebody.else.test"},
    "wrong name 2 0 1": {"tlsa": ["2 0 1"], "shows_authority": True, "name": "somebody.else.test"},
    "nexthop 2 0 1": {"tlsa": ["2 0 1"], "shows_authority": True, "name": "domain"},
    "self-signed 3 1 1": {"tlsa": ["3 1 1"], "self_signed": True},
    "self-signed 2 0 1": {"tlsa": ["2 0 1 of itself"], "self_signed": True},
    "not shown 2 0 1": {"tlsa": ["2 0 1"]},
    "not offered": {"tlsa": ["3 1 1"], "how": NO_TLS},
    "broken handshake": {"tlsa": ["3 1 1"], "how": {"replies": {"STARTTLS": ["220 go DROP"]}}},
    "unusable": {"tlsa": ["1 1 1", "0 0 1"]},
    "unusable, not offered": {"tlsa": ["1 1 1"], "how": NO_TLS},
    "malformed": {"tlsa": ["short 3 1 1", "3 1 7", "3 2 1"]},
    "bogus TLSA": {"tlsa": ["3 1 1"], "records_in": "bogus"},
    "expired TLSA": {"tlsa": ["3 1 1"], "records_in": "expired"},
    "lame TLSA": {"tlsa": ["3 1 1"], "records_in": "lame"},
    "unsigned TLSA": {"tlsa": ["other 3 1 1"], "records_in": "unsigned"},
    "no TLSA": {},
    "no TLSA, not offered": {"how": NO_TLS},
    "unsigned host": {"tlsa": ["other 3 1 1"], "host_in": "unsigned", "domain_in": "unsigned"},
    "unsigned MX": {"tlsa": ["3 1 1"], "domain_in": "unsigned", "name": "both"},
    "unsigned MX, other": {"tlsa": ["other 3 1 1"], "domain_in": "unsigned", "name": "both"},
    "bogus MX": {"tlsa": ["3 1 1"], "domain_in": "bogus"},
    "alias": {"tlsa": ["3 1 1"], "behind": "signed"},
    "alias 2 0 1": {"tlsa": ["2 0 1"], "shows_authority": True, "behind": "signed", "name": "behind"},
    "TLSA of the alias": {"tlsa": ["3 1 1"], "behind": "signed", "at_alias": True},
    "alias of unsigned": {"tlsa": ["3 1 1"], "behind": "unsigned", "at_alias": True},
    "unsigned alias": {"tlsa": ["other 3 1 1"], "behind": "signed", "host_in": "unsigned", "name": "both"},
    "bogus alias": {"tlsa": ["3 1 1"], "behind": "bogus"},
    "implicit MX": {"tlsa": ["3 1 1"], "without_mx": True},
    "TLSA elsewhere": {"tlsa": ["3 1 1"], "records_in": "signed"},
    "alias of a domain 2 0 1": {"tlsa": ["2 0 1"], "shows_authority": True, "stands_for": "signed", "name": "other"},
    "unsigned domain's alias": {"tlsa": ["other 3 1 1"], "stands_for": "unsigned", "name": "other"},
}
AT_ONCE = 40  # what a name server of one thread, in the process of the servers, keeps up with
CELLS = list(product(DEFECTS, LEVELS))
NO_ANSWER = ("bogus.test", "expired.test", "lame.test")
# What the log says of the level dane: what it came to.
TOLD = {
    **dict.fromkeys(("unusable", "malformed"), "dane:encrypt"),
    **dict.fromkeys(("unsigned TLSA", "no TLSA", "unsigned host", "unsigned alias"), "may"),
    "unsigned MX": "dane:halfdane",
}


class Cell:
    """One server with its domain; records is what DNS has of it: {name: {type: [texts]}}."""

    def __init__(self, number, defect, ours, stranger):
        how = DEFECTS[defect]
        self.domain = f"c{number}.{how.get('domain_in', 'signed')}.test"
        host = self.domain if "without_mx" in how else f"mx.c{number}.{how.get('host_in', 'signed')}.test"
        behind = f"behind.c{number}.{how['behind']}.test" if "behind" in how else host
        other = f"other.c{number}.{how.get('stands_for')}.test"
        names = {"domain": [self.domain], "other": [other], "behind": [behind], "both": [host, self.domain]}
        of = {key: how[key] for key in ("expired", "self_signed", "shows_authority") if key in how}
        path = ours.certificate(*names.get(how.get("name", ""), [how.get("name", host)]), **of)
        self.sink = SecureSink(path, **how.get("how", {}))
        self.nexthop = f"{self.domain}:{self.sink.port}"
        self.records = {behind: {"A": ["127.0.0.1"]}}
        if host != self.domain:
            self.records[other if "stands_for" in how else self.domain] = {"MX": [f"10 {host}."]}
        if "stands_for" in how:
            self.records[self.domain] = {"CNAME": [f"{other}."]}
        if behind != host:
            self.records[host] = {"CNAME": [f"{behind}."]}
        texts = [_record(text, path, ours, stranger) for text in how.get("tlsa", ())]
        service = f"_{self.sink.port}._tcp.{host if 'at_alias' in how else behind}"
        if "records_in" in how:
            elsewhere = f"tlsa.c{number}.{how['records_in']}.test"
            self.records[service] = {"CNAME": [f"{elsewhere}."]}
            service = elsewhere
        if texts:
            self.records[service] = {"TLSA": texts}


def _record(text, path, ours, stranger):
    """Return a TLSA record, for words such as "other 3 1 1"."""
    usage, selector, matching = (int(word) for word in text.split() if word.isdigit())
    who = path if usage in (1, 3) or "itself" in text else ours.file
    if "other" in text:
        who = stranger.file
    data = association(min(selector, 1), matching if matching < 3 else 1, read(who))
    return f"{usage} {selector} {matching} {(data[:20] if 'short' in text else data).hex()}"


def simulated(cells):
    """Return the zone of the little name server for what a validating resolver would say."""
    zone = {}
    for name, entry in (pair for cell in cells for pair in cell.records.items()):
        is_known = not name.endswith(NO_ANSWER)
        zone[name] = {**entry, "secure": name.endswith(".signed.test")} if is_known else {"rcode": "SERVFAIL"}
    return zone


def settings(cells, directory, authority):
    """Return the parameters that agent and Postfix have in common."""
    lines = [f"{cell.nexthop} {level}\n" for cell, (_, level) in zip(cells, CELLS, strict=True)]
    (directory / "policies").write_text("".join(lines))
    return {"smtp_tls_policy_maps": f"texthash:{directory}/policies", "smtp_tls_CAfile": authority.file}


def deliver(cells, directory, **more):
    """Have the agent send to all cells; returns {cell: (result, letter, log line)}."""
    more |= {"smtp_log_tls_feature_status": "yes", "smtp_permit_loopback_mx": "yes", "myhostname": "client.test"}
    with AgentProcess(directory, **more) as agent:
        results = []
        for some in (cells[n : n + AT_ONCE] for n in range(0, len(cells), AT_ONCE)):
            given = [agent.give(cell.nexthop, agent.delivery()) for cell in some]
            results += [agent.results(number)[0, 0] for number in given]
        lines = agent.log().splitlines()
    told = [[line for line in lines if f" Q{n + 1}: to=" in line] for n in range(len(cells))]
    return {
        key: (result, seen(cell.sink), line)
        for key, cell, result, line in zip(CELLS, cells, results, told, strict=True)
    }


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dane")
    ours, stranger = Authority(directory), Authority(directory, "Somebody Else")
    cells = [Cell(number, defect, ours, stranger) for number, (defect, _) in enumerate(CELLS)]
    for cell in cells:
        cell.sink.__enter__()
    with NameServer(simulated(cells)) as dns:
        more = settings(cells, directory, ours)
        yield deliver(cells, directory, resolver_nameservers=dns.address, **more)
    for cell in cells:
        cell.sink.__exit__()


def status(defect, level):
    """Return the status of a cell that is deferred."""
    if defect.startswith("bogus ") and "TLSA" not in defect:
        return "4.4.3"
    is_refused = level == "dane-only" and defect != "not offered"
    return "4.7.4" if "not offered" in defect and not is_refused else "4.7.5"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_the_cell_is_as_written(outcomes, defect, level):
    result, cell, (line,) = outcomes[defect, level]
    assert cell == TABLE[defect, level], line
    if cell == "d":
        assert (result.outcome, result.status) == (Outcome.DEFERRED, status(defect, level)), line
        return
    assert result.outcome is Outcome.DELIVERED
    told = TOLD.get(defect, level) if level == "dane" else level
    assert f", tls={told if cell == 'T' else 'may:none'}, dsn=" in line


def test_the_table_has_no_empty_cell():
    assert set(TABLE) == set(CELLS)
