"""SMTP replies (RFC 5321 4.2), read from a server that may be hostile.

Guarantees: a reply's text holds no control character, at most REPLY_TEXT_LIMIT characters,
and no server can make us keep more than LINE_LIMIT octets a line (QUESTION_LIMIT where it asks
something in a login, RFC 4954 4) and LINES_LIMIT lines.
"""

import re
from dataclasses import dataclass

LINE_LIMIT = 512
QUESTION_LIMIT = 12288
LINES_LIMIT = 50
_ENDLESS_LINE = 1 << 16
REPLY_TEXT_LIMIT = 500
_TEXT_LIMIT_NOT_ASCII = 200  # such characters take six octets in a record

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?= |$)")


class RemoteProtocolError(Exception):
    """The server said what no SMTP server says; the session cannot go on."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its code, and the text of each line after the code."""

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034) of the last line, or ""."""
        found = _STATUS.match(self.lines[-1])
        return found.group(1) if found else ""

    @property
    def text(self) -> str:
        """The reply on one line, with its code, for reasons and diagnostics."""
        text = f"{self.code} {' '.join(self.lines)}".rstrip()
        return text[: REPLY_TEXT_LIMIT if text.isascii() else _TEXT_LIMIT_NOT_ASCII]


def softened(answer: Reply) -> Reply:
    """Return a refusal for good as one that may pass (soft_bounce); any other answer stays."""
    if answer.code // 100 != 5:
        return answer
    return Reply(answer.code - 100, tuple("4" + line[1:] if line[:2] == "5." else line for line in answer.lines))


class ReplyReader:
    """Collects octets into replies."""

    def __init__(self) -> None:
        self._line = b""
        self._dropped = 0
        self._lines: list[str] = []

    @property
    def is_empty(self) -> bool:
        """True between two replies."""
        return not self._line and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that data completes; raises RemoteProtocolError."""
        first, *others = data.split(b"\n")
        self._keep(first)
        replies = []
        for part in others:
            line, self._line, self._dropped = self._line, b"", 0
            reply = self._end_line(line)
            if reply:
                replies.append(reply)
            if part:
                self._keep(part)
        return replies

    def _keep(self, part: bytes) -> None:
        is_question = not self._lines and (self._line + part[:4])[:4] == b"334 "
        room = (QUESTION_LIMIT if is_question else LINE_LIMIT) - len(self._line)
        self._line += part[:room]
        self._dropped += max(0, len(part) - room)
        if self._dropped > _ENDLESS_LINE:
            raise RemoteProtocolError("a reply line without end")

    def _end_line(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line.rstrip(b"\r"))
        if not found:
            raise RemoteProtocolError(f"not an SMTP reply: {clean(line[:80])}")
        code, separator, text = found.groups()
        self._lines.append(clean(text or b""))
        if len(self._lines) > LINES_LIMIT:
            raise RemoteProtocolError(f"a reply of more than {LINES_LIMIT} lines")
        if separator == b"-":
            return None
        lines, self._lines = self._lines, []
        return Reply(int(code), tuple(lines))


def clean(octets: bytes) -> str:
    """Decode a server's text without its control characters."""
    text = octets.decode("utf-8", "replace").strip()
    if text.isprintable():
        return text
    return "".join(c for c in text.replace("\t", " ") if c.isprintable())
