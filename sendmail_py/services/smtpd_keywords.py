"""What EHLO offers to a client: everything the server can do, without what main.cf discards.

What is not offered is not there: its commands and parameters are refused as unknown. Words that are
no keywords are ignored, as in Postfix, so that a main.cf may name those of other servers.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.config import Config
from ..core.errors import ConfigError
from ..host.syslog import Log
from ..host.tables import Tables, check_tables
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..routing.restriction_scene import Client

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

_MAPS = "smtpd_discard_ehlo_keyword_address_maps"
_SILENT = "SILENT-DISCARD"
LOCAL_ERROR = replies.reply(421, "4.3.0", "Error: server local data error")


class Keywords:
    """The keywords that are discarded, for everybody or by the client's address."""

    def __init__(self, config: Config, log: Log) -> None:
        self._always = _keywords(config.smtpd_discard_ehlo_keywords)
        self.maps = Tables(config.smtpd_discard_ehlo_keyword_address_maps, log.warning)

    def discarded(self, found: str | None) -> frozenset[str]:
        """Return what is discarded for a client; found is what the maps say of it, in place of the list."""
        return self._always if found is None else _keywords(found.replace(",", " ").split())


def _keywords(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.upper() for word in words)


class Offer:
    """What one client is offered, by what its address says, and under TLS or not."""

    def __init__(self, entrance: "Entrance", address: str) -> None:
        self._entrance = entrance
        self._address = address
        self._discarded = entrance.keywords.discarded(None)

    def now(self, is_secure: bool) -> dict[str, str]:
        """Return what is offered in answer to EHLO: keywords and their values."""
        offered = self._entrance.extensions(is_secure)
        for keyword in self._discarded:
            offered.pop(keyword, None)
        return offered

    @property
    def is_to_be_asked(self) -> bool:
        """Say whether ask() has something to find out."""
        return bool(self._entrance.logins or self._entrance.keywords.maps)

    async def ask(self, client: Client) -> Reply | None:
        """Find out what this client is offered; returns the answer where that cannot be told."""
        entrance, keywords = self._entrance, self._entrance.keywords
        await entrance.refresh_logins()
        if not keywords.maps:
            return None
        try:
            self._discarded = keywords.discarded(await entrance.world.table_value(keywords.maps, self._address))
        except OSError as error:
            entrance.log.warning(f"what to offer to {client} cannot be told: {error}")
            return LOCAL_ERROR
        return None

    def note(self, is_secure: bool) -> str:
        """Return the line for the log, "" where there is nothing to be said."""
        if not self._discarded or _SILENT in self._discarded:
            return ""
        missing = [keyword for keyword in self._entrance.extensions(is_secure) if keyword in self._discarded]
        return f"discarding EHLO keywords: {' '.join(missing)}" if missing else ""


def check_keywords(config: Config) -> None:
    """Raise ConfigError for a table that can never work."""
    try:
        check_tables(config.smtpd_discard_ehlo_keyword_address_maps)
    except ValueError as error:
        raise ConfigError(f"{config.origin(_MAPS)}: {_MAPS}: {error}") from error
