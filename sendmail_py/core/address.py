"""Address: a forward-path or reverse-path, split into its two halves.

Guarantees: an Address never holds NUL, CR or LF, so it can be written into a queue file,
an SMTP command or a log line without ending that line. Light: imported by sendmail(1).
"""

# RFC 5321 atext plus the dot; anything above ASCII is allowed by RFC 6531.
_ATOM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."
FORBIDDEN = frozenset("\0\r\n")


class Address:
    """A mail address; ("", "") is the null reverse-path.

    local_part holds the meaning, without the quotes that the wire may need; text that is not
    valid UTF-8 is kept by surrogate escapes. Raises ValueError for NUL, CR or LF.
    """

    __slots__ = ("domain", "local_part")

    def __init__(self, local_part: str, domain: str = "") -> None:
        if not FORBIDDEN.isdisjoint(local_part) or not FORBIDDEN.isdisjoint(domain):
            raise ValueError("line break or NUL in an address")
        self.local_part = local_part
        self.domain = domain

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read the form that str() writes, without angle brackets (RFC 5321 Mailbox)."""
        end = _closing_quote(text) if text[:1] == '"' else 0
        rest = text[end + 1 :]
        if end and rest[:1] in ("", "@") and "@" not in rest[1:]:  # an @ within the quotes parts nothing
            return cls(_unquote(text[1:end]), rest[1:])
        local_part, at, domain = text.rpartition("@")
        return cls(local_part, domain) if at else cls(text)

    def __str__(self) -> str:
        local_part = self.local_part
        if not local_part and not self.domain:
            return ""
        if needs_quotes(local_part):
            local_part = '"' + local_part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local_part}@{self.domain}" if self.domain else local_part

    def __repr__(self) -> str:
        return f"Address({self.local_part!r}, {self.domain!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __bool__(self) -> bool:
        return bool(self.local_part or self.domain)

    def key(self) -> tuple[str, str]:
        """Return what two spellings of one address share: the domain ignores case."""
        return self.local_part, self.domain.lower()

    @property
    def is_ascii(self) -> bool:
        """True when the address can travel without SMTPUTF8 (RFC 6531)."""
        return self.local_part.isascii() and self.domain.isascii()


def needs_quotes(local_part: str) -> bool:
    """Say whether a local part is no dot-atom (RFC 5321 4.1.2)."""
    if not local_part or local_part[0] == "." or local_part[-1] == "." or ".." in local_part:
        return True
    return any(c not in _ATOM and c < "\x80" for c in local_part.strip(_ATOM))


def _closing_quote(text: str) -> int:
    """Return where the quote that opens the text is closed; 0 when none closes it."""
    at = 1
    while at < len(text):
        if text[at] == '"':
            return at
        at += 2 if text[at] == "\\" else 1
    return 0


def _unquote(text: str) -> str:
    out = []
    skip = False
    for c in text:
        if c == "\\" and not skip:
            skip = True
            continue
        out.append(c)
        skip = False
    return "".join(out)


NULL_SENDER = Address("", "")
