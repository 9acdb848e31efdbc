"""The fields that a mailer adds: Received, Date, Message-Id, and text made fit for a field.

Times are passed in; whatever comes from outside is stripped of what could end a field.
"""

import time
from binascii import b2a_base64
from functools import lru_cache

from ..core.address import Address, needs_quotes

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# An encoded word has at most 75 characters (RFC 2047 2); =?utf-8?B? and ?= take 12, so base64 of 45 octets fits.
_ENCODED_WORD_OCTETS = 45
_COMMENT = frozenset('()<>\\";, ')


@lru_cache(4)  # many messages come in one second
def rfc5322_date(seconds: float, utc_offset: int = 0) -> str:
    """Return a date-time (RFC 5322 3.3). seconds since the epoch; utc_offset in seconds east."""
    t = time.gmtime(seconds + utc_offset)
    sign = "-" if utc_offset < 0 else "+"
    hours, minutes = divmod(abs(utc_offset) // 60, 60)
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {sign}{hours:02}{minutes:02}"
    return f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} {clock}"


def message_id(seconds: float, queue_id: str, host: str) -> str:
    """Return a Message-Id with its brackets; the time in it is UTC."""
    t = time.gmtime(seconds)
    stamp = f"{t.tm_year:04}{t.tm_mon:02}{t.tm_mday:02}{t.tm_hour:02}{t.tm_min:02}{t.tm_sec:02}"
    return f"<{stamp}.{queue_id}@{host}>"


def received_from_user(host: str, uid: int, queue_id: str, date: str) -> str:
    """Return the Received field of a local submission, with its line end."""
    return f"Received: by {host} (sendmail-py, from userid {uid})\n\tid {queue_id}; {date}\n"


def received_from_client(
    helo: str,
    client: tuple[str, str],
    host: str,
    protocol: str,
    queue_id: str,
    date: str,
    recipient: Address | None = None,
    login: str = "",
) -> str:
    """Return the Received field of a message that came by SMTP (RFC 5321 4.4), with its line end.

    client is (name, address), protocol a keyword such as ESMTPS (RFC 3848); recipient is given
    only when the message has no other, and login where the user who has logged in is to be named.
    """
    name, address = client
    origin = f"from {_comment_free(helo)} ({_comment_free(name)} [{address}])"
    if login:
        origin += f"\n\t(Authenticated sender: {_comment_free(login)})"
    wanted = f"\n\tfor <{clean(str(recipient))}>" if recipient else ""
    return f"Received: {origin}\n\tby {host} (sendmail-py) with {protocol} id {queue_id}{wanted}; {date}\n"


def clean(text: str) -> str:
    """Return the text with control characters as blanks and without surrogate escapes."""
    if text.isascii() and text.isprintable():
        return text
    text = text.encode("utf-8", "replace").decode()
    if text.isprintable():
        return text
    return "".join(" " if c < " " or "\x7f" <= c < "\xa0" or c in "\u2028\u2029" else c for c in text)


def _comment_free(text: str) -> str:
    """Return a client's name for itself without what would begin or end a comment or a clause."""
    text = clean(text)
    if not _COMMENT.isdisjoint(text):
        text = "".join("?" if c in _COMMENT else c for c in text)
    return text or "unknown"


def display_name(name: str) -> str:
    """Return a name as a phrase ("" for none): plain words, a quoted string, or encoded words (RFC 2047 5).

    Octets that are no UTF-8 are taken for Latin-1, which old user data bases hold.
    """
    if not name.isascii():
        name = _text_of(name.encode("utf-8", "surrogateescape"))
    name = " ".join(clean(name).split())
    if not name.isascii():
        return "\n ".join(_encoded_words(name))
    if name and ("=?" in name or any("." in word or needs_quotes(word) for word in name.split(" "))):
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return name


def _text_of(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _encoded_words(text: str) -> list[str]:
    chunks = [b""]
    for c in text:
        octets = c.encode()
        if len(chunks[-1]) + len(octets) > _ENCODED_WORD_OCTETS:
            chunks.append(b"")
        chunks[-1] += octets
    return [f"=?utf-8?B?{b2a_base64(chunk, newline=False).decode()}?=" for chunk in chunks]
