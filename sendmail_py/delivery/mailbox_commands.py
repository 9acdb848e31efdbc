"""The program that takes a user's mail instead of the mailbox: mailbox_command_maps, then mailbox_command.

The tables are read with the rights of mail_owner, so that the agent reads nothing as root for them,
and only kinds that need no other program or library may stand there.
"""

import os
import pwd
from collections.abc import Callable

from ..core.config import Config
from ..core.result import Settled, deferred
from ..formats import macros
from ..formats.tables import TEXT_TYPES, LookUp, nothing, split_name
from ..host.privileges import acts_for_others, effective
from ..host.users import User

_KINDS = (*TEXT_TYPES, "inline", "static")
_MACROS = ("home", "user", "shell")


class MailboxCommands:
    """The programs of one configuration."""

    def __init__(self, config: Config, warn: Callable[[str], None]) -> None:
        self._command: str = config.mailbox_command
        self._owner: str = config.mail_owner
        self._look_up: LookUp = nothing
        if config.mailbox_command_maps:
            from ..host.tables import Tables  # most instances do without

            self._look_up = Tables(config.mailbox_command_maps, warn).look_up

    def line_for(self, user: User) -> str:
        """Return the command line for a user, "" for none; raises Settled. Root's mail goes to a mailbox."""
        if user.uid == 0:
            return ""
        if self._look_up is nothing:
            return self._command
        try:
            owner = pwd.getpwnam(self._owner) if acts_for_others() else pwd.getpwuid(os.getuid())
            with effective(owner.pw_uid, owner.pw_gid, [owner.pw_gid]):
                return self._look_up(user.name, False) or self._command
        except (OSError, KeyError) as error:
            raise Settled(deferred("4.3.0", f"mailbox_command_maps: {error}")) from error


def check_command_maps(names: list[str]) -> None:
    """Raise ValueError for a table that may not stand in mailbox_command_maps."""
    for name in names:
        if split_name(name)[0] not in _KINDS:
            raise ValueError(f"{name}: {', '.join(_KINDS)} may stand here")


def check_directory(text: str) -> None:
    """Raise ValueError for a command_execution_directory that cannot be understood."""
    try:
        path = macros.expand(text, dict.fromkeys(_MACROS, "/x"))
    except macros.Undefined as error:
        raise ValueError(f"{text}: there is no macro {error}") from error
    if path and not path.startswith("/"):
        raise ValueError(f"{text}: an absolute path is needed")


def directory_of(text: str, user: User, is_default: bool) -> str:
    """Return the directory that a user's programs run in by command_execution_directory, "" where it says nothing."""
    home = "" if is_default else user.home
    try:
        return macros.expand(text, {"home": home, "user": user.name, "shell": user.shell})
    except ValueError:
        return ""
