"""Each level of TLS against each defect of a server, as one table.

All cells are one agent, each with a server of its own, whose level smtp_tls_policy_maps has. T: sent under TLS,
C: sent in clear, d: deferred, and nothing of the message said in clear. The servers are addresses: no
TLSA records are theirs, so dane is may. What it is with records: test_dane_levels.py.
"""

import hashlib
import ssl
from itertools import product

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import AgentProcess
from tests.servers.certificates import Authority
from tests.servers.secure_sink import SecureSink

GRID = """
                    none  may   encrypt  fingerprint  dane  dane-only  verify  secure
fine                C     T     T        T            T     d          T       T
expired             C     T     T        T            T     d          d       d
wrong name          C     T     T        T            T     d          d       d
self-signed         C     T     T        T            T     d          d       d
unknown authority   C     T     T        T            T     d          d       d
another key         C     T     T        d            T     d          T       T
not offered         C     C     d        d            C     d          d       d
refused             C     C     d        d            C     d          d       d
injection           C     d     d        d            d     d          d       d
broken handshake    C     C     d        d            C     d          d       d
old version         C     C     d        d            C     d          d       d
weak cipher         C     C     d        d            C     d          d       d
"""
LEVELS, *ROWS = (line for line in GRID.splitlines() if line)
LEVELS = LEVELS.split()
TABLE = {(row[:20].strip(), level): cell for row in ROWS for level, cell in zip(LEVELS, row[20:].split(), strict=True)}
DEFECTS = {
    "fine": {},
    "expired": {"expired": True},
    "wrong name": {},
    "self-signed": {"self_signed": True},
    "unknown authority": {},
    "another key": {},
    "not offered": {"starttls": False},
    "refused": {"replies": {"STARTTLS": "454 4.7.0 TLS not available"}},
    "injection": {"replies": {"STARTTLS": "220 go PLUS 250 injected\\r\\n"}},
    "broken handshake": {"replies": {"STARTTLS": ["220 go DROP"]}},
    "old version": {},
    "weak cipher": {},
}
CELLS = list(product(DEFECTS, LEVELS))
STATUS = {"not offered": "4.7.4", "refused": "4.7.4", "injection": "4.5.0"}


def server(defect, ours, stranger):
    """Return a server with a defect, and the path of its certificate."""
    how = dict(DEFECTS[defect])
    authority = stranger if defect == "unknown authority" else ours
    of = {name: how.pop(name) for name in ("expired", "self_signed") if name in how}
    path = authority.certificate("other.test" if defect == "wrong name" else "127.0.0.1", **of)
    sink = SecureSink(path, **how)
    if defect == "old version":
        sink.context.maximum_version = ssl.TLSVersion.TLSv1_2
    if defect == "weak cipher":
        sink.context.maximum_version = ssl.TLSVersion.TLSv1_2
        sink.context.set_ciphers("ECDHE+AESGCM")
    return sink, path


def policy(defect, level, path):
    """Return what the map says of a server."""
    words = [level]
    if level == "fingerprint":
        with open(path, encoding="ascii") as file:
            pem = file.read()
        certificate = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])
        digest = hashlib.sha256(certificate).digest()
        words.append(f"match={(digest[::-1] if defect == 'another key' else digest).hex(':').upper()}")
    if defect == "old version":
        words.append("protocols=TLSv1.3")
    if defect == "weak cipher":
        words.append("exclude=AESGCM")
    return " ".join(words)


def seen(sink):
    """Return the letter for what a server has seen."""
    secure = {secure for verb, secure, _ in sink.seen_as if verb not in ("QUIT", "RSET")}
    if not sink.messages:
        return "?" if False in secure else "d"
    (is_secure,) = secure
    return ("T" if is_secure else "C") * len(sink.messages)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Send to all the servers at once; returns {cell: (result, server, log line)}."""
    directory = tmp_path_factory.mktemp("levels")
    ours, stranger = Authority(directory), Authority(directory, "Somebody Else")
    sinks, lines = {}, []
    for cell in CELLS:
        sinks[cell], path = server(cell[0], ours, stranger)
        lines.append(f"[127.0.0.1]:{sinks[cell].port} {policy(*cell, path)}\n")
    (directory / "policies").write_text("".join(lines))
    for sink in sinks.values():
        sink.__enter__()
    settings = {"smtp_log_tls_feature_status": "yes", "smtp_tls_CAfile": ours.file}
    settings |= {"smtp_tls_policy_maps": f"texthash:{directory}/policies"}
    with AgentProcess(directory, myhostname="client.test", smtp_permit_loopback_mx="yes", **settings) as agent:
        given = {cell: agent.give(f"[127.0.0.1]:{sinks[cell].port}", agent.delivery()) for cell in CELLS}
        results = {cell: agent.results(number)[0, 0] for cell, number in given.items()}
        log = agent.log()
    for sink in sinks.values():
        sink.__exit__()
    return {
        cell: (results[cell], sinks[cell], [line for line in log.splitlines() if f" Q{n + 1}: to=" in line])
        for n, cell in enumerate(CELLS)
    }


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_the_cell_is_as_written(outcomes, defect, level):
    result, sink, (line,) = outcomes[defect, level]
    cell = seen(sink)
    if cell == "d":
        expected = "4.7.5" if level == "dane-only" else STATUS.get(defect, "4.7.5")
        assert (result.outcome, result.status) == (Outcome.DEFERRED, expected)
    else:
        assert result.outcome is Outcome.DELIVERED
    assert cell == TABLE[defect, level]
    level = "may" if level == "dane" else level
    told = {"T": level, "C": level if level == "none" else f"{level}:none", "d": f"{level}?"}[cell]
    is_told = f", tls={told}, dsn={result.status}, status=" in line
    assert is_told or (level == "dane-only" and "DANE is required, but not possible with host 127.0.0.1: " in line)
