"""Route: where one recipient's mail goes next, and with whose rights."""

from dataclasses import dataclass

from .address import Address

LOCAL = "local"
SMTP = "smtp"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class Route:
    """A decision of routing: transport, nexthop, the address to use there, and a uid.

    uid is the user whose rights apply to what the address names (files, programs); -1 means
    the recipient's own. For the transport `error`, nexthop holds "x.y.z text".
    """

    transport: str
    nexthop: str
    address: Address
    uid: int = -1

    def destination(self) -> tuple[str, str]:
        """Return the key by which deliveries are grouped and limited."""
        return self.transport, self.nexthop
