"""Sessions for fuzzing: those of the hostile table and of the dialogs, cut up, mixed and spoilt."""

import pathlib
import random

from tests.integration.hostile_clients import CASES

_DIALOGS = pathlib.Path(__file__).parent.parent / "protocol" / "dialogs" / "server"
_LONGEST = 20_000
_TOKENS = [
    b"\r\n", b"\n", b"\r", b"\x00", b".", b"\r\n.\r\n", b"BDAT 5\r\n", b"BDAT 0 LAST\r\n", b"BDAT 7 LAST\r\n",
    b"DATA\r\n", b"RSET\r\n", b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<games@here.test>\r\n", b"STARTTLS\r\n",
    b"QUIT\r\n", b"<", b">", b"@", b'"', b"\\", b" ", b"=", b"+", b"\xff", b"\xc3\xa4", b"9" * 30, b"x" * 3000,
    b" SIZE=1", b" ORCPT=rfc822;+41", b"%", b"!", b":",
]  # fmt: skip


def corpus() -> list[bytes]:
    """Return the sessions that others are made of."""
    said = []
    for path in _DIALOGS.glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if line[:2] in ("C:", "P:")]
        said.append(b"".join(line[3:].encode() + (b"" if line[0] == "P" else b"\r\n") for line in lines))
    return said + [case.says for case in CASES if len(case.says) < _LONGEST]


def mutated(chance: random.Random, sessions: list[bytes]) -> bytes:
    """Return a session that nobody has thought of."""
    octets = bytearray(chance.choice(sessions))
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5, 10))):
        at = chance.randrange(len(octets) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            octets[at:at] = chance.choice(_TOKENS)
        elif kind == 1:
            del octets[at : at + chance.choice((1, 2, 10, 100))]
        elif kind == 2:
            octets[at : at + 1] = bytes((chance.randrange(256),))
        elif kind == 3:
            other = chance.choice(sessions)
            octets[at:] = other[chance.randrange(len(other) + 1) :]
        elif kind == 4:
            octets[at:at] = octets[at : at + chance.randrange(200)] * chance.choice((1, 2, 20))
        else:
            octets[at : at + 2] = chance.choice(_TOKENS)
    return bytes(octets[:_LONGEST])


def cut(chance: random.Random, octets: bytes) -> list[bytes]:
    """Cut octets into blocks."""
    places = sorted(chance.randrange(len(octets) + 1) for _ in range(chance.choice((0, 1, 5, 30))))
    return [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]
