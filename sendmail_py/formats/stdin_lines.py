"""The dot rule of sendmail(1) without -i: a line that is a lone dot ends the message, and `..` at
the beginning of a line means a dot (sendmail 8; Symfony and others stuff their input so).

Works on blocks of any size. Light: imported by sendmail(1).
"""


class DotReader:
    """Feed blocks in, take content out; `ended` tells that the lone dot was seen."""

    def __init__(self) -> None:
        self.ended = False
        self._held = b"\n"  # stands for the beginning of the first line
        self._begun = False

    def feed(self, block: bytes) -> bytes:
        """Return the content that is certain after this block."""
        data = self._held + block
        out: list[bytes] = []
        start = 0
        at = data.find(b"\n.")
        while at >= 0:
            after = data[at + 2 : at + 4]
            if after[:1] == b"\n" or after == b"\r\n":
                self.ended = True
                return self._text(out, data[start : at + 1], b"")
            if after in (b"", b"\r"):
                return self._text(out, data[start:at], data[at:])
            if after[:1] == b".":
                out.append(data[start : at + 1])
                start = at + 2
            at = data.find(b"\n.", at + 2)
        end = len(data) - data.endswith(b"\n")
        return self._text(out, data[start:end], data[end:])

    def finish(self) -> bytes:
        """Return what was held back, at the end of input; a lone dot needs no line end there."""
        if self._held in (b"\n.", b"\n.\r"):
            self.ended = True
            self._held = b"\n"
        return self._text([], self._held, b"")

    def _text(self, parts: "list[bytes]", last: bytes, held: bytes) -> bytes:
        text = b"".join((*parts, last))
        self._held = held
        if not self._begun and text:
            self._begun = True
            return text[1:]
        return text
