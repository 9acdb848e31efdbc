"""header_checks(5): what a table says of a line, and the change that it makes of the lines.

Pure. A verdict that is not known here is a ValueError, for the text may want mail refused.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..core.address import Address
from .address_list import parse_address_list

HEADER, BODY = "header", "body"  # what a line is, for the log and for what may stand in its place
REJECT, DISCARD, HOLD, REDIRECT, BCC = "REJECT", "DISCARD", "HOLD", "REDIRECT", "BCC"
_LOGGED = {
    "REJECT": "reject", "DISCARD": "discard", "HOLD": "hold", "REDIRECT": "redirect", "BCC": "bcc", "WARN": "warning",
    "INFO": "info", "IGNORE": "", "STRIP": "strip", "REPLACE": "replace", "PREPEND": "prepend", "DUNNO": "", "OK": "",
}  # fmt: skip
_NEEDS_TEXT = ("REPLACE", "PREPEND", "REDIRECT", "BCC")
_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}(?: |$)")
_FIELD = re.compile(r"[!-9;-~]+[ \t]*:")
_DEFAULT = "5.7.1 message content rejected"


@dataclass(frozen=True, slots=True)
class Action:
    """One verdict: its word in upper case, and the text after it."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands in the place of some octets of a stream."""

    offset: int
    length: int
    new: bytes


@dataclass(slots=True)
class Checked:
    """What the checks of one message have come to; notes are for the log: (word, kind of line, line, text).

    prepended are fields to put above all others.
    """

    refused: str = ""
    discarded: str = ""
    held: bool = False
    redirect: Address | None = None
    copies: list[Address] = field(default_factory=list)
    notes: list[tuple[str, str, str, str]] = field(default_factory=list)
    prepended: list[bytes] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """True when nothing more can change the end."""
        return bool(self.refused or self.discarded)


@lru_cache(256)  # a table says the same again and again
def parse_action(value: str, is_header: bool) -> Action:
    """Read a verdict; raises ValueError."""
    word, _, text = value.strip().partition(" ")
    action = Action(word.upper(), text.strip())
    if action.word == "FILTER":
        raise ValueError("FILTER is not supported: there are no content filters")
    if action.word not in _LOGGED:
        raise ValueError(f"{word[:40]}: there is no such action; there are {', '.join(_LOGGED)}")
    if action.word in _NEEDS_TEXT and not action.text:
        raise ValueError(f"{action.word} needs a text")
    if action.word in ("REDIRECT", "BCC"):
        _address(action.text)
    if is_header and action.word in ("REPLACE", "PREPEND") and not _FIELD.match(action.text):
        raise ValueError(f"{action.word} {action.text[:40]}: a header field (name: value) is needed")
    return action


def _address(text: str) -> Address:
    found = parse_address_list(text)
    if len(found) != 1 or not found[0].address.domain:
        raise ValueError(f"{text}: an address with its domain is needed")
    return found[0].address


def apply(
    lines: Sequence[bytes], verdicts: Iterable[str | None], kind: str, checked: Checked, wanted: Callable[[bytes], str]
) -> list[list[bytes]]:
    """Return what stands in the place of each line (a header field, or a line of the body, with its end).

    wanted gives the text of a line for the log. Raises ValueError for what is no verdict.
    """
    out: list[list[bytes]] = []
    for line, verdict in zip(lines, verdicts, strict=True):
        if not verdict or checked.refused or checked.discarded:
            out.append([line])
            continue
        action = parse_action(verdict, kind == HEADER)
        take(action, checked)
        if _LOGGED[action.word]:
            checked.notes.append((_LOGGED[action.word], kind, wanted(line), action.text))
        new = action.text.encode("utf-8", "surrogateescape") + b"\n"
        if action.word == "PREPEND":
            out.append([new, line])
        elif action.word == "REPLACE":
            out.append([new])
        else:
            out.append([] if action.word in ("IGNORE", "STRIP") else [line])
    return out


def edited(blocks: Iterable[bytes], edits: Sequence[Edit]) -> Iterator[bytes]:
    """Yield a stream with its edits made; these are in their order, and none overlaps another."""
    start = index = 0
    for block in blocks:
        position, end = start, start + len(block)
        while index < len(edits) and edits[index].offset < end:
            edit = edits[index]
            if edit.offset >= start:
                yield block[position - start : edit.offset - start]
                yield edit.new
            position = min(end, edit.offset + edit.length)
            if position < edit.offset + edit.length:
                break  # what it takes the place of goes on in the next block
            index += 1
        yield block[position - start :]
        start = end


def take(action: Action, checked: Checked) -> None:
    """Note what a verdict means for the whole message."""
    if action.word == REJECT:
        has_status = _STATUS.match(action.text)
        checked.refused = action.text if has_status else f"5.7.1 {action.text}" if action.text else _DEFAULT
    elif action.word == DISCARD:
        checked.discarded = action.text or "discarded by content checks"
    elif action.word == HOLD:
        checked.held = True
    elif action.word == REDIRECT:
        checked.redirect = _address(action.text)
    elif action.word == BCC:
        checked.copies.append(_address(action.text))
