"""What a listing shows of a queue file, found in its octets without making an envelope of them.

Guarantees: head() and with_reasons() find what queue_reader's parse() and read_history() find. Whatever is out of the
ordinary (an escape, quotes or UTF-8 in an address, a target, a line out of its order, a fault) head() leaves to
parse(), and with_reasons() asks read_history() about a line.
"""

import re
from collections.abc import Iterable

from ..core.address import Address
from ..core.errors import QueueFileError
from .listing import shown
from .queue_reader import NOT_LISTED, read_history, unescape
from .queue_text import MAGIC

_LONGEST_REASON = 2000
_ATOM = rb"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,256}"
_ADDRESS = rb"%b(?:\.%b){0,12}(?:@[a-zA-Z0-9.:[\]-]{1,256})?" % (_ATOM, _ATOM)
_TO = rb"to: \[([ x-])\] <(%b)>(?: notify=[^ \n]*)?(?: orcpt=[^ \n\\]*)?" % _ADDRESS
_OTHERS = "|".join(sorted(map(re.escape, NOT_LISTED))).encode()
_BEGIN = re.compile(
    rb"%b(?:id: [^\n]*\n)?arrived: ([0-9]{1,15})\.([0-9]{6}) [^\n]*\nsubmitter: [^\n]*\n(?:from: <(%b|)>\n)?%b\n"
    % (re.escape(MAGIC), _ADDRESS, _TO)
)
_END = re.compile(rb"flags: ([^\n]{0,1000})\n(?:(?:%b): [^\n]*\n){0,30}size: ([0-9]{10})\n\n" % _OTHERS)
_EXPIRED = b"[x] expire"
_FLAGS = b"\nflags: "
_MORE = re.compile(rb"^%b$" % _TO, re.MULTILINE)
_DEFERRED = re.compile(
    rb'[^ \n]* <(%b)> deferred [^ \n]* relay=[^ \\\n]* "([^"\n]{0,%d})"' % (_ADDRESS, _LONGEST_REASON)
)


# Of a head: time of arrival, size, sender (None where none is named), addresses that still wait, expiry, its length.
Head = tuple[int, int, str | None, list[bytes], bool, int]


def head(data: bytes) -> Head | None:
    """Read the head that octets begin with; None when that is parse()'s business."""
    begin = _BEGIN.match(data)
    if begin is None:
        return None
    seconds, micros, sender, mark, address = begin.groups()
    start = begin.end()
    at = data.find(_FLAGS, start - 1) + 1
    end = _END.match(data, at)
    if not at or end is None:
        return None
    pending = [address] if mark == b" " else []
    if at > start:
        rows = _MORE.findall(data, start, at)
        if len(rows) != data.count(b"\n", start, at):
            return None
        pending += [address for mark, address in rows if mark == b" "]
    flags, size = end.groups()
    expired = _EXPIRED in flags and _EXPIRED in flags.split(b"  ")
    text = None if sender is None else sender.decode()
    return int(seconds + micros), int(size), text, pending, expired, end.end()


def with_reasons(addresses: list[bytes], history: bytes) -> list[tuple[str, str]]:
    """Return addresses, each with the last reason that history has for its wait, or ""."""
    if not history:
        return [(address.decode(), "") for address in addresses]
    if len(addresses) == 1:  # the last line will mostly do
        end = len(history) - history.endswith(b"\n")
        found = _DEFERRED.fullmatch(history, history.rfind(b"\n", 0, end) + 1, end)
        if found is not None and found[1] == addresses[0] and b"\\" not in found[2]:
            return [(addresses[0].decode(), found[2].decode("utf-8", "surrogateescape"))]
    keys = [_key(address) for address in addresses]
    reasons = _last_reasons(history, keys)
    return [(address.decode(), reasons.get(key, "")) for address, key in zip(addresses, keys, strict=True)]


def _key(address: bytes) -> str:
    """Return what two spellings of one plain address share: Address.key() as one text."""
    local_part, at, domain = address.decode().rpartition("@")
    return local_part + at + domain.lower() if at else domain


def _last_reasons(history: bytes, keys: Iterable[str]) -> dict[str, str]:
    """Return the last reason for each of some addresses; what is older than all of these is not read."""
    reasons: dict[str, str] = {}
    missing = set(keys)
    for line in reversed(history.split(b"\n")):
        if not missing:
            break
        for key, reason in _deferred(line):
            if key in missing:
                reasons[key] = reason
                missing.discard(key)
    return reasons


def _deferred(line: bytes) -> list[tuple[str, str]]:
    """Return the address (as a key) and the reason of a line of history, if that is what it holds."""
    found = _DEFERRED.fullmatch(line)
    if found is None:
        return [
            (str(Address(address.local_part, address.domain.lower())), shown(reason))
            for _, address, outcome, _, _, reason in (read_history(line) if line else ())
            if outcome == "deferred"
        ]
    try:
        return [(_key(found[1]), unescape(found[2].decode("utf-8", "surrogateescape")))]
    except QueueFileError:
        return []
