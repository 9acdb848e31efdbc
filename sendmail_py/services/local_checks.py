"""The parameters of local delivery that must make sense before the services start."""

import os
import pwd
from collections.abc import Callable
from typing import Any

from ..core.config import Config
from ..core.errors import ConfigError
from ..delivery.forward import check_path
from ..delivery.mailbox_commands import check_command_maps, check_directory
from ..formats.aliases import Target, parse_list
from ..host.alias_files import source_of
from ..routing.expand import ALIAS, FORWARD, INCLUDE
from ..routing.resolve import transport_of
from .recipient_maps import local_recipients
from .routes import routing_without_tables

_PLACES = (ALIAS, FORWARD, INCLUDE)


def check_local(config: Config) -> None:
    """Raise ConfigError for a value that local delivery cannot use."""
    for name in ("alias_maps", "alias_database"):
        _check(config, name, lambda sources: [source_of(source) for source in sources])
    for name in ("allow_mail_to_commands", "allow_mail_to_files"):
        for word in getattr(config, name):
            if word not in _PLACES:
                raise ConfigError(f"{config.origin(name)}: {name}: {word}: {', '.join(_PLACES)} may stand here")
    for name in ("mailbox_transport", "fallback_transport"):
        _check(config, name, transport_of)
    _check(config, "luser_relay", luser_targets)
    routing = routing_without_tables(config)
    _check(config, "local_recipient_maps", lambda _: local_recipients(config, routing))
    _check(config, "forward_path", check_path)
    _check(config, "mailbox_command_maps", check_command_maps)
    _check(config, "command_execution_directory", check_directory)
    _check(config, "local_command_shell", check_shell)
    if os.getuid() == 0 and config.origin("default_privs") != "default":
        _check(config, "default_privs", lambda name: _rights(name, config.mail_owner))


def check_shell(text: str) -> None:
    """Raise ValueError for a shell that is not named by its path."""
    if text and not text.startswith("/"):
        raise ValueError(f"{text}: an absolute path is needed")


def luser_targets(text: str) -> list[Target]:
    """Return the targets that luser_relay names; raises ValueError where they are no addresses."""
    targets = parse_list(text)
    if any(target.address is None for target in targets):
        raise ValueError("addresses alone may stand here")
    return targets


def _rights(name: str, mail_owner: str) -> None:
    """Refuse rights that no program of an alias should have."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"{name}: no such user") from None
    if uid == 0 or name == mail_owner:
        raise ValueError(f"{name}: an ordinary user is needed, who owns nothing")


def _check(config: Config, name: str, check: Callable[[Any], object]) -> None:
    try:
        check(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
