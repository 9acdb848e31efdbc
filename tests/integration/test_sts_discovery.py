"""Which policy of MTA-STS counts, for each thing that can be wrong with DNS or a policy host, with and without a policy
that is known.

All cells are one event loop as the agent's, with a domain of its own each. N: the policy that the host has now, K: the
one that was known, -: none. "ended" is a known one whose max_age is over.
"""

import asyncio
import os
import time
from itertools import product

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.formats.sts import Kept, StsPolicy
from sendmail_py.host.dns import Resolver
from sendmail_py.host.name_servers import parse_server
from sendmail_py.host.syslog import Log
from sendmail_py.services.sts_policies import StsPolicies
from sendmail_py.spool.sts_store import StsStore, directory_of
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.silent_host import SilentHost

GRID = """
                       nothing  known  ended
same id                N        K      N
another id             N        N      N
no record              -        K      -
record with mistake    -        K      -
two records            -        K      -
DNS is silent          -        K      -
DNS has trouble        -        K      -
no address             -        K      -
nobody listens         -        K      -
black hole             -        K      -
slow                   -        K      -
drips                  -        K      -
redirect               -        K      -
not found              -        K      -
server error           -        K      -
too big                -        K      -
a page of HTML         -        K      -
no content type        -        K      -
wrong content          -        K      -
another name           -        K      -
expired                -        K      -
self-signed            -        K      -
unknown authority      -        K      -
wildcard certificate   N        N      N
alias                  N        N      N
"""
STATES, *ROWS = (line for line in GRID.splitlines() if line)
STATES = STATES.split()
TABLE = {(row[:23].strip(), state): cell for row in ROWS for state, cell in zip(STATES, row[23:].split(), strict=True)}
DEFECTS = list(dict.fromkeys(defect for defect, _ in TABLE))
TEXTS = {  # what the log, and `mailctl tls-probe`, say of it
    "record with mistake": "is no record",
    "two records": "there are 2 records",
    "DNS is silent": "the name servers did not answer in time",
    "DNS has trouble": "SERVFAIL",
    "no address": "Host not found",
    "nobody listens": "Connection refused",
    "black hole": "did not answer within",
    "slow": "did not answer within",
    "drips": "did not answer within",
    "redirect": "answered 301 (no redirect is followed)",
    "not found": "answered 404",
    "server error": "answered 503",
    "too big": "an answer without end",
    "a page of HTML": "answered with text/html; charset=utf-8 instead of text/plain",
    "no content type": "answered with no content type instead of text/plain",
    "wrong content": "mode 'maybe'",
    "another name": "Hostname mismatch",
    "expired": "certificate has expired",
    "self-signed": "self-signed certificate",
    "unknown authority": "unable to get local issuer certificate",
}
NEW, KNOWN = StsPolicy("enforce", ("new.test",), 86400), StsPolicy("enforce", ("known.test",), 86400)
NEVER = {"same id", "no record", "record with mistake", "two records", "DNS is silent", "DNS has trouble"}


def settings(tmp_path, **more):
    """Return a configuration; its directory of policies is there."""
    given = {"data_directory": tmp_path, "smtp_permit_loopback_mx": "yes", "resolver_timeout": "5s", **more}
    config = Config({name: Setting(str(value), "test") for name, value in given.items()})
    os.makedirs(directory_of(config), exist_ok=True)
    return config


def known(config, domain, policy=KNOWN, age=600, version="1", **more):
    """Have a policy known that was fetched some time ago."""
    kept = Kept(domain, version, policy, int(time.time()) - age, **more)
    with StsStore(directory_of(config)).claim(domain, 1) as save:
        save(kept)
    return kept


def finder(config, name_server, log=None):
    """Return what an agent asks; its log goes to a file."""
    path = os.path.join(config.data_directory, "log") if log is None else log
    end = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    resolver = Resolver([parse_server(name_server.address)], config.resolver_timeout)
    return StsPolicies(config, Log.of(config, "smtp", end), resolver)


def domain_of(defect, state):
    return f"d{DEFECTS.index(defect)}-{state}.test"


def page(defect, domain, ours, stranger):
    """Return what the policy host does."""
    body = policy("enforce", "new.test")
    host = f"mta-sts.{domain}"
    return {
        "slow": {"delay": 600, "body": body},
        "drips": {"drip": 0.2, "body": body},
        "redirect": {"status": 301, "location": f"https://{host}/.well-known/mta-sts.txt", "body": body},
        "not found": {"status": 404, "body": body},
        "server error": {"status": 503, "body": body},
        "too big": {"body": body + "x: y\r\n" * 11000},
        "a page of HTML": {"type": "text/html; charset=utf-8", "body": body},
        "no content type": {"type": "", "body": body},
        "wrong content": body.replace("enforce", "maybe"),
        "another name": {"certificate": ours.certificate(domain), "body": body},
        "expired": {"certificate": ours.certificate(host, expired=True), "body": body},
        "self-signed": {"certificate": ours.certificate(host, self_signed=True), "body": body},
        "unknown authority": {"certificate": stranger.certificate(host), "body": body},
        "wildcard certificate": {"certificate": ours.certificate(f"*.{domain}"), "body": body},
    }.get(defect, {"type": "Text/Plain; charset=utf-8; x=y", "body": body})


