"""Where an address goes: this host, the relayhost, or the domain's own mail exchangers."""

from ..core.address import Address
from ..core.config import Config
from ..core.route import ERROR, LOCAL, SMTP, Route


class Routing:
    """The routing decisions of one configuration."""

    def __init__(self, config: Config) -> None:
        self._local_domains = frozenset(domain.lower() for domain in config.mydestination)
        self._relayhost = config.relayhost

    def is_local(self, domain: str) -> bool:
        """Say whether mail for this domain is delivered on this host; "" is this host."""
        return not domain or domain.lower().removesuffix(".") in self._local_domains

    def route(self, address: Address) -> Route:
        """Return the route of an address, before aliases."""
        if not address.local_part:
            return Route(ERROR, "5.1.3 empty local part", address)
        if self.is_local(address.domain):
            return Route(LOCAL, address.local_part.lower(), address)
        domain = address.domain.lower().removesuffix(".")
        if not domain:
            return Route(ERROR, "5.1.2 empty domain", address)
        return Route(SMTP, self._relayhost or domain, address)
