"""What TLS is asked of a server: how much of it, which versions, and whom its certificate must name.

Pure. The words are Postfix's (smtp_tls_security_level and its relatives), without those levels that
need fingerprints or DNSSEC: to ask for these is an error, never a weaker level.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_OLDER: Final = ("SSLv2", "SSLv3")  # may be excluded, as they are anyway


class Level(IntEnum):
    """How much TLS: none, where offered, always, always with the host's name, always with the destination's name."""

    NONE = 0
    MAY = 1
    ENCRYPT = 2
    VERIFY = 3
    SECURE = 4


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What one session is to have.

    implicit: TLS begins with the first octet. names: the certificate must be for one of these; one
    that begins with a dot stands for every name below it. versions are those of VERSIONS to allow.
    """

    level: Level = Level.NONE
    implicit: bool = False
    names: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")

    @property
    def is_required(self) -> bool:
        """True when nothing may be said in clear."""
        return self.level >= Level.ENCRYPT

    @property
    def verifies(self) -> bool:
        """True when the certificate has to be trusted and to bear the right name."""
        return self.level >= Level.VERIFY


CLEAR: Final = TlsPolicy()


def parse_level(text: str) -> Level:
    """Read a security level; raises ValueError. Nothing means none."""
    if text in ("fingerprint", "dane", "dane-only"):
        raise ValueError(f"{text} is not supported; one of {_LEVELS} expected")
    try:
        return Level[text.upper()] if text == text.lower() else Level[""]
    except KeyError:
        if not text:
            return Level.NONE
        raise ValueError(f"{text}: one of {_LEVELS} expected") from None


_LEVELS: Final = ", ".join(level.name.lower() for level in Level)


def parse_versions(text: str) -> tuple[str, ...]:
    """Read a list such as ">=TLSv1.2" or "!TLSv1 !TLSv1.1"; raises ValueError, also where no version is left."""
    allowed, named = set(VERSIONS), set()
    for word in text.replace(",", " ").replace(":", " ").split():
        mark = next((m for m in (">=", "<=", "!") if word.startswith(m)), "")
        name = word[len(mark) :]
        known = next((v for v in (*_OLDER, *VERSIONS) if v.lower() == name.lower()), "")
        if not known:
            raise ValueError(f"{word}: one of {', '.join(VERSIONS)} expected, alone or after !, >= or <=")
        place = VERSIONS.index(known) if known in VERSIONS else -1
        if mark == ">=":
            allowed -= set(VERSIONS[: max(place, 0)])
        elif mark == "<=":
            allowed -= set(VERSIONS[place + 1 :])
        elif mark == "!":
            allowed.discard(known)
        else:
            named.add(known)
    left = tuple(v for v in VERSIONS if v in allowed and (not named or v in named))
    if not left:
        raise ValueError(f"{text}: no version of TLS is left")
    return left


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """What smtp_tls_policy_maps says of a destination; None leaves to main.cf what it does not say."""

    level: Level
    match: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None


def parse_entry(text: str) -> PolicyEntry:
    """Read a level and its attributes, as in "secure match=a.test:.b.test protocols=TLSv1.3"; raises ValueError."""
    word, *attributes = text.split() or [""]
    match = versions = None
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name == "match" and value:
            match = tuple(filter(None, value.split(":")))
        elif name == "protocols":
            versions = parse_versions(value)
        else:
            raise ValueError(f"{attribute}: match= and protocols= are known here")
    return PolicyEntry(parse_level(word), match, versions)


def policy_keys(nexthop: str) -> list[str]:
    """Return what a policy for a destination may stand under: the nexthop, and .parent for the parents of a domain."""
    labels = nexthop.lower().split(".") if nexthop[:1] != "[" and ":" not in nexthop else []
    return [nexthop.lower(), *(f".{'.'.join(labels[n:])}" for n in range(1, len(labels)))]


def wanted_names(match: Iterable[str], host: str, nexthop: str) -> tuple[str, ...]:
    """Return the names that a certificate may bear, for the words of smtp_tls_secure_cert_match; others are names."""
    words = {"hostname": host, "nexthop": nexthop, "dot-nexthop": f".{nexthop}"}
    return tuple(_plain(words.get(word, word)) for word in match)


def is_named(certificate: Iterable[str], wanted: Iterable[str]) -> bool:
    """Say whether one of a certificate's names (DNS or IP) is one of those wanted."""
    names = [_plain(name) for name in certificate]
    return any(_fits(name, want) for want in wanted for name in names)


def _fits(name: str, want: str) -> bool:
    """Compare a certificate's name with a wanted one; a star there stands for exactly one label, the first."""
    if _is_address(want) or _is_address(name):
        return _is_address(want) and _is_address(name) and ipaddress.ip_address(name) == ipaddress.ip_address(want)
    star, _, above = name.partition(".")
    is_wild = star == "*" and "." in above
    if "*" in name and not is_wild:
        return False
    if want.startswith("."):
        return name.endswith(want) and len(name) > len(want)
    return want.partition(".")[2] == above and want[:1] not in ("", ".") if is_wild else name == want


def _plain(name: str) -> str:
    name = name.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            pass  # then no certificate has it
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
