"""The exceptions that cross rooms. Light: imported by sendmail(1), where it needs one that is not in mail_error.py.

An exception here is for what the caller cannot go on with; a refused recipient is a
DeliveryResult, not an exception.
"""

from .exitcodes import EX_CONFIG, EX_DATAERR, EX_UNAVAILABLE, EX_USAGE
from .mail_error import MailError, SpoolError

__all__ = [
    "ConfigError",
    "Incomplete",
    "MailError",
    "MessageError",
    "NotAllowed",
    "QueueFileError",
    "SpoolError",
    "UsageError",
    "too_large",
]


class UsageError(MailError):
    """The command line cannot be understood."""

    exit_code = EX_USAGE


class ConfigError(MailError):
    """main.cf cannot be read or holds a bad value; the text names file and line."""

    exit_code = EX_CONFIG


class Incomplete(ConfigError):
    """No value is bad, but one needs something that is still missing: another parameter, or a user."""


class MessageError(MailError):
    """The message itself is not acceptable (too large, a line break in an address)."""

    exit_code = EX_DATAERR


class NotAllowed(MailError):
    """The rules of this system do not allow it to this user."""

    exit_code = EX_UNAVAILABLE


class QueueFileError(MailError):
    """A queue file is torn, malformed or of an unknown version."""


def too_large(limit: int) -> MessageError:
    """Return the error for a message over message_size_limit (exit 65)."""
    return MessageError(f"message is larger than message_size_limit ({limit} octets)")
