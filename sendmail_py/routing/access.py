"""Access tables, access(5): the keys that are looked for, and what a value says to a client.

Keys go from the most specific to the least: a host name and its parent domains, an address and the
networks around it, user@domain, the domain and its parents, user@. Pattern tables see whole keys
only. A value is an action, a reply of its own, or a list of restrictions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.address import Address
from ..protocol.reply import Reply
from ..protocol.server_replies import reply

NULL_KEY = "<>"
_CODE = re.compile(r"([45][0-9][0-9])(?: +(.*))?")
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +(.*))?")
_LONGEST_NAME = 255
WISHES = ("HOLD", "DISCARD", "REDIRECT", "BCC", "PREPEND")  # what is done with the message, when it has come

Key = tuple[str, bool]  # and whether it is only a part of what is looked for


def domain_keys(name: str) -> Iterator[Key]:
    """Yield a domain and its parents."""
    name = name.lower().removesuffix(".")[:_LONGEST_NAME]
    yield name, False
    while "." in name and not name.startswith("["):
        name = name.partition(".")[2]
        yield name, True


def address_keys(address: str) -> Iterator[Key]:
    """Yield an IP address and the networks around it, octet by octet or group by group."""
    yield address, False
    separator = ":" if ":" in address else "."
    while separator in address:
        address = address.rpartition(separator)[0].rstrip(":")
        if address:
            yield address, True


def mail_keys(address: Address, delimiters: str) -> Iterator[Key]:
    """Yield the keys of a mail address; "" is the null sender."""
    if not address:
        yield NULL_KEY, False
        return
    local_part, domain = address.local_part.lower(), address.domain.lower().removesuffix(".")
    at = min((p for p in map(local_part.find, delimiters) if p > 0), default=0)
    users = [local_part, local_part[:at]] if at else [local_part]
    for number, user in enumerate(users):
        yield (f"{user}@{domain}" if domain else user), number > 0
    if domain:
        yield from ((key, True) for key, _ in domain_keys(domain))
    for user in users:
        yield f"{user}@", True


@dataclass(frozen=True, slots=True)
class Action:
    """What a value says. verb is OK, DUNNO, REPLY, DEFER_IF_PERMIT, DEFER_IF_REJECT, WARN, INFO, one of WISHES,
    or RESTRICTIONS.
    """

    verb: str
    reply: Reply | None = None
    text: str = ""


def action_of(value: str, name: str, label: str) -> Action:
    """Read a value; name and label say in a reply what is refused. Raises ValueError for an empty one."""
    word, _, text = value.strip().partition(" ")
    verb, text = word.upper(), text.strip()
    if not verb:
        raise ValueError("the value is empty")
    if verb == "OK" or (verb.isascii() and verb.isdigit() and not _CODE.fullmatch(value.strip())):
        return Action("OK")
    if found := _CODE.fullmatch(value.strip()):
        return Action("REPLY", _worded(int(found[1]), f"{found[1][0]}.7.1", name, label, found[2] or "Access denied"))
    if verb == "REJECT":
        return Action("REPLY", _worded(554, "5.7.1", name, label, text or "Access denied"))
    if verb == "DEFER":
        return Action("REPLY", _worded(450, "4.7.1", name, label, text or "Access denied"))
    if verb in ("DEFER_IF_PERMIT", "DEFER_IF_REJECT"):
        return Action(verb, _worded(450, "4.7.1", name, label, text or "Service unavailable"))
    if verb in ("DUNNO", "WARN", "INFO", *WISHES):
        return Action(verb, text=text)
    if verb == "FILTER":
        raise ValueError("FILTER is not supported: there are no content filters")
    return Action("RESTRICTIONS", text=value.strip())


def _worded(code: int, status: str, name: str, label: str, text: str) -> Reply:
    """Return a reply; an enhanced code at the beginning of the text counts, as far as it fits the reply's."""
    if found := _STATUS.fullmatch(text):
        status, text = str(code)[0] + found[1][1:], found[2] or "Access denied"
    return reply(code, status, f"<{name}>: {label} rejected: {text}")
