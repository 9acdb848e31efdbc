"""The header of a submitted message: what is missing added, what is private removed, bare addresses qualified.

Every other octet stays, save that CRLF becomes LF and that blanks before a colon go, as in sendmail
and Postfix; a field that cannot be understood is left as it is. What is added is Postfix's choice,
so that nobody notices the change of mailer.
"""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass

from ..core.address import Address
from .address_list import parse_address_list
from .header import field_text, fields, map_fields
from .trace_headers import clean, display_name, message_id, received_from_user, rfc5322_date

_DROPPED = frozenset((b"bcc", b"resent-bcc", b"return-path", b"content-length"))
_QUALIFIED = frozenset(
    b"from sender reply-to to cc resent-from resent-sender resent-reply-to resent-to resent-cc "
    b"disposition-notification-to errors-to mail-followup-to apparently-to return-receipt-to".split()
)
# One address that has its domain: there is nothing to qualify, and most fields are so.
_PLAIN = rb"[A-Za-z0-9_.+=-]+@[A-Za-z0-9.-]+"
_WHOLE = re.compile(rb"[!-9;-~]+:[ \t]*(?:[A-Za-z0-9_.' -]*<%b>|%b)[ \t]*\n?" % (_PLAIN, _PLAIN))
# Reading addresses costs time that others wait for: what exceeds this in one message is left as it is.
_QUALIFIED_OCTETS = 262144
_MESSAGE_ID = b"message-id"
_REQUIRED = {"Message-Id": _MESSAGE_ID, "Date": b"date", "From": b"from"}
MAILER_DAEMON = "MAILER-DAEMON"
Change = Callable[[bytes, Address], Address]


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known of a message beside its header.

    arrived_at is in microseconds since the epoch, utc_offset in seconds east of UTC at that
    time. full_name is -F's, else what full_name_from_gecos gives. A field of more octets than
    header_size_limit is not examined; 0 is no limit. received is the Received field of a message
    that came by SMTP; complete says whether missing fields are added and bare addresses qualified.
    change, where it is given, returns what a qualified address in a field (its name in lower case) becomes.
    """

    queue_id: str
    arrived_at: int
    utc_offset: int
    uid: int
    sender: Address
    full_name: str
    myorigin: str
    myhostname: str
    header_size_limit: int = 0
    received: str = ""
    complete: bool = True
    change: "Change | None" = None


@dataclass(frozen=True, slots=True)
class PreparedHeader:
    """The new header, the Message-Id for the log ("" for none), the hops before this one, and more log lines.

    received is the field that says that the message came here.
    """

    header: bytes
    message_id: str
    hops: int
    notes: tuple[str, ...] = ()
    received: bytes = b""


def full_name_from_gecos(gecos: str, login: str) -> str:
    """Return the full name in a passwd entry: up to the first comma, & standing for the login."""
    return gecos.partition(",")[0].replace("&", login[:1].upper() + login[1:]).strip()


def prepare_header(header: bytes, facts: Submission) -> PreparedHeader:
    """Return the header with which a submitted message is queued."""
    header = header.replace(b"\r\n", b"\n")
    if header and not header.endswith(b"\n"):
        header += b"\n"
    seen: dict[bytes, int] = {}
    room = _QUALIFIED_OCTETS
    first_id = b""

    def change(name: bytes, raw: bytes) -> bytes:
        nonlocal room, first_id
        seen[name] = seen.get(name, 0) + 1
        if name in _DROPPED:
            return b""
        if name == _MESSAGE_ID and not first_id:
            first_id = raw
        if facts.complete and raw[len(name) : len(name) + 1] in (b" ", b"\t"):
            raw = raw[: len(name)] + raw[raw.index(b":") :]  # readers of today know no blank there (RFC 5322 4.5)
        if name not in _QUALIFIED or not facts.complete or 0 < facts.header_size_limit < len(raw):
            return raw
        room -= len(raw)
        return change_field(name, raw, facts.myorigin, facts.change) if room >= 0 else raw

    kept = map_fields(header, change)
    date = rfc5322_date(facts.arrived_at // 1_000_000, facts.utc_offset)
    received = (facts.received or received_from_user(facts.myhostname, facts.uid, facts.queue_id, date)).encode(
        "utf-8", "replace"
    )
    missing = _missing_fields(seen.keys(), facts, date) if facts.complete else ""
    added = missing.encode("utf-8", "surrogateescape")
    log_id = _id_text(first_id) if first_id else message_id_of(added)
    return PreparedHeader(received + kept + added, log_id, seen.get(b"received", 0), (), received)


def _missing_fields(seen: Set[bytes], facts: Submission, date: str) -> str:
    """Return the fields to add; in a message that is sent again these are its Resent- fields (RFC 5322 3.6.6)."""
    resent, prefix = ("Resent-", b"resent-") if any(name.startswith(b"resent-") for name in seen) else ("", b"")
    missing = [name for name, seen_as in _REQUIRED.items() if prefix + seen_as not in seen]
    return "".join(f"{resent}{name}: {_value(name, facts, date)}\n" for name in missing)


def _value(name: str, facts: Submission, date: str) -> str:
    if name == "Date":
        return date
    if name == "From":
        return originator(facts.sender, facts.full_name, facts.myorigin)
    return message_id(facts.arrived_at // 1_000_000, facts.queue_id, facts.myhostname)


def originator(sender: Address, full_name: str, myorigin: str) -> str:
    """Return the value of a From field: the name, if there is one, and the qualified address."""
    if not sender:
        return f"{MAILER_DAEMON}@{myorigin}"
    address = str(sender if sender.domain else Address(sender.local_part, myorigin))
    name = display_name(full_name)
    return f"{name} <{address}>" if name else address


def change_field(name: bytes, raw: bytes, myorigin: str, change_address: Change | None = None) -> bytes:
    """Return an address field with @myorigin after each bare address, and addresses that change replaced."""
    if change_address is None and _WHOLE.fullmatch(raw):
        return raw
    text = field_text(raw)
    try:
        mailboxes = parse_address_list(text)
    except ValueError:
        return raw
    colon = raw.index(b":") + 1
    # Character for character as long as the text, but with its line breaks.
    value = raw[colon:].decode("utf-8", "surrogateescape")
    pieces = []
    done = 0
    for mailbox in mailboxes:
        address = mailbox.address
        if not address:
            continue
        whole = address if address.domain else Address(address.local_part, myorigin)
        new = change_address(name, whole) if change_address else whole
        if new != whole:
            pieces += [value[done : mailbox.start], str(new)]
        elif not address.domain:
            pieces += [value[done : mailbox.end], "@", myorigin]
        else:
            continue
        done = mailbox.end
    if not pieces:
        return raw
    pieces.append(value[done:])
    return raw[:colon] + "".join(pieces).encode("utf-8", "surrogateescape")


def change_header(header: bytes, myorigin: str, change_address: Change) -> bytes:
    """Return a header with the addresses in its address fields replaced."""

    def change(name: bytes, raw: bytes) -> bytes:
        return change_field(name, raw, myorigin, change_address) if name in _QUALIFIED else raw

    return map_fields(header, change)


def message_id_of(header: bytes) -> str:
    """Return the text of the first Message-Id field, fit for a log line; "" without one."""
    for name, raw in fields(header):
        if name == _MESSAGE_ID:
            return _id_text(raw)
    return ""


def _id_text(raw: bytes) -> str:
    return clean(field_text(raw)).strip()
