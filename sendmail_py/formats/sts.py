"""MTA-STS as text (RFC 8461): the TXT record of a domain, its policy, and what is kept of both on disk.

Pure. Guarantees: what is not clearly a record or a policy is an error, never a policy with less in it; fields that are
not known are passed over, of those that come twice the first counts.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

ENFORCE: Final = "enforce"
TESTING: Final = "testing"
NONE: Final = "none"
_MODES: Final = (ENFORCE, TESTING, NONE)
MAX_AGE_LIMIT: Final = 31557600  # a year; what is more counts as that
_LEAST_AGE: Final = 60  # seconds that any policy counts, or each message would have it fetched
_REFRESH_AGE: Final = 86400  # what RFC 8461 3.3 suggests
_PAUSE: Final = 300  # after a failure, before the same version is asked for again (the same section)
_REFRESH_PAUSE: Final = 3600  # the same while there is a policy in force

_RECORD: Final = re.compile(r"v=STSv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+)+[ \t]*;?[ \t]*")
_BEGINNING: Final = re.compile(r"v=STSv1[ \t]*;")
_ID: Final = re.compile(r"[ \t]*;[ \t]*id=([^ \t;]*)")
_VERSION_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*(.*?)[ \t]*")
_PATTERN: Final = re.compile(r"(?:\*\.)?(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """What a domain says of its mail exchangers: enforce, testing or none, and patterns of their names."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    def allows(self, host: str) -> bool:
        """Say whether a mail exchanger is one of the policy's; *. stands for exactly one label."""
        name = host.lower().removesuffix(".")
        above = name.partition(".")[2]
        return any(above == mx[2:] if mx[:2] == "*." else name == mx for mx in self.mx)

    def __str__(self) -> str:
        return f"mode {self.mode}, max_age {self.max_age}, mx {' '.join(self.mx) or 'none'}"


def record_id(texts: Iterable[str]) -> str:
    """Return the id of a domain's record, "" without one; raises ValueError for what does not count."""
    records = [text for text in texts if _BEGINNING.match(text)]  # others are not looked at (3.1)
    if not records:
        return ""
    if len(records) > 1:
        raise ValueError(f"there are {len(records)} records, and only one may be")
    found = _ID.search(records[0]) if _RECORD.fullmatch(records[0]) else None
    if not found or not _VERSION_ID.fullmatch(found[1]):
        raise ValueError(f"{records[0][:100]!r} is no record")
    return found[1]


def parse_policy(body: bytes) -> StsPolicy:
    """Read a policy; raises ValueError."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in body.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n"):
        line = line.removesuffix("\r").rstrip(" \t")
        found = _FIELD.fullmatch(line)
        if not found:
            if line:
                raise ValueError(f"{line[:60]!r} is no line of a policy")
        elif found[1] == "mx":
            patterns.append(_pattern(found[2]))
        else:
            fields.setdefault(found[1], found[2])
    version, mode, max_age = (fields.get(name, "") for name in ("version", "mode", "max_age"))
    if version != "STSv1":
        raise ValueError(f"version {version[:30]!r} instead of STSv1")
    if mode not in _MODES:
        raise ValueError(f"mode {mode[:30]!r} instead of one of {', '.join(_MODES)}")
    if not re.fullmatch("[0-9]{1,10}", max_age):
        raise ValueError(f"max_age {max_age[:30]!r} is no number of seconds")
    if not patterns and mode != NONE:
        raise ValueError("no mx")
    return StsPolicy(mode, tuple(patterns), min(int(max_age), MAX_AGE_LIMIT))


def _pattern(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"mx {text[:60]!r} is no name of a host") from None
    if not _PATTERN.fullmatch(name):
        raise ValueError(f"mx {text[:60]!r} is no name of a host")
    return name


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a domain: its policy with the id it had, and the last attempt to have it that failed."""

    domain: str
    id: str = ""
    policy: StsPolicy | None = None
    fetched_at: int = 0
    failed_id: str = ""
    failed_at: int = 0
    trouble: str = ""

    @property
    def ends_at(self) -> int:
        """Return until when the policy counts."""
        return self.fetched_at + max(self.policy.max_age, _LEAST_AGE) if self.policy else 0

    def is_in_force(self, now: float) -> bool:
        """Say whether there is a policy that counts."""
        return now < self.ends_at

    def has_failed(self, version: str, now: float) -> bool:
        """Say whether this version could not be had a moment ago."""
        pause = _REFRESH_PAUSE if version == self.id and self.is_in_force(now) else _PAUSE
        return version == self.failed_id and 0 <= now - self.failed_at < pause

    def is_old(self, now: float) -> bool:
        """Say whether the policy should be fetched anew, though it counts yet."""
        return now - self.fetched_at >= min(_REFRESH_AGE, (self.ends_at - self.fetched_at) / 2)

    def is_useless(self, now: float) -> bool:
        """Say whether nothing of it counts any more."""
        return not self.is_in_force(now) and not 0 <= now - self.failed_at < _REFRESH_AGE


def to_json(kept: Kept) -> str:
    """Return what is known as a file has it."""
    return json.dumps(asdict(kept), indent=1) + "\n"


def from_json(text: str) -> Kept:
    """Read what to_json() wrote; raises ValueError."""
    try:
        row: dict[str, Any] = json.loads(text)
        given = row.pop("policy")
        policy = StsPolicy(str(given["mode"]), tuple(map(str, given["mx"])), int(given["max_age"])) if given else None
        kept = Kept(policy=policy, **row)
        numbers, texts = (kept.fetched_at, kept.failed_at), (kept.domain, kept.id, kept.failed_id, kept.trouble)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a policy that was kept: {error}") from None
    if not all(isinstance(n, int) for n in numbers) or not all(isinstance(t, str) for t in texts):
        raise ValueError("not a policy that was kept")
    return kept
