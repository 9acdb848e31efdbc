"""Content as a server reads it (RFC 5321 4.5.2): its end is found, its dots are taken back.

Guarantees: in a CRLF session only CRLF.CRLF ends the content; every other dot between line ends
of any kind is data, so no sender can hide a second message in a first one. In an LF session (a
local program that writes text, see smtp_server) LF.LF ends it, and CRLF counts as LF does.
Whatever the blocks, the result is the same; at most two octets are kept back.
"""

_CRLF = b"\r\n."
_LF = b"\n."


class ContentDecoder:
    """Takes octets until the final dot."""

    def __init__(self, lf_session: bool) -> None:
        self._lf = lf_session
        self._line_start = True  # the command line's own end stands before the content
        self._held = b""

    def decode(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the content in data, and what follows the final dot: None while it has not come."""
        data = self._held + data
        self._held = b""
        marker = _LF if self._lf else _CRLF
        pieces: list[bytes] = []
        at = 0
        while True:
            if self._line_start and at < len(data):
                end = self._final_dot(data, at)
                if end < 0:
                    self._held = data[at:]
                    break
                if end:
                    return b"".join(pieces), data[end:]
                at += data[at] == 0x2E
                self._line_start = False
            place = data.find(marker, at)
            if place < 0:
                pieces.append(self._unfinished(data[at:]))
                break
            pieces.append(data[at : place + len(marker) - 1])
            at = place + len(marker) - 1
            self._line_start = True
        return b"".join(pieces), None

    def _final_dot(self, data: bytes, at: int) -> int:
        """Return where the line of a final dot at this place ends; 0: it is none; -1: more must come."""
        beginning = data[at : at + 3]
        if beginning == b".\r\n":
            return at + 3
        if self._lf and beginning[:2] == b".\n":
            return at + 2
        return -1 if beginning in (b".", b".\r") else 0

    def _unfinished(self, text: bytes) -> bytes:
        """Return what of the last octets can go on; a CR that may begin a line end is kept back."""
        if text.endswith(b"\n" if self._lf else b"\r\n"):
            self._line_start = True
        elif text.endswith(b"\r") and not self._lf:
            self._held = b"\r"
            return text[:-1]
        return text
