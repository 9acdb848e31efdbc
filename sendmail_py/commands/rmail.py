"""rmail: mail that comes by UUCP. The From_ lines at the top tell the way it came, and thereby its sender.

    From joe Mon Nov 23 12:00:00 2026 remote from hosta
    >From jane Mon Nov 23 11:00:00 2026 remote from hostb

means hosta!hostb!jane: the hosts from the outermost line inward, and the last line's user. What
follows is submitted like any other mail, a lone dot in it being text; whose mail it is follows
from who runs the program, as always. Called as sendmail(1) calls its modes.
"""

import os

from ..core.errors import MessageError, SpoolError, UsageError
from .sendmail import submit
from .sendmail_options import Options

_BLOCK = 65536
_LINE_LIMIT = 2047
_REMOTE = b"remote from "


def run(directory: str, options: Options) -> None:
    """Submit what stands on standard input to the users in the arguments; raises MailError."""
    if not options.recipients:
        raise UsageError("usage: rmail [-D domain] [-T] user ...")
    for word in options.recipients:
        if word.startswith("-"):
            raise UsageError(f"a recipient that begins with a dash: {word}")
    way, user, begun = _read_from_lines()
    options.sender = (way + user).decode("utf-8", "surrogateescape") if user else ""
    options.recipients = [_one_address(word) for word in options.recipients]
    options.ignore_dots = True
    options.extract = False
    submit(options, directory, begun)


def _one_address(word: str) -> str:
    """Bracket what holds a comma, a route such as @gw1,@gw2:joe@example.org: it is one address here."""
    return f"<{word}>" if "," in word and "<" not in word else word


def _read_from_lines() -> tuple[bytes, bytes, bytes]:
    """Read the From_ lines; returns the way ("hosta!hostb!"), the user, and what has been read beyond."""
    way, user = b"", None
    data = b""
    while True:
        line, data = _line(data)
        rest = _after_from(line)
        if rest is None:
            break
        hosts, user = _origin(rest.removesuffix(b"\n"))
        way += hosts + b"!" if hosts else b""
    if user is None:
        raise MessageError("no From line at the beginning")
    return way, b"" if user == b"<>" else user, line + data


def _line(data: bytes) -> tuple[bytes, bytes]:
    """Return the next line of standard input, whole or up to the limit, and what has been read beyond it."""
    while b"\n" not in data and len(data) <= _LINE_LIMIT:
        try:
            block = os.read(0, _BLOCK)
        except OSError as error:
            raise SpoolError(f"standard input: {error.strerror}") from error
        if not block:
            break
        data += block
    end = data.find(b"\n") + 1 or len(data)
    return data[:end], data[end:]


def _after_from(line: bytes) -> bytes | None:
    """Return what follows the word in a From_ line; None for any other line."""
    text = line.removeprefix(b">")
    if not text.startswith(b"From "):
        return None
    if len(line) > _LINE_LIMIT:
        raise MessageError("a From line that is too long")
    return text[5:]


def _origin(text: bytes) -> tuple[bytes, bytes]:
    """Return the hosts that a From_ line names ("" for none), and its user."""
    if not text.strip():
        raise MessageError("an empty From line")
    first = text.split(None, 1)[0] if text[:1] not in b" \t" else b""
    before, remote, after = text.partition(_REMOTE)
    if remote and before[-1:] in (b" ", b"\t") and after.strip():
        return after.split()[0], first
    hosts, bang, user = first.rpartition(b"!")
    if bang and not (hosts and user):
        raise MessageError(f"a From line with a bang at the end of an address: {first.decode('utf-8', 'replace')!a}")
    return hosts, user
