"""What restrictions look at, what they may ask of the world, and what they may say.

Words of smtpd_*_restrictions are functions of a Scene. They ask by yielding, so that they decide
and somebody else looks up; the kinds of questions and their answers are said here.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..core.address import Address
from ..formats.checks import Checked
from ..protocol.reply import Reply
from ..protocol.server_replies import reply


class Ask(NamedTuple):
    """A question to the world, or a thing for it to do: the answer to each kind is said below."""

    kind: str
    value: Any


LISTED = "listed"  # Address -> "" (or nobody can say that it is not), else why it is unknown; OSError for "not now"
DOMAIN = "domain"  # name -> Found: does it have MX or address records; NULL_MX
HOST = "host"  # name -> its IPv4 addresses, as texts; none where that cannot be told now
TEXTS = "texts"  # name -> its TXT records; none where that cannot be told now
REVERSE = "reverse"  # client address -> (Found of its PTR, Found of a name that leads back)
TABLE = "table"  # (table, keys as access.py yields them) -> the first value, or None; OSError for "not now"
POLICY = "policy"  # (service as main.cf has it, attributes) -> what it says, or its default_action
LOG = "log"  # text -> nothing
NOTE = "note"  # (word, text), for a line of the log that names client, sender and recipient -> nothing
SLEEP = "sleep"  # seconds -> nothing
WARN = "warn"  # Reply, that would have been given -> nothing

NULL_MX = "null MX"


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected."""

    name: str
    address: str
    in_mynetworks: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]"


@dataclass(slots=True)
class Facts:
    """What is known of a session beside its addresses: for policy services, and for the macros of milters.

    state is the command, or CONNECT, or END-OF-MESSAGE; instance names one message; size is what was
    declared, or has come. tls: version, cipher and bits of the key.
    """

    client_port: str = ""
    reverse_name: str = "unknown"  # what DNS says, verified or not
    server_address: str = ""
    server_port: str = ""
    protocol: str = "SMTP"
    state: str = "CONNECT"
    instance: str = ""
    size: int = 0
    recipients: int = 0
    tls: tuple[str, str, int] = ("", "", 0)
    sasl_method: str = ""
    sasl_username: str = ""

    def take_ends(self, client: Any, server: Any) -> None:
        """Note the two ends of the connection, as socket addresses."""
        self.client_port = str(client[1]) if client else ""
        self.server_address, self.server_port = (str(server[0]), str(server[1])) if server else ("", "")


@dataclass(slots=True)
class Subject:
    """What is known when restrictions are applied; None is what has not been said yet.

    wishes is what tables and policy services want done with the message, when it has come.
    """

    client: Client
    helo: str = ""
    sender: Address | None = None
    recipient: Address | None = None
    facts: Facts = field(default_factory=Facts)
    wishes: Checked = field(default_factory=Checked)


@dataclass(frozen=True, slots=True)
class Domains:
    """What restrictions need of routing: is mail for this domain delivered here; and may anybody send to it."""

    is_final: Callable[[str], bool]
    is_authorized: Callable[[str], bool]
    origin: str = ""
    delimiters: str = "+"
    login_maps: tuple[str, ...] = ()  # say who may use a sender's address


def is_authorized(domains: Domains, address: Address) -> bool:
    """Say whether anybody may send to this address: it is ours, and asks for no further relaying. Raises OSError."""
    if not set("@%!").isdisjoint(address.local_part):
        return False
    return domains.is_authorized(address.domain or domains.origin)


@dataclass(slots=True)
class Scene:
    """One restriction list being applied: name and label say in replies what it was applied to."""

    subject: Subject
    domains: Domains
    name: str
    label: str
    recipient_checked: bool = False

    def rejected(self, code: int, status: str, text: str) -> Reply:
        """Return the reply that rejects what this list is applied to."""
        return rejected(code, status, self.name, self.label, text)


class Permit:
    """The client may go on: the rest of the list is not looked at."""


class Apply(NamedTuple):
    """A list of restrictions that a table names: it is applied in place."""

    words: str


class DeferIf(NamedTuple):
    """A deferral for the case that the list comes to a permit (or else to a reject)."""

    permit: bool
    reply: Reply


Result = Reply | Permit | DeferIf | Apply | None
Asking = Generator[Ask, Any, Result]
Word = Callable[[Scene, str], "Result | Asking"]

PERMITTED = Permit()
MISCONFIGURED = reply(451, "4.3.5", "Server configuration error")


def rejected(code: int, status: str, name: str, label: str, text: str) -> Reply:
    """Return the reply that rejects what has this name and label."""
    return reply(code, status, f"<{name}>: {label} rejected: {text}")
