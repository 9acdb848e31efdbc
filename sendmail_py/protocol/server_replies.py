"""What a server says: replies with their enhanced codes (RFC 5321 4.2, 2034), and as octets.

Guarantees: render() writes printable ASCII only, so nothing that a client said can begin
another line. No reply here repeats the client's words.
"""

import re
from collections.abc import Mapping
from typing import Final

from .reply import Reply

_UNSPEAKABLE = re.compile(r"[^ -~]")


def reply(code: int, status: str, text: str) -> Reply:
    """Return a reply of one line."""
    return Reply(code, (f"{status} {text}",))


def render(answer: Reply) -> bytes:
    """Return a reply as octets."""
    *others, last = (_UNSPEAKABLE.sub("?", line) for line in answer.lines)
    return "".join([*(f"{answer.code}-{line}\r\n" for line in others), f"{answer.code} {last}\r\n"]).encode("ascii")


def greeting(hostname: str, text: str = "ESMTP sendmail-py") -> Reply:
    """Return what is said first."""
    return Reply(220, (f"{hostname} {text}",))


def hello(hostname: str, extensions: Mapping[str, str]) -> Reply:
    """Return the answer to EHLO, or to HELO when there are no extensions to tell."""
    return Reply(250, (hostname, *(f"{keyword} {value}".rstrip() for keyword, value in extensions.items())))


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
NEEDS_TLS: Final = reply(530, "5.7.0", "Must issue a STARTTLS command first")
UNREAD: Final = reply(421, "4.7.0", "Error: commands after STARTTLS, before TLS")
NOT_SMTP: Final = reply(421, "4.7.0", "Error: this is SMTP, not another protocol")
NOT_IMPLEMENTED: Final = reply(502, "5.5.1", "Error: command not implemented")
OUT_OF_ORDER: Final = {
    "STARTTLS": reply(503, "5.5.1", "Error: MAIL transaction in progress"),
    "MAIL": reply(503, "5.5.1", "Error: nested MAIL command"),
    "RCPT": reply(503, "5.5.1", "Error: need MAIL command"),
    "DATA": reply(503, "5.5.1", "Error: need RCPT command"),
}
NO_VALID_RECIPIENTS: Final = reply(554, "5.5.1", "Error: no valid recipients")
TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "Error: too many errors")

BAD_SENDER: Final = reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT: Final = reply(501, "5.1.3", "Bad recipient address syntax")
UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "Unsupported option")
TOO_LARGE: Final = reply(552, "5.3.4", "Message size exceeds the limit")


def syntax(text: str) -> Reply:
    """Return the answer to a known command with a wrong argument."""
    return reply(501, "5.5.4", f"Syntax: {text}")


def bad_value(keyword: str) -> Reply:
    """Return the answer to a parameter of MAIL or RCPT whose value cannot be read."""
    return reply(501, "5.5.4", f"Bad {keyword} parameter")
