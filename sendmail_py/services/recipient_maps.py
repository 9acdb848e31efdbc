"""local_recipient_maps: unix:passwd.byname, the maps of alias_maps, and tables of names or addresses."""

from ..core.config import Config
from ..host.alias_files import AliasFiles
from ..host.tables import Tables
from ..host.users import UserCache
from ..routing.local_recipients import Known, LocalRecipients
from ..routing.resolve import Routing

_PROXY = "proxy:"
_USERS = "unix:passwd.byname"


def local_recipients(config: Config, routing: Routing) -> LocalRecipients:
    """Return who is known on this host; raises ValueError for a map that is not known here."""
    by_name: list[Known] = []
    by_address: list[Known] = []
    aliases = [source.removeprefix(_PROXY) for source in config.alias_maps]
    for text in config.local_recipient_maps:
        source = text.removeprefix(_PROXY)
        if source == _USERS:
            by_name.append(_are_users())
        elif source in aliases:
            by_name.append(_are_aliases(source))
        else:
            by_address.append(Tables([source], lambda fault: None).holds)
    takes_all = not config.local_recipient_maps or bool(config.luser_relay or config.fallback_transport)
    return LocalRecipients(routing, by_name, by_address, takes_all)


def _are_users() -> Known:
    users = UserCache()
    return lambda name: users.find(name) is not None


def _are_aliases(source: str) -> Known:
    aliases = AliasFiles([source], lambda fault: None)  # qmgr tells of faults

    def is_alias(name: str) -> bool:
        try:
            return aliases.look_up(name) is not None
        except ValueError:
            return True  # it is there, and its mail waits until the line is mended

    return is_alias
