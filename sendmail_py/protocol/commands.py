"""SMTP commands as a client writes them: MAIL and RCPT with their parameters.

Guarantees: nothing below a space and no DEL can stand in a command line (asserted in line()),
so no address or parameter can begin another command.
"""

import re
from collections.abc import Container
from enum import Enum
from typing import NamedTuple

from ..core.address import Address
from ..core.delivery import Delivery
from ..core.envelope import Recipient

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# What is no domain, as web programs pass it on for a sender, may stand between brackets: nothing that could end them.
_DOMAIN = re.compile(r"[^\x00- \"(),:<>@\[\\\]\x7f]*|\[[A-Za-z0-9.:\-]+\]")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")  # RFC 3461 4
_ORCPT = re.compile(rf"[A-Za-z0-9\-]+;{_XTEXT.pattern}")


class Verb(Enum):
    """What a reply can be the answer to; CONNECT and DOT are no commands but are answered, LAST ends BDAT."""

    __hash__ = object.__hash__  # Enum's own is Python, and takes longer than all else that a table of verbs costs

    CONNECT = "CONNECT"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "."
    BDAT = "BDAT"
    LAST = "BDAT LAST"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    HELP = "HELP"
    QUIT = "QUIT"


class LocalProtocolError(Exception):
    """We are about to send what must not be sent: a bug on our side."""


class Command(NamedTuple):
    """A verb and its argument."""

    verb: Verb
    argument: str = ""

    def line(self) -> bytes:
        """Return the command as octets, with its CRLF."""
        text = f"{self.verb.value} {self.argument}" if self.argument else self.verb.value
        octets = text.encode()
        if _CONTROL.search(octets):
            raise LocalProtocolError(f"a control character in {self.verb.value}")
        return octets + b"\r\n"


def mail(delivery: Delivery, extensions: Container[str], smtputf8: bool) -> Command:
    """Return MAIL with SIZE, BODY, SMTPUTF8, RET and ENVID as far as they are offered.

    ENVID and ORCPT are kept as xtext; what is none is left out.
    """
    words = [f"FROM:<{delivery.sender}>"]
    if "SIZE" in extensions:
        words.append(f"SIZE={delivery.length}")
    if delivery.body == "8BITMIME" and "8BITMIME" in extensions:
        words.append("BODY=8BITMIME")
    if smtputf8 and "SMTPUTF8" in extensions:
        words.append("SMTPUTF8")
    if "DSN" in extensions:
        if delivery.ret in ("FULL", "HDRS"):
            words.append(f"RET={delivery.ret}")
        if _XTEXT.fullmatch(delivery.envid):
            words.append(f"ENVID={delivery.envid}")
    return Command(Verb.MAIL, " ".join(words))


def rcpt(recipient: Recipient, extensions: Container[str]) -> Command:
    """Return RCPT, with NOTIFY and ORCPT when DSN is offered (RFC 3461)."""
    words = [f"TO:<{recipient.forward_path}>"]
    if "DSN" in extensions:
        if recipient.notify:
            words.append(f"NOTIFY={','.join(recipient.notify)}")
        if _ORCPT.fullmatch(recipient.original):
            words.append(f"ORCPT={recipient.original}")
    return Command(Verb.RCPT, " ".join(words))


def is_sendable(address: Address) -> bool:
    """Say whether an address can stand in a command at all: UTF-8, no controls, a domain that ends no brackets."""
    text = str(address)
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        return False
    return not _CONTROL.search(octets) and _DOMAIN.fullmatch(address.domain) is not None
