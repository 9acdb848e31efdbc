"""What sendmail(1) asks before it reads a message: authorized_submit_users and local_submission_rate_limit.

pickup enforces both, whatever a caller does; here a user hears of it at once, in one line.
Imported only where main.cf sets one of them, and by -bs.
"""

import os
import time

from ..core.access_list import UNKNOWN, is_allowed, is_for_everybody
from ..core.config import Config
from ..core.errors import NotAllowed, SpoolError
from ..host.configuration import lenient, load
from ..host.configuration_file import read_text
from ..spool.blocked import blocked_until


def check(directory: str) -> None:
    """Raise NotAllowed (exit 69), or SpoolError (75) when the caller may try again later."""
    config, _ = load(directory)
    uid = os.geteuid()
    patterns = lenient(config, "authorized_submit_users")
    if not is_for_everybody(patterns):
        _check_list(patterns, uid)
    if lenient(config, "local_submission_rate_limit"):
        _check_rate(config, uid)


def _check_list(patterns: list[str], uid: int) -> None:
    from ..host.users import by_uid

    try:
        user = by_uid(uid)
        name = user.name if user else UNKNOWN
        allowed = is_allowed(patterns, name, read_text)
    except OSError as error:
        raise SpoolError(f"authorized_submit_users cannot be checked now: {error}") from error
    except ValueError:
        return  # a typo in main.cf: the services do not start with it, and mail is not lost to it
    if not allowed:
        raise NotAllowed(f"User {name}({uid}) is not allowed to submit mail")


def _check_rate(config: Config, uid: int) -> None:
    until = blocked_until(str(lenient(config, "queue_directory")), uid)
    if until > time.time():
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until))
        limit = lenient(config, "local_submission_rate_limit")
        raise SpoolError(
            f"user {uid} has reached local_submission_rate_limit = {limit} (messages/recipients an hour); "
            f"try again after {clock}"
        )
