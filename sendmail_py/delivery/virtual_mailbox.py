"""Delivery into a virtual mailbox: that of an address instead of a user, with the rights of a fixed uid.

Whoever named the mailbox, it is below virtual_mailbox_base, and its uid is at least virtual_minimum_uid
and never root's; otherwise the mail waits. The file or Maildir is opened under the same rules as a user's.
"""

import os
import zlib

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import deferred
from ..host.privileges import acts_for_others
from ..host.users import User
from . import mailbox
from .copy import copy_of
from .local_user import end_all, no_files, store

_LONGEST_NAME = 100


def deliver(deliveries: list[Delivery], address: str, uid: int, target: str, config: Config) -> None:
    """Deliver to the mailbox of an address; target is as in core/route. Raises Busy while it is locked."""
    number, _, path = target.partition(":")
    base = config.virtual_mailbox_base.rstrip("/")
    gid = int(number) if number.isdecimal() else 0
    if uid < max(1, config.virtual_minimum_uid) or gid < 1:
        what = f"{address}: uid {uid} gid {number} is not one that mailboxes may have"
        return end_all(deliveries, deferred("4.3.5", what))
    if not base.startswith("/") or not is_below(path, base):
        return end_all(deliveries, deferred("4.3.5", f"{address}: its mailbox is not below virtual_mailbox_base"))
    if os.getuid() == 0 and not acts_for_others():
        return end_all(deliveries, no_files(path))
    user = User(_short(address), uid, gid, base, "", "", (gid,))
    if path.endswith("/"):
        return store(deliveries, user, path.rstrip("/"), config.maildir_extension_folders, base)
    copies = [copy for delivery in deliveries if (copy := copy_of(delivery)) is not None]
    directory, _, name = path.rpartition("/")
    if copies:
        mailbox.append(copies, user, mailbox.Place(directory, name, in_spool=False, is_virtual=True), config)
    return None


def is_below(path: str, base: str) -> bool:
    """Say whether a path is below a directory and stays there, links aside."""
    words = path.removesuffix("/").removeprefix(f"{base}/").split("/")
    return path.startswith(f"{base}/") and all(words) and not {".", ".."} & set(words) and "\0" not in path


def _short(address: str) -> str:
    """Return a name for an address that fits into that of a file, and is another one for another address."""
    octets = address.encode("utf-8", "surrogateescape")
    if len(octets) <= _LONGEST_NAME:
        return address
    return f"{address[:40]}~{zlib.crc32(octets):08x}"
