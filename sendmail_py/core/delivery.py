"""Delivery: one message for one destination, as an agent gets it; a batch is a list of these.

The content is reached through `fd` only: agents never open a queue file.
"""

from dataclasses import dataclass, field

from .address import Address
from .envelope import Recipient
from .result import DeliveryResult


@dataclass(slots=True)
class Delivery:
    """One message, the recipients of it that share a destination, and their results.

    fd is an open read-only descriptor of the queue file; the content stands at
    content_offset and is size octets long, line ends LF. verify asks what would become of it:
    nothing may be delivered, and a success says "deliverable". arrived_at and active_at are
    microseconds since the epoch. results runs parallel to recipients; None means that no
    attempt has ended yet, which counts as deferred. header stands before the content, as its
    beginning. outward is what other hosts are to see instead, where that differs; signed: with its DKIM
    signatures, if there are any.
    """

    queue_id: str
    fd: int
    content_offset: int
    size: int
    sender: Address
    recipients: list[Recipient]
    body: str = ""
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    arrived_at: int = 0
    active_at: int = 0
    verify: bool = False
    results: list[DeliveryResult | None] = field(default_factory=list)
    header: bytes = b""
    outward: "Delivery | None" = None
    signed: bool = False

    def __post_init__(self) -> None:
        if not self.results:
            self.results = [None] * len(self.recipients)

    def seen(self) -> "Delivery":
        """Return the delivery as the other side is to see it."""
        return self.outward or self

    @property
    def length(self) -> int:
        """The octets of the whole message."""
        return len(self.header) + self.size

    def end_all(self, result: DeliveryResult) -> None:
        """Give every recipient that has no result yet this one."""
        self.results = [old or result for old in self.results]
