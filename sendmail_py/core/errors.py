"""The exceptions that cross rooms. Light: imported by sendmail(1).

An exception here is for what the caller cannot go on with; a refused recipient is a
DeliveryResult, not an exception.
"""

from .exitcodes import EX_CONFIG, EX_DATAERR, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE


class MailError(Exception):
    """An error with one clear line for a person and an exit code for a program."""

    exit_code = EX_TEMPFAIL


class UsageError(MailError):
    """The command line cannot be understood."""

    exit_code = EX_USAGE


class ConfigError(MailError):
    """main.cf cannot be read or holds a bad value; the text names file and line."""

    exit_code = EX_CONFIG


class MessageError(MailError):
    """The message itself is not acceptable (too large, a line break in an address)."""

    exit_code = EX_DATAERR


class NotAllowed(MailError):
    """The rules of this system do not allow it to this user."""

    exit_code = EX_UNAVAILABLE


class QueueFileError(MailError):
    """A queue file is torn, malformed or of an unknown version."""


class SpoolError(MailError):
    """The spool is missing, has the wrong owner or mode, or cannot be written."""


class NoWayIn(SpoolError):
    """The caller cannot put a file into the spool; the submit socket may take the message."""
