"""qmgr's word to who brings mail in: slower, please. A file that is there or not, in lock/.

pickup and smtpd then wait in_flow_delay before each message. A qmgr that starts takes the word back.
"""

import contextlib
import os

from .layout import LOCK

_NAME = "slow"


def say(top: str, is_slow: bool) -> None:
    """Give the word, or take it back; raises OSError."""
    path = f"{top}/{LOCK}/{_NAME}"
    if is_slow:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def is_slow(top: str) -> bool:
    """Say whether mail is to come in slowly now."""
    return os.access(f"{top}/{LOCK}/{_NAME}", os.F_OK)
