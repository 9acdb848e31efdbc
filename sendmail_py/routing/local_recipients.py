"""Which users of this host there are, for who has to say so before the mail is taken (local_recipient_maps).

Pure: the maps come in as functions. Somebody is known who has an alias, is a user, or stands in a
map; and everybody is, where no map is given or where mail for unknown users goes elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core.address import Address
from .resolve import ALWAYS_THERE, Routing

Known = Callable[[str], bool]  # of a key; raises OSError where that cannot be told now

UNKNOWN = "User unknown in local recipient table"


@dataclass(frozen=True, slots=True)
class LocalRecipients:
    """The answer for addresses of this host.

    by_name are asked for the name with its extension and without (aliases, users), by_address
    also for the whole address and for @domain, as in Postfix. takes_all: nobody is unknown.
    """

    routing: Routing
    by_name: Sequence[Known] = ()
    by_address: Sequence[Known] = ()
    takes_all: bool = False

    def why_unknown(self, address: Address) -> str:
        """Return why there is no such user here; "" where there is, or where the address is not local.

        Raises OSError where that cannot be told now.
        """
        if not self.routing.is_local(address.domain):
            return self._virtually_unknown(address)
        if self.takes_all or self._has_virtual_alias(address):
            return ""
        names = list(self.routing.names(address.local_part))
        if any(name in ALWAYS_THERE for name in names):
            return ""
        domain = address.domain.lower().removesuffix(".")
        addresses = [f"{name}@{domain}" for name in names] if domain else []
        keys = [*addresses, *names, *([f"@{domain}"] if domain else [])]
        is_known = any(known(name) for known in self.by_name for name in names)
        is_known = is_known or any(known(key) for known in self.by_address for key in keys)
        return "" if is_known else UNKNOWN

    def _virtually_unknown(self, address: Address) -> str:
        try:
            return self.routing.virtual.why_unknown(address)
        except ValueError:
            return ""  # it is there, and its mail waits until the table is mended

    def _has_virtual_alias(self, address: Address) -> bool:
        try:
            return self.routing.virtual.alias(address) is not None
        except ValueError:
            return True
