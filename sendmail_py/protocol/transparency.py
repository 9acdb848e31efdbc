"""Content for the wire (RFC 5321 4.5.2): CRLF line ends, doubled dots, no line too long.

Guarantees, whatever the content and however it is cut into blocks: no CR without LF and no LF
without CR goes out, only the final dot is a line of one dot, and the last line has its end.
In chunks (BDAT) there is no final dot, and none is doubled.
CRs directly before a line end are dropped, any other CR becomes a space. A line over the
limit is folded by CRLF and a space. In the header the fold takes the place before a blank, where
there is one: then the field is the same when it is unfolded. Without one it stays one field.
"""

import re

_CRS_AT_LINE_END = re.compile(rb"(?<!\r)\r+\n")
FINAL_DOT = b".\r\n"


class ContentEncoder:
    """Turns blocks of content into what is sent; keeps at most one line's length of it.

    line_length_limit is in octets without the line end and without a doubled dot; 0 is no limit.
    Content that goes in chunks (RFC 3030) is not ended by a dot, so its dots need no doubling.
    """

    def __init__(self, line_length_limit: int, in_chunks: bool = False) -> None:
        self._limit = line_length_limit
        self._in_chunks = in_chunks
        self._crs = 0  # CRs at the end of the last block: before a line end, or not?
        self._rest = b""  # the begun line, as far as it is not sent
        self._open = False  # a part of the begun line is sent
        self._in_header = True

    def encode(self, block: bytes) -> bytes:
        """Return what can be sent after this block."""
        text = self._rest + self._without_crs(block)
        cut = text.rfind(b"\n") + 1
        lines, rest = text[:cut], text[cut:]
        out = self._whole_lines(lines) if lines else b""
        if not self._limit:
            return out + self._begin_line(rest)
        pieces, self._rest = _fold_begun(rest, self._limit, self._open, self._in_header)
        return out + self._begin_line(pieces)

    def end(self) -> bytes:
        """Return the end of the last line; the final dot is the caller's."""
        self._crs = 0
        rest, self._rest = self._rest, b""
        return self._whole_lines(rest + b"\n") if rest or self._open else b""

    def _without_crs(self, block: bytes) -> bytes:
        text = block
        if self._crs or block[-1:] == b"\r":
            text = block.lstrip(b"\r")
            crs = self._crs + len(block) - len(text)
            if not text:
                self._crs = crs
                return b""
            if text[:1] != b"\n":
                text = b" " * crs + text
            stripped = text.rstrip(b"\r")
            self._crs = len(text) - len(stripped)
            text = stripped
        if b"\r" in text:
            text = _CRS_AT_LINE_END.sub(b"\n", text).replace(b"\r", b" ")
        return text

    def _begin_line(self, text: bytes) -> bytes:
        if not text:
            return b""
        is_stuffed = not self._open and text[:1] == b"." and not self._in_chunks
        self._open = True
        return (b"." + text if is_stuffed else text).replace(b"\n", b"\r\n")

    def _whole_lines(self, text: bytes) -> bytes:
        """Encode text that ends with a line end; it may begin inside the begun line."""
        if self._limit:
            text = self._folded(text)
        begins_line, self._open = not self._open, False
        if not self._in_chunks:
            if begins_line and text[:1] == b".":
                text = b"." + text
            if b"\n." in text:
                text = text.replace(b"\n.", b"\n..")
        return text.replace(b"\n", b"\r\n")

    def _folded(self, text: bytes) -> bytes:
        """Fold the lines over the limit; the empty line that ends the header is noticed here."""
        limit, inside = self._limit, self._open
        if not self._in_header:
            return _fold_lines(text, limit, inside, False)
        end = self._header_end(text)
        if end < 0:
            return _fold_lines(text, limit, inside, True)
        self._in_header = False
        header = _fold_lines(text[:end], limit, inside, True) if end else b""
        return header + _fold_lines(text[end:], limit, False, False)

    def _header_end(self, text: bytes) -> int:
        """Return where the empty line after the header begins, -1 where it does not begin here."""
        if not self._open and text[:1] == b"\n":
            return 0
        at = text.find(b"\n\n")
        return at + 1 if at >= 0 else -1


def _fold_lines(text: bytes, limit: int, inside: bool, at_blanks: bool) -> bytes:
    """Fold the lines over the limit; the search takes one step for each `limit` octets."""
    if inside:
        end = text.index(b"\n")
        folded, last = _fold_begun(text[:end], limit, inside, at_blanks)
        return folded + last + _fold_lines(text[end:], limit, False, at_blanks)
    out = []
    start = at = 0
    while len(text) - at > limit:
        line_end = text.rfind(b"\n", at, at + limit + 1)
        if line_end < 0:
            line_end = text.index(b"\n", at)
            folded, last = _fold_begun(text[at:line_end], limit, False, at_blanks)
            out += [text[start:at], folded, last]
            start = line_end
        at = line_end + 1
    if not out:
        return text
    out.append(text[start:])
    return b"".join(out)


def _fold_begun(line: bytes, limit: int, inside: bool, at_blanks: bool) -> tuple[bytes, bytes]:
    """Return the pieces of a line that are full, each with its fold, and what remains."""
    pieces = []
    at = 0
    width = max(1, limit - 1) if inside else limit
    while len(line) - at > width:
        cut = _last_blank(line, at, at + width) if at_blanks else 0
        if cut:
            pieces += [line[at:cut], b"\n"]
        else:
            cut = _character_start(line, at + width, at)
            pieces += [line[at:cut], b"\n "]
        at = cut
        width = max(1, limit - 1)
    return b"".join(pieces), line[at:]


def _last_blank(line: bytes, at: int, end: int) -> int:
    """Return where a fold keeps most of line[at:end]: before its last blanks; 0 where none are fit for it.

    Not those after the field's name: some readers take what is left for an empty field.
    """
    kept = line[at : max(line.rfind(b" ", at, end + 1), line.rfind(b"\t", at, end + 1), at)].rstrip(b" \t")
    return at + len(kept) if kept and kept[-1:] != b":" else 0


def _character_start(line: bytes, cut: int, at: int) -> int:
    """Move a cut back to the start of a UTF-8 character, when there is one within reach."""
    for place in range(cut, max(at, cut - 4), -1):
        if line[place] & 0xC0 != 0x80:
            return place
    return cut
