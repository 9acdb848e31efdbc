"""Routing with its tables: transport_maps, sender_dependent_relayhost_maps, relay_domains, virtual domains.

check_routing() runs before the services start: a transport that there is not, or a type of table
that is not known, is an error there.
"""

from collections.abc import Callable
from typing import Any

from ..core.config import Config
from ..core.errors import ConfigError, Incomplete
from ..core.route import VIRTUAL
from ..formats.tables import TEXT_TYPES, LookUp, known_values, nothing, split_name
from ..host.read_file import Warn
from ..routing.resolve import Routing
from ..routing.transport import Maps, check_nexthop, parse_transport, transports_named, whole_transport
from ..routing.virtual import VirtualMaps

_AT_HAND = (*TEXT_TYPES, "inline", "static")  # the SMTP server asks these in its loop
_WITH_DOMAINS = (*_AT_HAND, "sqlite")
_OF_MAILBOXES = ("virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps")


def routing_of(config: Config, warn: Warn) -> Routing:
    """Return the routing of a configuration; raises ValueError."""
    virtual = virtual_maps(config, warn)
    if not (config.transport_maps or config.sender_dependent_relayhost_maps or config.relay_domains):
        return Routing(config, Maps(virtual=virtual))
    maps = Maps(
        look_up(config.transport_maps, warn, has_groups=False),
        look_up(config.sender_dependent_relayhost_maps, warn, has_groups=False),
        look_up([name for name in config.relay_domains if ":" in name], warn, names_alone=True),
        virtual,
    )
    return Routing(config, maps)


def routing_without_tables(config: Config) -> Routing:
    """Return the routing as far as main.cf alone decides it; raises ConfigError, which names the parameter."""
    try:
        return Routing(config)
    except ValueError:
        check_routing(config)
        raise


def virtual_maps(config: Config, warn: Warn) -> VirtualMaps:
    """Return the tables of virtual domains; raises ValueError."""
    return VirtualMaps(
        look_up(config.virtual_alias_maps, warn),
        look_up(_tables_of_domains(config.virtual_alias_domains), warn, names_alone=True),
        look_up(_tables_of_domains(config.virtual_mailbox_domains), warn, names_alone=True),
        *(look_up(getattr(config, name), warn, has_groups=False) for name in _OF_MAILBOXES),
    )


def _tables_of_domains(names: list[str]) -> list[str]:
    """Return the tables in a list of domains; patterns for addresses, which the defaults bring along, are none."""
    return [name for name in names if ":" in name and split_name(name)[0] in _WITH_DOMAINS]


def look_up(names: list[str], warn: Warn, names_alone: bool = False, has_groups: bool = True) -> LookUp:
    """Return how to ask tables; names_alone: a line of a text table needs no value.

    has_groups=False: no part of a key may come into a value.
    """
    if not names:
        return nothing
    from ..host.tables import Tables  # it costs a megabyte, and most instances have no tables

    tables = Tables(names, warn, has_groups)
    if names_alone:
        return lambda key, partial: "" if tables.holds(key) else None
    return tables.look_up


def check_tables(names: list[str], has_groups: bool = True) -> None:
    """Raise ValueError for a name of a table that can never work, and for a pattern table with a fault."""
    if names:
        from ..host import tables

        tables.check_tables(names, has_groups)


def check_routing(config: Config) -> None:
    """Raise ConfigError for what nothing could be routed by."""
    checks: list[tuple[str, Callable[[Any], object]]] = [
        ("mydestination", check_names),
        ("defer_transports", transports_named),
        ("local_transport", whole_transport),
        ("relay_transport", whole_transport),
        ("default_transport", whole_transport),
        ("relayhost", lambda text: check_nexthop("smtp", text)),
        ("smtp_fallback_relay", lambda names: check_nexthop("smtp", " ".join(names))),
        ("transport_maps", _check_transports),
        ("sender_dependent_relayhost_maps", lambda names: check_tables(names, has_groups=False)),
        ("relay_domains", _check_domains),
        ("virtual_transport", whole_transport),
        ("virtual_alias_maps", check_tables),
        *((name, lambda names: check_tables(names, has_groups=False)) for name in _OF_MAILBOXES),
        *((name, _check_virtual_domains) for name in ("virtual_alias_domains", "virtual_mailbox_domains")),
    ]
    for name, check in checks:
        try:
            check(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
    is_ours = config.virtual_mailbox_maps and whole_transport(config.virtual_transport)[0] == VIRTUAL
    if is_ours and not config.virtual_mailbox_base.startswith("/"):
        raise Incomplete(f"{config.origin('virtual_mailbox_maps')}: virtual_mailbox_base: an absolute path is needed")


def check_names(names: list[str]) -> None:
    """Raise ValueError for a table, or a file, in a list of which no entry is looked up: it would never fit."""
    for name in names:
        if "/" in name or (":" in name and name[:1] != "["):
            raise ValueError(f"{name}: names alone may stand here, no file and no table")


def _check_transports(names: list[str]) -> None:
    """Also a transport in static: and inline: is known at start."""
    check_tables(names, has_groups=False)
    for name in names:
        kind, rest = split_name(name)
        for value in known_values(kind, rest):
            parse_transport(value)


def _check_virtual_domains(names: list[str]) -> None:
    for name in names:
        if "/" in name and ":" not in name:
            raise ValueError(f"{name}: a table is written type:/path")
    check_tables([name for name in names if ":" in name])


def _check_domains(names: list[str]) -> None:
    for name in names:
        if ":" in name and split_name(name)[0] not in _AT_HAND:
            raise ValueError(f"{name}: {', '.join(_AT_HAND)} may stand here")
        if "/" in name and ":" not in name:
            raise ValueError(f"{name}: a table is written type:/path")
    check_tables([name for name in names if ":" in name])
