"""Dovecot's authentication protocol, the client's side, without its socket.

Lines of fields between tabs. The server tells its version and mechanisms up to DONE; then each login
has a number: AUTH and CONT go, CONT, OK and FAIL come. Guarantees: no value can begin another field or
line; what is no line of the protocol is a DovecotError.
"""

from dataclasses import dataclass, field

MAJOR, MINOR = 1, 2
_FLAGS = {  # what rules a mechanism out, and what it must have
    "noplaintext": ("plaintext", True),
    "noanonymous": ("anonymous", True),
    "nodictionary": ("dictionary", True),
    "noactive": ("active", True),
    "mutual_auth": ("mutual-auth", False),
    "forward_secrecy": ("forward-secrecy", False),
}


class DovecotError(Exception):
    """The server says what this protocol does not know."""


@dataclass(slots=True)
class Greeting:
    """What the server has told so far: its mechanisms with their properties."""

    mechanisms: dict[str, frozenset[str]] = field(default_factory=dict)
    is_done: bool = False
    _is_ours: bool = False

    def take(self, line: str) -> None:
        """Take a line of the greeting; raises DovecotError."""
        word, *values = line.split("\t")
        if word == "VERSION":
            self._is_ours = values[:1] == [str(MAJOR)]
        elif word == "MECH" and values:
            self.mechanisms[values[0].upper()] = frozenset(values[1:])
        elif word == "DONE":
            self.is_done = True
        if self.is_done and not self._is_ours:
            raise DovecotError("a version of the protocol that is not known here")

    def allowed(self, options: list[str]) -> list[str]:
        """Return the mechanisms that the security options leave."""
        rules = [_FLAGS[option] for option in options]
        return [
            name
            for name, flags in self.mechanisms.items()
            if "private" not in flags and all((flag in flags) != is_forbidden for flag, is_forbidden in rules)
        ]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says of a login. kind: CONT, OK or FAIL."""

    kind: str
    number: int
    data: str = ""  # base64
    user: str = ""
    is_temporary: bool = False


def hello(pid: int) -> bytes:
    """Return what the client says first."""
    return f"VERSION\t{MAJOR}\t{MINOR}\nCPID\t{pid}\n".encode()


def auth(number: int, mechanism: str, parameters: dict[str, str], response: str | None) -> bytes:
    """Return the beginning of a login; response is base64, None where the client has none yet."""
    words = [f"{name}={value}" if value else name for name, value in parameters.items()]
    last = [] if response is None else [f"resp={response}"]  # the protocol wants it there
    return _line("AUTH", str(number), mechanism, *words, *last)


def goes_on(number: int, response: str) -> bytes:
    """Return a further response; base64."""
    return _line("CONT", str(number), response)


def cancel(number: int) -> bytes:
    """Return the end of a login that the client has given up."""
    return _line("CANCEL", str(number))


def _line(*fields: str) -> bytes:
    return ("\t".join(fields) + "\n").encode() if all(map(_is_plain, fields)) else _raise()


def _is_plain(text: str) -> bool:
    return not any(c in text for c in "\t\n\r\0\x01")


def _raise() -> bytes:
    raise DovecotError("a value that cannot be said in this protocol")


def read(line: str) -> Answer | None:
    """Return what a line says, None for one that is of no interest; raises DovecotError."""
    word, *values = line.split("\t")
    if word not in ("CONT", "OK", "FAIL"):
        return None
    if not values or not (values[0].isascii() and values[0].isdigit()):
        raise DovecotError("an answer to no question")
    number = int(values[0])
    if word == "CONT":
        return Answer(word, number, values[1] if len(values) > 1 else "")
    fields = dict(value.partition("=")[::2] for value in map(_unescaped, values[1:]))
    is_temporary = "temp" in fields or fields.get("code") == "temp_fail"  # of Dovecot 2.2; of 2.3 and later
    return Answer(word, number, fields.get("resp", ""), fields.get("user", ""), is_temporary)


def _unescaped(text: str) -> str:
    """Undo Dovecot's escapes: \\001 and then 0, 1, t, r or n."""
    if "\x01" not in text:
        return text
    first, *rest = text.split("\x01")
    return first + "".join(
        {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}.get(p[:1], "") + p[1:] for p in rest
    )
