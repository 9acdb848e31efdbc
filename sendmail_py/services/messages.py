"""A message under delivery, and the part of it that goes to one destination."""

from dataclasses import dataclass, field

from ..core.address import Address
from ..core.envelope import Envelope
from ..core.result import DeliveryResult
from ..core.route import Route


@dataclass(slots=True, eq=False)
class Message:
    """One message under delivery: its results so far by recipient index, and entries still out.

    lost counts agents that went without an answer. unreleased are children whose parent marks are
    durable while they still wait in tmp/; is_marked says that the marks of this pass are written,
    is_large that it is counted among those with many recipients.
    addresses are those of the recipients that routing changed, for reports. wish is what an
    administrator wants of the message when its pass has ended.
    """

    queue_id: str
    envelope: Envelope
    descriptor: int
    active_at: int
    forced: bool = False
    waiting: int = 0
    lost: int = 0
    attempted: bool = False
    is_marked: bool = False
    is_large: bool = False
    wish: str = ""
    unreleased: list[str] = field(default_factory=list)
    results: dict[int, DeliveryResult] = field(default_factory=dict)
    addresses: dict[int, Address] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Entry:
    """Recipients (by index) of one message that share a destination, with their routes."""

    message: Message
    indexes: list[int]
    routes: list[Route]
