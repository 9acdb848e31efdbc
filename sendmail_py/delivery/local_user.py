"""Local delivery of a batch to one user: who is it, is it a loop, which mailbox.

Every recipient has a result when deliver() returns; when it raises Busy, none was delivered
and the same call can be made again.
"""

import os

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import DeliveryResult, deferred, delivered, failed
from ..host.privileges import effective
from ..host.users import User, UserCache
from . import mailbox, maildir
from .copy import ContentError, Copy
from .mailbox_lock import Busy

LOCK_FAILED = deferred("4.2.0", "unable to lock for exclusive access: Resource temporarily unavailable")


def deliver(deliveries: list[Delivery], name: str, users: UserCache, config: Config) -> None:
    """Deliver a batch to the user called name; raises Busy while the mailbox is locked."""
    try:
        user = users.find(name)
    except OSError as error:
        return end_all(deliveries, deferred("4.3.0", f'cannot look up user "{name}": {error.strerror}'))
    if user is None:
        return end_all(deliveries, failed("5.1.1", f'unknown user: "{name}"'))
    for delivery in deliveries:
        if delivery.verify:
            delivery.end_all(delivered("delivers to mailbox"))
    copies = _without_loops(deliveries)
    if not copies:
        return None
    if not config.home_mailbox:
        place = mailbox.Place(config.mail_spool_directory, user.name, in_spool=True)
        return mailbox.append(copies, user, place, config)
    if not _has_home(user):
        reason = f"home directory {user.home} of user {user.name} is not there"  # it may not be mounted yet
        return end_all(deliveries, deferred("4.2.0", reason))
    path = f"{user.home}/{config.home_mailbox}"
    if path.endswith("/"):
        return maildir.store(copies, user, path.rstrip("/"))
    directory, _, file_name = path.rpartition("/")
    return mailbox.append(copies, user, mailbox.Place(directory, file_name, in_spool=False), config)


def end_all(deliveries: list[Delivery], result: DeliveryResult) -> None:
    """Give every recipient without a result this one."""
    for delivery in deliveries:
        delivery.end_all(result)


def _without_loops(deliveries: list[Delivery]) -> list[Copy]:
    """Return one copy for each message that can be read and does not go in circles."""
    copies = []
    for delivery in deliveries:
        waiting = [n for n, result in enumerate(delivery.results) if result is None]
        if not waiting:
            continue  # ended before the mailbox was found locked
        try:
            copy = Copy(delivery, waiting)
            loops = copy.looping()
        except ContentError as error:
            delivery.end_all(error.result)
            continue
        for number in loops:
            address = delivery.recipients[number].forward_path
            delivery.results[number] = failed("5.4.6", f"mail forwarding loop for {address}")
        rest = [n for n in waiting if n not in loops]
        if rest:
            copy.address_to(rest)
            copies.append(copy)
    return copies


def _has_home(user: User) -> bool:
    with effective(user.uid, user.gid, list(user.groups)):
        return os.path.isdir(user.home)


__all__ = ["LOCK_FAILED", "Busy", "deliver", "end_all"]
