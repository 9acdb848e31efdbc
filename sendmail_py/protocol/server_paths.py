"""Paths as clients give them to MAIL and RCPT (RFC 5321 4.1.2, 6531), with what Postfix forgives.

Accepted: no angle brackets, a space before them, a source route (dropped), a bare local part,
dots anywhere in a local part, quoted strings as words of it, a dot at the domain's end
(dropped). Refused: whatever could be read in two ways. An Address made here holds no control
character, no blank outside a quoted local part, no @ in an unquoted one, and does not begin
with "-", so no program can take it for an option.
"""

import re

from ..core.address import NULL_SENDER, Address

# What may stand in words is what is left without controls and specials: classes that name the rest
# of Unicode instead take 20 ms to compile.
_ATOM = r'[^\x00- "(),:;<>@\[\\\]\x7f-\x9f]'
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LABEL = r"[^\x00-,./:-@\[-\^`{-\x9f]+"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[A-Za-z0-9.:\-]+\]"
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_MAILBOX = rf"(?P<local>(?:{_ATOM}|{_QUOTED})+)(?:@(?:(?P<domain>{_DOMAIN})\.?|(?P<literal>{_LITERAL})))?"
_BRACKETED = re.compile(rf"<{_ROUTE}{_MAILBOX}>")
_BARE = re.compile(_MAILBOX)
_QUOTED_OR_ESCAPE = re.compile(r'\\(.)|"')
# MAIL and RCPT as nearly all clients write them.
_COMMON = re.compile(
    rb"(?:(MAIL FROM)|RCPT TO):<([a-z0-9_][a-z0-9_.+-]*)@([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)>(?: SIZE=([0-9]{1,18}))?",
    re.IGNORECASE,
)
# The controls and line ends of Unicode.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A path ends at a blank outside quotes and brackets.
_FIRST_WORD = re.compile(rf' *((?:<(?:{_QUOTED}|[^">])*(?:>|$)|{_QUOTED}|[^"< ])+)(?: +|$)')


def read_common(line: bytes) -> tuple[bool, Address, str] | None:
    """Read the common form of MAIL (then True) or RCPT: its address, and the digits of SIZE; None for any other line.

    What is read here means what the functions below would make of it, and takes less time.
    """
    found = _COMMON.fullmatch(line)
    if not found:
        return None
    mail, local_part, domain, size = found.groups()
    return mail is not None, Address(local_part.decode(), domain.decode()), (size or b"").decode()


def split_path(text: str) -> tuple[str, list[str]] | None:
    """Part an argument into its path and its parameters; None when there is no path to be seen."""
    found = _FIRST_WORD.match(text)
    return (found[1], [word for word in text[found.end() :].split(" ") if word]) if found else None


def read_path(text: str) -> Address | None:
    """Return the address of a path, NULL_SENDER for <>; None for a path that cannot be read."""
    if text == "<>":
        return NULL_SENDER
    found = (_BRACKETED if text[:1] == "<" else _BARE).fullmatch(text)
    if not found or _UNSEEN.search(text):
        return None
    local_part = _QUOTED_OR_ESCAPE.sub(lambda m: m[1] or "", found["local"])
    if not local_part or local_part[0] == "-":
        return None
    return Address(local_part, found["domain"] or found["literal"] or "")
