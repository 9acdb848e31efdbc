"""Virtual domains: addresses that stand for others (virtual_alias_maps), and mailboxes that are no user's.

Pure: tables come in as functions. The keys and their order are Postfix's (virtual(5), virtual(8)). Methods
raise OSError where a table cannot be asked now, and ValueError where what it says makes no sense; nobody
is unknown for such a reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..core.address import Address
from ..core.config import Config
from ..core.route import ERROR, RETRY, VIRTUAL, Route
from ..formats.aliases import Target, parse_list
from ..formats.tables import LookUp, nothing

ALIASES, MAILBOXES = "virtual alias", "virtual mailbox"  # what a virtual domain has

Split = Callable[[str], tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class VirtualMaps:
    """The tables; alias_domains and mailbox_domains are those in the lists of these names."""

    aliases: LookUp = nothing
    alias_domains: LookUp = nothing
    mailbox_domains: LookUp = nothing
    mailboxes: LookUp = nothing
    uids: LookUp = nothing
    gids: LookUp = nothing


NO_MAPS = VirtualMaps()


@dataclass(frozen=True, slots=True)
class VirtualAlias:
    """What an address stands for; extension, with its delimiter, is what its name was found without."""

    targets: tuple[Target, ...]
    extension: str = ""


class Virtual:
    """The virtual domains of one configuration. split and is_local are those of Routing."""

    def __init__(self, config: Config, maps: VirtualMaps, split: Split, is_local: Callable[[str], bool]) -> None:
        self._maps = maps
        self._split = split
        self._is_local = is_local
        self._base: str = config.virtual_mailbox_base.rstrip("/")
        self._origin: str = config.myorigin
        self._domains = (
            (ALIASES, _names(config.virtual_alias_domains), maps.alias_domains),
            (MAILBOXES, _names(config.virtual_mailbox_domains), maps.mailbox_domains),
        )
        self._has_domains = any(names or tables is not nothing for _, names, tables in self._domains)
        self.has_aliases = maps.aliases is not nothing

    def kind(self, domain: str) -> str:
        """Say what kind of virtual domain this is, "" for none."""
        if not self._has_domains:
            return ""
        name = domain.lower().removesuffix(".")
        for kind, names, tables in self._domains:
            if name in names or tables(name, True) is not None:
                return kind
        return ""

    # --- virtual_alias_maps -------------------------------------------------------------------

    @staticmethod
    def key(address: Address) -> str:
        """Return the name under which an address stands among those visited."""
        return f"@{address}".lower()

    def alias(self, address: Address) -> VirtualAlias | None:
        """Return what an address stands for, None for itself."""
        if not self.has_aliases:
            return None
        user, delimiter, extension = self._split(address.local_part)
        for key, is_part, is_found_without in self._alias_keys(address, user):
            text = self._maps.aliases(key, is_part)
            if text is not None:
                return VirtualAlias(_targets(text, address), delimiter + extension if is_found_without else "")
        return None

    def _alias_keys(self, address: Address, user: str) -> Iterator[tuple[str, bool, bool]]:
        domain = address.domain.lower().removesuffix(".") or self._origin.lower()
        names = list(dict.fromkeys((address.local_part, user)))
        for number, name in enumerate(names):
            yield f"{name}@{domain}", number > 0, number > 0
        if self._is_local(address.domain):
            for number, name in enumerate(names):
                yield name, True, number > 0
        yield f"@{domain}", True, False

    # --- mailboxes ----------------------------------------------------------------------------

    def mailbox(self, address: Address) -> Route:
        """Return the route to the mailbox of an address."""
        path, extension = self._found(self._maps.mailboxes, address)
        if path is None:
            return Route(ERROR, f'5.1.1 unknown user: "{address}"', address)
        numbers = [self._found(table, address)[0] for table in (self._maps.uids, self._maps.gids)]
        for name, number in zip(("virtual_uid_maps", "virtual_gid_maps"), numbers, strict=True):
            if number is None or not (number.isascii() and number.isdigit() and len(number) < 11):
                return Route(RETRY, f"4.3.5 {name} has no number for {address}", address)
        uid, gid = (int(number or 0) for number in numbers)
        return Route(VIRTUAL, str(address).lower(), address, uid, f"{gid}:{self._base}/{path}", extension)

    def _found(self, table: LookUp, address: Address) -> tuple[str | None, str]:
        """Return what a table says of a mailbox, and the extension that it was found without."""
        domain = address.domain.lower().removesuffix(".")
        user, _, extension = self._split(address.local_part)
        for number, name in enumerate(dict.fromkeys((address.local_part, user, ""))):
            text = table(f"{name}@{domain}", number > 0)
            if text is not None:
                return text, extension if name == user else ""
        return None, ""

    # --- who is known -------------------------------------------------------------------------

    def why_unknown(self, address: Address) -> str:
        """Return why there is no such address in its virtual domain; "" where there is, or the domain is none."""
        kind = self.kind(address.domain)
        if not kind or self.alias(address) is not None:
            return ""
        if kind == MAILBOXES and (
            self._maps.mailboxes is nothing or self._found(self._maps.mailboxes, address)[0] is not None
        ):
            return ""
        return f"User unknown in {kind} table"


def _names(domains: list[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in domains if ":" not in name)


def _targets(text: str, address: Address) -> tuple[Target, ...]:
    """Read the value of a virtual alias; @domain alone keeps the local part. Raises ValueError."""
    if text.startswith("@") and not set(text) & set(", \t"):
        text = str(Address(address.local_part, text[1:]))
    targets = tuple(parse_list(text))
    if not targets or any(target.address is None or target.real_user for target in targets):
        raise ValueError(f"virtual_alias_maps: {address}: addresses alone may stand here")
    return targets
