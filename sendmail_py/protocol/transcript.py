"""What both sides of an SMTP session said, and whether the postmaster is to hear of it (notify_classes).

Guarantees: it stays small, however long the session is: its beginning and its end are kept. No secret of a login
gets in, and no octet that is not printable. read() takes nothing on trust.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BOUNCE, DATA, POLICY, PROTOCOL, RESOURCE = CLASSES = ("bounce", "data", "policy", "protocol", "resource")

_FIRST, _LAST, _LENGTH = 30, 70, 250
_UNPRINTABLE = re.compile(r"[^ -~]")
_AUTH = re.compile(r"(\s*AUTH\s+\S+\s+)\S.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Notice:
    """What the postmaster is to hear of a session: the class that says so, the subject, the lines."""

    name: str
    subject: str
    lines: list[str]

    def record(self) -> dict[str, Any]:
        """Return what can be sent to the queue manager."""
        return {"class": self.name, "subject": self.subject, "lines": self.lines}


class Transcript:
    """One session as one side saw it. wanted are the classes that the postmaster hears of."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_LAST)
        self._count = 0
        self._found: list[str] = []

    def heard(self, text: str) -> None:
        """Take a line of the other side."""
        self._add("In:  ", text)

    def said(self, text: str) -> None:
        """Take a line of this side."""
        self._add("Out: ", text)

    def note(self, name: str) -> None:
        """Take note of trouble of a class."""
        if name in self._wanted and name not in self._found:
            self._found.append(name)

    def notice(self, subject: str, why: str = "") -> Notice | None:
        """Return what the postmaster is to hear, once; None for nothing."""
        if not self._found:
            return None
        name = self._found[0]
        self._found.clear()
        return Notice(name, subject, list(self._lines(why)))

    def _add(self, side: str, text: str) -> None:
        secret = _AUTH.match(text)
        line = side + _UNPRINTABLE.sub("?", (f"{secret[1]}*" if secret else text)[:_LENGTH])
        self._count += 1
        if len(self._first) < _FIRST:
            self._first.append(line)
        else:
            self._last.append(line)

    def _lines(self, why: str) -> Iterator[str]:
        yield from ("Transcript of session follows.", "")
        yield from (f" {line}" for line in self._first)
        left_out = self._count - len(self._first) - len(self._last)
        if left_out:
            yield f" ... {left_out} lines are left out"
        yield from (f" {line}" for line in self._last)
        if why:
            yield from ("", f"Session aborted, reason: {_UNPRINTABLE.sub('?', why[:_LENGTH])}")
        yield from ("", "For other details, see the mail log.")


def read(record: Any) -> Notice:
    """Return what the record of a process says; raises ValueError, KeyError or TypeError for what is none."""
    name, subject, lines = record["class"], record["subject"], record["lines"]
    if name not in CLASSES or not isinstance(subject, str) or len(lines) > _FIRST + _LAST + 10:
        raise ValueError("a notice that is none")
    return Notice(name, _UNPRINTABLE.sub("?", subject[:_LENGTH]), [_clean(line) for line in lines])


def _clean(line: Any) -> str:
    if not isinstance(line, str):
        raise ValueError("a notice that is none")
    return _UNPRINTABLE.sub("?", line[: 2 * _LENGTH])
