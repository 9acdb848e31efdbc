"""The environment of a program that gets a message: built from nothing, and safe for a shell.

No value keeps a character outside command_expansion_filter: the sender chose some of them, and a
script that forgets its quotes must not pay for it.
"""

import os

from ..core.address import Address
from ..core.config import Config
from ..core.delivery import Delivery
from ..core.envelope import Recipient
from ..core.params import BY_NAME
from ..formats.xtext import address_in
from ..host.programs import PATH
from ..host.users import User


def environment(delivery: Delivery, user: User | None, name: str, config: Config) -> dict[str, str]:
    """Return the variables for one message, by its first recipient.

    user is whose home and shell it is, None for a program that runs with default_privs. name is
    for USER and LOGNAME; "" takes it from the address, as an alias need not be the name of a user.
    """
    recipient = delivery.recipients[0]
    address = recipient.forward_path
    local, extension = address.local_part, recipient.extension
    name = name or (local[: -len(extension) - 1] if extension else local)
    values = {
        "USER": name,
        "LOGNAME": name,
        "SENDER": str(delivery.sender),
        "RECIPIENT": str(address),
        "LOCAL": local,
        "DOMAIN": address.domain,
        "EXTENSION": extension,
        "ORIGINAL_RECIPIENT": _original(recipient),
    }
    if user:
        values |= {"HOME": user.home, "SHELL": user.shell or "/bin/sh"}
    allowed = frozenset(str(config.command_expansion_filter))
    filtered = {name: "".join(c if c in allowed else "_" for c in value) for name, value in values.items() if value}
    return {"PATH": PATH, "SENDER": "", **_exported(config), **filtered}


def _original(recipient: Recipient) -> str:
    """Return the address that the message was first sent to, "" where the sender's ORCPT is none."""
    try:
        return str(Address.parse(address_in(recipient.original) or str(recipient.forward_path)))
    except ValueError:
        return ""


def _exported(config: Config) -> dict[str, str]:
    """Return what export_environment names: NAME of our own environment, or NAME=value.

    MAIL_CONFIG is the instance's own, so that a program that calls sendmail comes back here.
    """
    own = dict(os.environ)
    if config.config_directory != BY_NAME["config_directory"].default:
        own["MAIL_CONFIG"] = config.config_directory
    found = {}
    for item in config.export_environment:
        name, is_value, value = item.partition("=")
        if is_value:
            found[name] = value
        elif name in own:
            found[name] = own[name]
    return found
