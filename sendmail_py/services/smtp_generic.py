"""smtp_generic_maps: what other hosts see instead of our addresses, in envelope and header.

Log lines and results keep the addresses that are ours. Guarantees: the content is never serialised again, only
addresses in header fields are replaced, and the body goes out from the queue file as it is; while a table cannot be
asked the mail waits.
"""

import asyncio
from dataclasses import replace

from ..core.address import Address
from ..core.config import Config
from ..core.delivery import Delivery
from ..core.envelope import Recipient
from ..core.result import Scope, deferred
from ..formats.header import split_header
from ..formats.submission_header import change_header
from ..host.syslog import Log
from ..routing.resolve import Routing
from .content import split_content
from .rewriting import rewriter_of


class GenericMaps:
    """The generic rewriting of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._log = log
        self._origin: str = config.myorigin
        self._rewriter = rewriter_of(config, Routing(config), log.warning)

    async def prepare(self, delivery: Delivery) -> bool:
        """Work out what others are to see of a delivery; False when it has to wait, and its results say so."""
        if delivery.outward is not None:
            return True
        try:
            delivery.outward = await asyncio.to_thread(self._outward, delivery)
        except (OSError, ValueError) as error:
            text = f"smtp_generic_maps: {error}"
            self._log.warning(f"{delivery.queue_id}: {text}")
            delivery.end_all(deferred("4.3.0", text, Scope.MESSAGE))
            return False
        return True

    def _outward(self, delivery: Delivery) -> Delivery:
        head, _ = split_content(delivery.fd, delivery.content_offset, delivery.size)
        sections = split_header(head)
        assert sections is not None
        known: dict[tuple[str, str], Address] = {}
        header = change_header(head[: sections.end], self._origin, lambda _, address: self._generic(address, known))
        recipients = [_renamed(r, self._generic(r.forward_path, known)) for r in delivery.recipients]
        return replace(
            delivery,
            sender=self._generic(delivery.sender, known),
            recipients=recipients,
            header=header,
            content_offset=delivery.content_offset + sections.end,
            size=delivery.size - sections.end,
        )

    def _generic(self, address: Address, known: dict[tuple[str, str], Address]) -> Address:
        key = address.local_part, address.domain
        if key not in known:
            known[key] = self._rewriter.generic(address)
        return known[key]


def _renamed(r: Recipient, address: Address) -> Recipient:
    return Recipient(address, r.original, r.notify, extension=r.extension)
