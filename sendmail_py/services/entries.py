"""The recipients of a message, grouped into what goes to one destination at one time."""

from collections.abc import Callable

from ..core.envelope import MAILBOX
from ..core.route import LOCAL, MAILBOXES, Route
from .destination import Key
from .messages import Entry, Message

_Groups = dict[tuple[Key, str], list[tuple[int, Route]]]  # by destination and extension


def grouped(message: Message, routed: list[tuple[int, Route]], most: Callable[[str], int]) -> dict[Key, list[Entry]]:
    """Return the entries of a message by destination; most says how many recipients a transport takes at one time."""
    if len(routed) == 1:
        ((index, route),) = routed
        return {route.destination(): [Entry(message, [index], [route])]}
    groups: _Groups = {}
    for index, route in routed:
        groups.setdefault((route.destination(), route.extension), []).append((index, route))
    _join_real_users(groups)
    entries: dict[Key, list[Entry]] = {}
    for (key, _), rows in groups.items():
        # One mailbox gets one copy, whatever number of names it was addressed by; an extension may lead elsewhere.
        size = len(rows) if key[0] in MAILBOXES else most(key[0])
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            entries.setdefault(key, []).append(Entry(message, [i for i, _ in part], [r for _, r in part]))
    return entries


def _join_real_users(groups: _Groups) -> None:
    """Let \\bob go with bob, where a message has both: without a .forward they are one mailbox, and get one copy.

    Where the agent finds a .forward, \\bob is parted from bob again.
    """
    for (key, extension), rows in list(groups.items()):
        if key[0] == LOCAL and key[3] == MAILBOX:
            whole = groups.get(((*key[:3], ""), extension))
            if whole is not None:
                whole += rows
                del groups[key, extension]
