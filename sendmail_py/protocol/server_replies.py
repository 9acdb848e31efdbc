"""What a server says: replies with their enhanced codes (RFC 5321 4.2, 2034), and as octets.

Guarantees: render() writes printable ASCII only, so nothing that a client said can begin
another line. No reply here repeats the client's words.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from .reply import Reply

_UNSPEAKABLE = re.compile(r"[^ -~]")


def reply(code: int, status: str, text: str) -> Reply:
    """Return a reply of one line."""
    return Reply(code, (f"{status} {text}",))


@lru_cache(256)
def render(answer: Reply) -> bytes:
    """Return a reply as octets."""
    *others, last = (_UNSPEAKABLE.sub("?", line) for line in answer.lines)
    return "".join([*(f"{answer.code}-{line}\r\n" for line in others), f"{answer.code} {last}\r\n"]).encode("ascii")


def greeting(hostname: str, text: str = "ESMTP sendmail-py") -> Reply:
    """Return what is said first."""
    return Reply(220, (f"{hostname} {text}",))


def hello(hostname: str, extensions: Mapping[str, str]) -> Reply:
    """Return the answer to EHLO, or to HELO when there are no extensions to tell.

    AUTH without a mechanism is understood, but not offered.
    """
    told = ((keyword, value) for keyword, value in extensions.items() if value or keyword != "AUTH")
    return Reply(250, (hostname, *(f"{keyword} {value}".rstrip() for keyword, value in told)))


OK: Final = reply(250, "2.0.0", "Ok")
SENDER_OK: Final = reply(250, "2.1.0", "Ok")
RECIPIENT_OK: Final = reply(250, "2.1.5", "Ok")
GO_ON: Final = Reply(354, ("End data with <CR><LF>.<CR><LF>",))
BYE: Final = reply(221, "2.0.0", "Bye")
NO_VERIFICATION: Final = reply(252, "2.0.0", "Send some mail, and it will be seen")
COMMANDS: Final = reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT")

TOO_LONG: Final = reply(500, "5.5.2", "Error: line too long")
BAD_CHARACTERS: Final = reply(500, "5.5.2", "Error: control characters, or text that is not UTF-8")
UNKNOWN_COMMAND: Final = reply(500, "5.5.2", "Error: command not recognized")
START_TLS: Final = reply(220, "2.0.0", "Ready to start TLS")
NO_TLS: Final = reply(454, "4.7.0", "TLS not available due to local problem")
NEEDS_TLS: Final = reply(530, "5.7.0", "Must issue a STARTTLS command first")
UNREAD: Final = reply(421, "4.7.0", "Error: commands after STARTTLS, before TLS")
NOT_SMTP: Final = reply(421, "4.7.0", "Error: this is SMTP, not another protocol")
BAD_CHUNK: Final = reply(521, "5.5.4", "Syntax: BDAT count [LAST]")
NO_CHUNKS: Final = reply(521, "5.5.1", "Error: command not implemented")
CHUNK_TOO_LARGE: Final = reply(552, "5.3.4", "Chunk exceeds message size limit")
CHUNK_BEYOND_ALL: Final = reply(521, "5.3.4", "Chunk exceeds message size limit")
NULL_CHUNK: Final = reply(551, "5.7.1", "Null BDAT request")
AUTHENTICATED: Final = reply(235, "2.7.0", "Authentication successful")
NO_MECHANISM: Final = reply(504, "5.5.4", "Error: this authentication mechanism is not offered")
RESPONSE_TOO_LONG: Final = reply(500, "5.5.6", "Error: authentication exchange line is too long")
AUTH_ABORTED: Final = reply(501, "5.7.0", "Authentication aborted")
BAD_BASE64: Final = reply(501, "5.5.2", "Error: base64 expected")
BAD_CREDENTIALS: Final = reply(535, "5.7.8", "Error: authentication failed: wrong user name or password")
AUTH_NOT_NOW: Final = reply(454, "4.7.0", "Temporary authentication failure; try again later")
AUTH_NEEDS_TLS: Final = reply(538, "5.7.11", "Encryption required: issue a STARTTLS command first")
AUTH_REQUIRED: Final = reply(530, "5.7.0", "Authentication required")
AUTH_DONE: Final = reply(503, "5.5.1", "Error: already authenticated")
TOO_MANY_LOGINS: Final = reply(421, "4.7.0", "Error: too many failed logins")
NOT_IMPLEMENTED: Final = reply(502, "5.5.1", "Error: command not implemented")
HELLO_FIRST: Final = reply(503, "5.5.1", "Error: send HELO/EHLO first")
OUT_OF_ORDER: Final = {
    "AUTH": reply(503, "5.5.1", "Error: MAIL transaction in progress"),
    "STARTTLS": reply(503, "5.5.1", "Error: MAIL transaction in progress"),
    "MAIL": reply(503, "5.5.1", "Error: nested MAIL command"),
    "RCPT": reply(503, "5.5.1", "Error: need MAIL command"),
    "DATA": reply(503, "5.5.1", "Error: need RCPT command"),
    "BDAT": reply(503, "5.5.1", "Error: need RCPT command"),
}
AFTER_CHUNKS: Final = {verb: reply(503, "5.5.1", f"Error: {verb} after BDAT") for verb in ("MAIL", "RCPT", "DATA")}
CLOSING: Final = (421, 521)  # after these codes the server says no more
NO_VALID_RECIPIENTS: Final = reply(554, "5.5.1", "Error: no valid recipients")
TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "Error: too many errors")

BAD_SENDER: Final = reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT: Final = reply(501, "5.1.3", "Bad recipient address syntax")
UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "Unsupported option")
TOO_LARGE: Final = reply(552, "5.3.4", "Message size exceeds the limit")


def challenge(text: str) -> Reply:
    """Return what a server says within a login; text is base64."""
    return Reply(334, (text,))


def chunk_taken(size: int) -> Reply:
    """Return the answer to a chunk that is not the last."""
    return reply(250, "2.0.0", f"Ok: {size} bytes")


def chunk_discarded(size: int) -> Reply:
    """Return the answer to a chunk after one that was refused."""
    return reply(551, "5.0.0", f"Discarded {size} bytes after earlier error")


def syntax(text: str) -> Reply:
    """Return the answer to a known command with a wrong argument."""
    return reply(501, "5.5.4", f"Syntax: {text}")


def bad_value(keyword: str) -> Reply:
    """Return the answer to a parameter of MAIL or RCPT whose value cannot be read."""
    return reply(501, "5.5.4", f"Bad {keyword} parameter")
