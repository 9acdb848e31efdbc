"""What TLS is asked of a server: how much of it, which versions and ciphers, and whose certificate it must be.

Pure. The words are Postfix's (smtp_tls_security_level and its relatives).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from .tlsa import Tlsa

VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_OLDER: Final = ("SSLv2", "SSLv3")  # may be excluded, as they are anyway
_GRADES: Final = {"high": "HIGH", **dict.fromkeys(("medium", "low", "export"), "HIGH:MEDIUM")}  # as in Postfix of today
_NEVER: Final = ("!aNULL", "!eNULL")  # who the other side is, and what it hears, is to mean something
_CIPHERS: Final = re.compile(r"[A-Za-z0-9_+\-]+")
_ATTRIBUTE: Final = re.compile(r"\{\s*([^{}]*?)\s*\}|([^\s{}]+)")
_TLSRPT: Final = {"policy_type", "policy_domain", "policy_ttl", "policy_string"}  # for reports, which are not made
_DIGEST: Final = re.compile(r"(?:[0-9a-f]{2}){16,64}")


class Level(IntEnum):
    """How much TLS: none, where offered, always; and with a certificate known by its digest, or for the right name.

    At dane and dane-only TLSA records say what certificate it has to be; halfdane is what dane comes to where they
    are those of a host that an unsigned MX record names.
    """

    NONE = 0
    MAY = 1
    ENCRYPT = 2
    FINGERPRINT = 3
    HALFDANE = 4
    DANE = 5
    DANE_ONLY = 6
    VERIFY = 7
    SECURE = 8

    @property
    def is_dane(self) -> bool:
        """True where TLSA records are asked for."""
        return self in (Level.HALFDANE, Level.DANE, Level.DANE_ONLY)

    @property
    def word(self) -> str:
        """Return the level as main.cf and the log have it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What one session is to have.

    implicit: TLS begins with the first octet. names: the certificate must be for one of these; one
    that begins with a dot stands for every name below it. At the level fingerprint they are digests instead,
    of the certificate or its public key, by the function `digest`. tlsa are the records one of which the certificate
    has to match; the names are for those of trust anchors alone. versions are those of VERSIONS to allow,
    ciphers is a list in OpenSSL's words for those before TLS 1.3, and servername what is asked for by SNI.
    asked is the level that was asked for where the records of the host have made another one of it.
    """

    level: Level = Level.NONE
    implicit: bool = False
    names: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: str = ""
    servername: str = ""
    digest: str = ""
    tlsa: tuple[Tlsa, ...] = ()
    asked: Level | None = None

    @property
    def word(self) -> str:
        """Return the level that was asked for, as the log has it."""
        return (self.level if self.asked is None else self.asked).word

    @property
    def word_with_tls(self) -> str:
        """Return the same for a session under TLS: also what the level came to."""
        return self.word if self.asked in (None, self.level) else f"{self.word}:{self.level.word}"

    @property
    def trust(self) -> str:
        """Return the log's word for who the other side is, once a session has what the policy asks for."""
        if self.level is Level.HALFDANE:
            return "Trusted"
        return "Verified" if self.level > Level.ENCRYPT else "Untrusted"

    @property
    def is_required(self) -> bool:
        """True when nothing may be said in clear."""
        return self.level >= Level.ENCRYPT

    @property
    def verifies(self) -> bool:
        """True when an authority has to vouch for the certificate, and it has to bear the right name."""
        return self.level >= Level.VERIFY


CLEAR: Final = TlsPolicy()


def parse_level(text: str) -> Level:
    """Read a security level; raises ValueError. Nothing means none."""
    if not text:
        return Level.NONE
    try:
        return _LEVELS[text]
    except KeyError:
        raise ValueError(f"{text}: one of {', '.join(_LEVELS)} expected") from None


_LEVELS: Final = {level.word: level for level in Level if level is not Level.HALFDANE}


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


@dataclass(slots=True)
class Requirement:
    """How much TLS is asked of a destination or one of its hosts, and why; None leaves to main.cf what is not said.

    mx are patterns of the hosts that may get mail, where only some may, and failure is why none may. why names who has
    said so, for people: a parameter, DANE or MTA-STS. trial is more, which is to be asked first: where a host does not
    have it the log says so, and the rest counts.
    """

    level: Level
    match: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None
    grade: str | None = None
    exclude: tuple[str, ...] | None = None
    servername: str | None = None
    mx: tuple[str, ...] = ()
    failure: str = ""
    tlsa: tuple[Tlsa, ...] = ()
    asked: Level | None = None
    why: str = field(default="", compare=False)
    trial: "Requirement | None" = None


def parse_entry(text: str) -> Requirement:
    """Read a level and its attributes, as in "secure match=a.test:.b.test protocols=TLSv1.3"; raises ValueError."""
    word, *attributes = [braced or bare for braced, bare in _ATTRIBUTE.findall(text)] or [""]
    entry = Requirement(parse_level(word))
    if _ATTRIBUTE.sub("", text).strip():
        raise ValueError(f"{text}: a brace that has no other")
    digests: tuple[str, ...] = ()
    for attribute in attributes:
        name, value = (part.strip() for part in attribute.partition("=")[::2])
        if name == "match" and value and entry.level is Level.FINGERPRINT:
            digests += tuple(value.split("|"))
        elif name == "match" and value and not entry.level.is_dane:
            entry.match = (*(entry.match or ()), *filter(None, value.split(":")))
        elif name == "protocols":
            entry.versions = parse_versions(value)
        elif name == "ciphers":
            cipher_list(value)
            entry.grade = value
        elif name == "exclude":
            entry.exclude = tuple(filter(None, value.split(":")))
            cipher_list("medium", entry.exclude)
        elif name == "servername" and value:
            entry.servername = value
        elif name == "mx_host_pattern" and value:
            entry.mx = (*entry.mx, value.lower())
        elif name == "policy_failure":
            entry.failure = value or "unknown"
        elif name in _TLSRPT:
            pass
        else:
            if name == "match" and value:
                raise ValueError(f"{attribute}: at the level {word} TLSA records say what has to match")
            raise ValueError(f"{attribute}: match=, protocols=, ciphers=, exclude= and servername= are known here")
    if digests:
        entry.match = parse_digests(digests)
    return entry


def parse_digests(texts: Iterable[str]) -> tuple[str, ...]:
    """Read fingerprints such as "A1:B2:..." ; raises ValueError."""
    digests = tuple(text.replace(":", "").lower() for text in texts)
    for digest in digests:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest}: a fingerprint in hexadecimal expected, such as B2:C9:...")
    return digests


def cipher_list(grade: str, exclude: Iterable[str] = ()) -> str:
    """Return OpenSSL's list of the ciphers of a grade without some; raises ValueError."""
    if grade not in _GRADES:
        raise ValueError(f"{grade}: medium or high expected")
    for word in exclude:
        if not _CIPHERS.fullmatch(word):
            raise ValueError(f"{word}: the name of ciphers expected, such as aNULL, RC4 or kRSA+AES")
    return ":".join([_GRADES[grade], *(f"!{word}" for word in exclude), *_NEVER, "@STRENGTH"])


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
