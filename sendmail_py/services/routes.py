"""Routing with its tables: transport_maps, sender_dependent_relayhost_maps, relay_domains.

check_routing() runs before the services start: a transport that there is not, or a type of table
that is not known, is an error there.
"""

from ..core.config import Config
from ..core.errors import ConfigError
from ..formats.tables import TEXT_TYPES, LookUp, nothing, split_name
from ..host.read_file import Warn
from ..host.tables import Tables, check_tables
from ..routing.resolve import Routing
from ..routing.transport import Maps, check_nexthop, parse_transport, whole_transport

_AT_HAND = (*TEXT_TYPES, "inline", "static")  # the SMTP server asks these in its loop


def routing_of(config: Config, warn: Warn) -> Routing:
    """Return the routing of a configuration; raises ValueError."""
    if not (config.transport_maps or config.sender_dependent_relayhost_maps or config.relay_domains):
        return Routing(config)
    maps = Maps(
        look_up(config.transport_maps, warn),
        look_up(config.sender_dependent_relayhost_maps, warn),
        look_up([name for name in config.relay_domains if ":" in name], warn, names_alone=True),
    )
    return Routing(config, maps)


def look_up(names: list[str], warn: Warn, names_alone: bool = False) -> LookUp:
    """Return how to ask tables; names_alone: a line of a text table needs no value."""
    if not names:
        return nothing
    tables = Tables(names, warn)
    if names_alone:
        return lambda key, partial: "" if tables.holds(key) else None
    return tables.look_up


def check_routing(config: Config) -> None:
    """Raise ConfigError for what nothing could be routed by."""
    for name, check in (
        ("local_transport", whole_transport),
        ("relay_transport", whole_transport),
        ("default_transport", whole_transport),
        ("relayhost", lambda text: check_nexthop("smtp", text)),
        ("smtp_fallback_relay", lambda names: check_nexthop("smtp", " ".join(names))),
        ("transport_maps", _check_transports),
        ("sender_dependent_relayhost_maps", check_tables),
        ("relay_domains", _check_domains),
    ):
        try:
            check(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def _check_transports(names: list[str]) -> None:
    """Also a transport in static: and inline: is known at start."""
    check_tables(names)
    for name in names:
        kind, rest = split_name(name)
        if kind == "static":
            parse_transport(rest.strip("{}"))


def _check_domains(names: list[str]) -> None:
    for name in names:
        if ":" in name and split_name(name)[0] not in _AT_HAND:
            raise ValueError(f"{name}: {', '.join(_AT_HAND)} may stand here")
        if "/" in name and ":" not in name:
            raise ValueError(f"{name}: a table is written type:/path")
    check_tables(name for name in names if ":" in name)