def zone_of(defect, domain):
    """Return what DNS has of a domain."""
    record = {
        "same id": {"TXT": ['"v=STSv1; id=1"']},
        "record with mistake": {"TXT": ['"v=STSv1; id=no way"']},
        "two records": {"TXT": ['"v=STSv1; id=1"', '"v=STSv1; id=2"']},
        "DNS is silent": {"silent": True},
        "DNS has trouble": {"rcode": "SERVFAIL"},
        "alias": {"CNAME": [f"record.{domain}."]},
    }.get(defect, {"TXT": ['"something else"', '"v=STSv1; " "id=2;"']})
    address = {"nobody listens": "127.0.0.9", "black hole": "127.0.0.7"}.get(defect, "127.0.0.1")
    zone = {f"_mta-sts.{domain}": record, f"mta-sts.{domain}": {"A": [address]}}
    zone[f"record.{domain}"] = {"TXT": ['"v=STSv1; id=2"']}
    if defect == "alias":
        zone |= {f"mta-sts.{domain}": {"CNAME": [f"web.{domain}."]}, f"web.{domain}": {"A": [address]}}
    for missing in {"no record": [f"_mta-sts.{domain}"], "no address": [f"mta-sts.{domain}"]}.get(defect, ()):
        del zone[missing]
    return zone


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Ask for all the cells at once; returns {cell: (answer, times asked, what is kept, log)}."""
    tmp_path = tmp_path_factory.mktemp("sts")
    ours, stranger = Authority(tmp_path), Authority(tmp_path, "Somebody Else")
    domains = {cell: domain_of(*cell) for cell in TABLE}
    pages = {domain: page(cell[0], domain, ours, stranger) for cell, domain in domains.items()}
    zone = {}
    for (defect, _), domain in domains.items():
        zone |= zone_of(defect, domain)
    with PolicyHost(ours, pages) as host, NameServer(zone) as names, SilentHost("127.0.0.7", host.port):
        config = settings(tmp_path, smtp_mta_sts_port=host.port, smtp_mta_sts_timeout="10s", smtp_tls_CAfile=ours.file)
        for (_, state), domain in domains.items():
            if state != "nothing":
                known(config, domain, age=600 if state == "known" else 200000)

        async def ask():
            policies = finder(config, names)
            answers = await asyncio.gather(*(policies.find(domain) for domain in domains.values()))
            # another agent asks once more, at once: what failed is not fetched again
            policies = finder(config, names)
            return answers, await asyncio.gather(*(policies.find(domain) for domain in domains.values()))

        answers, again = asyncio.run(ask())
        log = (tmp_path / "log").read_text()
    store = StsStore(directory_of(config))
    return {
        cell: (answer, second, host.times(domain), store.load(domain), [x for x in log.splitlines() if domain in x])
        for (cell, domain), answer, second in zip(domains.items(), answers, again, strict=True)
    }


@pytest.mark.parametrize("cell", list(product(DEFECTS, STATES)), ids="-".join)
def test_the_cell_is_as_written(outcomes, cell):
    answer, second, times, kept, log = outcomes[cell]
    wanted = {"N": NEW, "K": KNOWN, "-": None}[TABLE[cell]]
    assert answer.policy == second.policy == wanted
    assert times <= 1
    if cell[0] in TEXTS:
        assert TEXTS[cell[0]] in answer.trouble
        assert TEXTS[cell[0]] in "".join(log)
    elif wanted:
        assert not answer.trouble
    if wanted == NEW:
        assert (kept.policy, kept.failed_id) == (NEW, "")
        assert "MTA-STS: policy of" in log[-1]
    elif cell[0] not in NEVER:
        assert (kept.failed_id, kept.policy) == ("2", None if cell[1] == "nothing" else KNOWN)
        end = "the known one counts until" if TABLE[cell] == "K" else "its mail goes without"
        assert [end in line for line in log if "its mail" in line or "known one" in line] == [True]
    else:
        assert times == 0


def test_every_thing_that_is_wrong_has_its_words():
    assert not TEXTS.keys() - set(DEFECTS)
    fine = {"same id", "another id", "no record", "wildcard certificate", "alias"}
    assert set(DEFECTS) - TEXTS.keys() == fine


# --- renewing -------------------------------------------------------------------------------------


DAY = 86400
MONTH = StsPolicy("enforce", ("known.test",), 30 * DAY)


@pytest.fixture
def place(tmp_path):
    """Return what renews: a configuration, DNS and a policy host that has another max_age than what is known."""
    authority = Authority(tmp_path)
    domains = ["old.test", "young.test", "unused.test", "ended.test", "failing.test", "gone.test", "other.test"]
    zone = {f"mta-sts.{domain}": {"A": ["127.0.0.1"]} for domain in domains}
    zone |= {
        f"_mta-sts.{domain}": {"TXT": ['"v=STSv1; id=1"'], "ttl": 0} for domain in domains if domain != "gone.test"
    }
    pages = {domain: policy("enforce", "known.test", max_age=40 * DAY) for domain in domains}
    pages["failing.test"] = {"status": 500}
    with PolicyHost(authority, pages) as host, NameServer(zone) as names:
        yield settings(tmp_path, smtp_mta_sts_port=host.port, smtp_tls_CAfile=authority.file), names, host


def test_policies_that_age_are_renewed_without_mail_for_their_domains(place, monkeypatch):
    monkeypatch.setattr("sendmail_py.services.sts_policies._SWEEP_AFTER", 0.0)
    config, names, host = place
    store = StsStore(directory_of(config))
    ages = {"old.test": 2, "young.test": 0.5, "unused.test": 2, "ended.test": 31, "failing.test": 2, "gone.test": 2}
    for domain, days in ages.items():
        known(config, domain, MONTH, int(days * DAY))
    os.utime(store.path("unused.test"), (1, 1))
    before = {kept.domain: kept for kept in store.all()}

    async def wait():
        policies = finder(config, names)
        await policies.find("other.test")
        async with asyncio.timeout(10):
            while not host.times("failing.test") or store.load("failing.test").failed_at == 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)

    asyncio.run(wait())
    after = {kept.domain: kept for kept in store.all()}
    assert {domain: host.times(domain) for domain in ages} == dict.fromkeys(ages, 0) | {
        "old.test": 1,
        "failing.test": 1,
    }
    assert after["old.test"].policy.max_age == 40 * DAY
    assert after["old.test"].fetched_at >= before["old.test"].fetched_at + DAY
    assert [after[d] == before[d] for d in ("young.test", "unused.test", "gone.test")] == [True] * 3
    assert after["failing.test"].policy == MONTH
    assert "ended.test" not in after
    line = "the policy of failing.test cannot be renewed: mta-sts.failing.test answered 500; the known one counts until"
    with open(f"{config.data_directory}/log", encoding="utf-8") as file:
        assert line in file.read()


def test_a_policy_that_ages_is_used_at_once_and_renewed_beside_the_mail(place):
    config, names, host = place
    known(config, "old.test", MONTH, 2 * DAY)
    host.pages["old.test"] = {"delay": 0.5, "body": host.pages["old.test"]}
    store = StsStore(directory_of(config))

    async def ask():
        policies = finder(config, names)
        answer = await policies.find("old.test")
        before = store.load("old.test").policy
        async with asyncio.timeout(10):
            while store.load("old.test").policy == MONTH:
                await asyncio.sleep(0.02)
        return answer, before

    answer, before = asyncio.run(ask())
    assert answer.policy == before == MONTH, "the mail has waited for the policy host"
    assert host.times("old.test") == 1


def test_who_waits_behind_too_many_slow_policy_hosts_is_told_so(place, monkeypatch):
    monkeypatch.setattr("sendmail_py.services.sts_policies._AT_ONCE", 1)
    config, names, host = place
    short = {"smtp_mta_sts_timeout": "1s", "resolver_timeout": "1s", "smtp_mta_sts_port": host.port}
    config = settings(config.data_directory, smtp_tls_CAfile=config.smtp_tls_CAfile, **short)
    domains = ["old.test", "young.test", "unused.test", "ended.test", "failing.test", "other.test"]
    host.pages |= {domain: {"delay": 600} for domain in domains}

    async def ask():
        policies = finder(config, names)
        return await asyncio.gather(*(policies.find(domain) for domain in domains))

    answers = asyncio.run(ask())
    assert [answer.policy for answer in answers] == [None] * 6
    assert all(answer.trouble for answer in answers)
    assert answers[5].trouble == "the policy of other.test is not there in time"


def test_an_address_and_a_host_of_this_machine_are_not_asked(place):
    config, names, host = place
    closed = settings(config.data_directory, smtp_permit_loopback_mx="no", smtp_mta_sts_port=host.port)

    async def ask():
        policies = finder(closed, names)
        return await policies.find("192.0.2.1"), await policies.find("old.test")

    address, loopback = asyncio.run(ask())
    assert (address.policy, loopback.policy, host.asked) == (None, None, [])
    assert loopback.trouble == "mta-sts.old.test: its address is of this host"


def test_a_defect_of_ours_in_a_fetch_leaves_the_known_policy_and_is_an_error_in_the_log(place, monkeypatch):
    config, names, _ = place
    known(config, "old.test", MONTH, 600, version="0")

    def broken(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("sendmail_py.services.sts_policies.fetch_and_keep", broken)

    async def ask():
        policies = finder(config, names)
        return await policies.find("old.test"), await policies.find("young.test")

    old, young = asyncio.run(ask())
    assert (old.policy, young.policy) == (MONTH, None)
    with open(f"{config.data_directory}/log", encoding="utf-8") as file:
        assert file.read().count("error: MTA-STS: old.test: RuntimeError: a defect") == 1
