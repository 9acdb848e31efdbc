"""TLSA records, and what they say of a certificate (RFC 6698, 7671, 7672): which are of use for mail, and which match.

Pure. Usages 0 and 1 are of no use between mail servers (RFC 7672 3.1.3), and neither is what cannot be understood.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

TRUST_ANCHOR: Final = 2  # DANE-TA: a certificate or key above the server's
END_ENTITY: Final = 3  # DANE-EE: the server's own
CERTIFICATE: Final = 0
PUBLIC_KEY: Final = 1
_WHOLE: Final = 0
_DIGESTS: Final = {1: "sha256", 2: "sha512"}  # the stronger the higher


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One record that is of use."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def matches(self, certificate: bytes, key: bytes) -> bool:
        """Say whether it is for a certificate with this public key, both as DER."""
        what = key if self.selector == PUBLIC_KEY else certificate
        return self.data == (what if self.matching == _WHOLE else hashlib.new(_DIGESTS[self.matching], what).digest())

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def usable(records: Iterable[tuple[int, int, int, bytes]]) -> tuple[Tlsa, ...]:
    """Return the records that are of use, in order, of digests only the strongest of each kind (RFC 7671 9)."""
    known = {Tlsa(*record) for record in records if _is_of_use(*record)}
    best: dict[tuple[int, int], int] = {}
    for record in known:
        kind = record.usage, record.selector
        best[kind] = max(best.get(kind, _WHOLE), record.matching)
    return tuple(sorted(r for r in known if r.matching in (_WHOLE, best[r.usage, r.selector])))


def _is_of_use(usage: int, selector: int, matching: int, data: bytes) -> bool:
    if usage not in (TRUST_ANCHOR, END_ENTITY) or selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if matching == _WHOLE:
        return _is_der(data)
    return matching in _DIGESTS and len(data) == hashlib.new(_DIGESTS[matching]).digest_size


def _is_der(data: bytes) -> bool:
    """Say whether octets are one DER sequence, as certificates and keys are."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    if data[1] < 0x80:
        return len(data) == 2 + data[1]
    size = data[1] & 0x7F
    return 0 < size < 5 and len(data) == 2 + size + int.from_bytes(data[2 : 2 + size], "big")
