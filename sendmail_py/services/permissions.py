"""Which users may do what, by the lists of main.cf: authorized_submit_users, _mailq_users and _flush_users.

Root and the user of the services may always look at the queue and flush it. A list that lets
everybody pass costs no look-up.
"""

from collections.abc import Iterable

from ..core.access_list import UNKNOWN, is_allowed, is_for_everybody
from ..core.config import Config
from ..host.configuration_file import read_text
from ..host.sockets import may_steer
from ..host.users import UidCache

_VIEW = ("authorized_mailq_users", "view the mail queue")
_LISTS = {"list": _VIEW, "count": _VIEW, "flush": ("authorized_flush_users", "flush the mail queue")}


def denial(patterns: list[str], uid: int, users: UidCache, what: str) -> str:
    """Return why a user may not do something, "" when he may; raises OSError when that cannot be told now."""
    if is_for_everybody(patterns):
        return ""
    user = users.find(uid)
    name = user.name if user else UNKNOWN
    return "" if is_allowed(patterns, name, read_text) else f"User {name}({uid}) is not allowed to {what}"


class Permissions:
    """What may be asked of qmgr, by whom."""

    def __init__(self, config: Config, open_to_all: Iterable[str] = ()) -> None:
        self._config = config
        self._open = frozenset(open_to_all)
        self._users = UidCache()

    def refusal(self, verb: str, uid: int) -> dict[str, object] | None:
        """Return the answer to who may not ask this; "denied" says that only root may, ever."""
        if may_steer(uid) or verb in self._open:
            return None
        if verb not in _LISTS:
            return {"error": f"{verb}: permission denied", "denied": True}
        parameter, what = _LISTS[verb]
        try:
            text = denial(getattr(self._config, parameter), uid, self._users, what)
        except OSError as error:
            text = f"{parameter} cannot be checked now: {error}"
        return {"error": text, "unlisted": True} if text else None
