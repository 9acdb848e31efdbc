"""Local delivery as a list of decisions: who it is, where the mail goes, with whose rights.

The service asks these questions in the order of docs/local-delivery.md. What cannot go on raises
Settled with the result for everyone; Busy means that a lock is held, nothing was delivered, and
the same call can be made again.
"""

import os

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Settled, deferred, failed
from ..host.privileges import acts_for_others, effective
from ..host.programs import Command
from ..host.users import UidCache, User, UserCache
from . import mailbox, maildir
from .copy import Copy, copy_of
from .environment import environment
from .mailbox_commands import directory_of
from .mailbox_lock import Busy

LOCK_FAILED = deferred("4.2.0", "unable to lock for exclusive access: Resource temporarily unavailable")


class Users:
    """Who is who on this host, and whose rights apply."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._names = UserCache()
        self._uids = UidCache()

    def recipient(self, name: str) -> User | None:
        """Return the user that mail is for, None when there is no such user; raises Settled."""
        try:
            return self._names.find(name)
        except OSError as error:
            raise Settled(deferred("4.3.0", f'cannot look up user "{name}": {error.strerror}')) from error

    def rights(self, uid: int) -> tuple[User, bool]:
        """Return with whose rights a target of this uid is used, and whether it is default_privs; raises Settled.

        Nothing of root's is used as root. An instance of one ordinary user has only that user's rights.
        """
        uid = uid if os.getuid() == 0 else os.getuid()
        name = self._config.default_privs if uid in (-1, 0) else ""
        try:
            user = self._names.find(name) if name else self._uids.find(uid)
        except OSError as error:
            raise Settled(deferred("4.3.0", f"cannot look up {name or f'uid {uid}'}: {error.strerror}")) from error
        if user is None:
            raise Settled(deferred("4.3.5", f"there is no user {name or f'with uid {uid}'} whose rights apply"))
        return user, bool(name)


def check_home(user: User, config: Config) -> None:
    """Raise Settled where a home directory is required and not there."""
    if config.require_home_directory and not _has_home(user):
        raise Settled(_no_home(user))


def to_mailbox(deliveries: list[Delivery], user: User, config: Config) -> None:
    """Deliver to the user's mailbox; raises Busy while it is locked."""
    if not config.home_mailbox or user.uid == 0:
        place = mailbox.Place(config.mail_spool_directory, user.name, in_spool=True)
        return _append(deliveries, user, place, config)
    if not _has_home(user):
        return end_all(deliveries, _no_home(user))  # it may not be mounted yet
    path = f"{user.home}/{config.home_mailbox}"
    if path.endswith("/") and (os.getuid() != 0 or acts_for_others()):
        return store(deliveries, user, path.rstrip("/"), config.maildir_extension_folders)
    return to_file(deliveries, user, path, config)


def to_file(deliveries: list[Delivery], user: User, path: str, config: Config) -> None:
    """Append to a file with this user's rights, or store in a Maildir (path/); raises Busy while it is locked."""
    if os.getuid() == 0 and not acts_for_others():
        return end_all(deliveries, no_files(path))
    if path.endswith("/"):
        return store(deliveries, user, path.rstrip("/"), has_folders=False)
    directory, _, file_name = path.rpartition("/")
    return _append(deliveries, user, mailbox.Place(directory or "/", file_name, in_spool=False), config)


def store(deliveries: list[Delivery], user: User, path: str, has_folders: bool, base: str = "") -> None:
    """Store in the Maildir at path, or in those of its folders that the extensions of the recipients name."""
    copies: dict[str, list[Copy]] = {}
    for delivery in deliveries:
        copy = copy_of(delivery)
        if copy is not None:
            extension = copy.delivery.recipients[copy.numbers[0]].extension if has_folders else ""
            copies.setdefault(extension, []).append(copy)
    for extension, some in copies.items():
        folder = maildir.folder_of(extension, user, path) if extension else ""
        maildir.store(some, user, f"{path}/{folder}" if folder else path, base)


def _append(deliveries: list[Delivery], user: User, place: mailbox.Place, config: Config) -> None:
    copies = [copy for delivery in deliveries if (copy := copy_of(delivery)) is not None]
    if copies:
        mailbox.append(copies, user, place, config)


def command(delivery: Delivery, line: str, user: User, is_default: bool, name: str, config: Config) -> Command:
    """Return the program to run for a message: as this user, in the user's home (default_privs: in /).

    command_execution_directory names another directory, which must be there then.
    All programs of a user have one share, and each of those that the administrator names has its own.
    """
    variables = environment(delivery, None if is_default else user, name, config)
    share = line if is_default or not acts_for_others() else ""
    named = directory_of(config.command_execution_directory, user, is_default)
    directory = named or ("/" if is_default else user.home)
    limit, shell = config.mailbox_size_limit, config.local_command_shell
    return Command(line, variables, directory, user, limit, share, bool(named), shell)


def unknown(name: str) -> DeliveryResult:
    """Return the result for a name that is no user."""
    return failed("5.1.1", f'unknown user: "{name}"')


def no_files(path: str) -> DeliveryResult:
    """Return the result for a file where nobody's rights but root's could be used."""
    return deferred("4.3.5", f"{path}: an instance that root runs for itself writes to no files")


def end_all(deliveries: list[Delivery], result: DeliveryResult) -> None:
    """Give every recipient without a result this one."""
    for delivery in deliveries:
        delivery.end_all(result)


def _has_home(user: User) -> bool:
    with effective(user.uid, user.gid, list(user.groups)):
        return os.path.isdir(user.home)


def _no_home(user: User) -> DeliveryResult:
    return deferred("4.2.0", f"home directory {user.home} of user {user.name} is not there")


__all__ = [
    "LOCK_FAILED",
    "Busy",
    "Users",
    "check_home",
    "command",
    "end_all",
    "no_files",
    "store",
    "to_file",
    "to_mailbox",
    "unknown",
]
