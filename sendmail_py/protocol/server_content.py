"""Content as a server reads it (RFC 5321 4.5.2): its end is found, its dots are taken back.

Guarantees: in a CRLF session only CRLF.CRLF ends the content; every other dot between line ends
of any kind is data, so no sender can hide a second message in a first one. In an LF session (a
local program that writes text, see smtp_server) LF.LF ends it, and CRLF counts as LF does.
Whatever the blocks, the result is the same; at most two octets are kept back.
"""

_DOT, _LF = b".\n"


class ContentDecoder:
    """Takes octets until the final dot."""

    def __init__(self, lf_session: bool) -> None:
        self._lf_session = lf_session
        self._line_start = True  # the command line's own end stands before the content
        self._true_line_end = True  # what ended the line before ends lines in this session
        self._held = b""
        self._last = b""

    def decode(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the content in data, and what follows the final dot: None while it has not come."""
        data = self._held + data
        self._held = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._line_start:
                skip = self._dots(data, at)
                if skip < 0:
                    self._held = data[at:]
                    break
                if skip > 1:
                    return b"".join(pieces), data[at + skip :]
                at += skip
                self._line_start = False
            end = data.find(b"\n.", at) + 1 or len(data)
            pieces.append(data[at:end])
            if data[end - 1] == _LF:
                self._line_start = True
                before = data[end - 2 : end - 1] if end > 1 else self._last
                self._true_line_end = self._lf_session or before == b"\r"
            at = end
        self._last = data[-1:] or self._last
        return b"".join(pieces), None

    def _dots(self, data: bytes, at: int) -> int:
        """Return how many octets at a line's start are no content: 0, or 1, or a final dot; -1: more must come."""
        if data[at] != _DOT:
            return 0
        beginning = data[at : at + 3]
        if not self._true_line_end:
            # Python's smtplib doubles the dots of a text with bare line feeds, others leave them:
            # two dots are taken for one, a single one stays.
            return -1 if len(beginning) < 2 else int(beginning[1] == _DOT)
        if beginning == b".\r\n":
            return 3
        if self._lf_session and beginning[:2] == b".\n":
            return 2
        return -1 if beginning in (b".", b".\r") else 1
