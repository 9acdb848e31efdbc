"""The errors that sendmail(1) knows before it needs one; errors.py has all. Light: imported by sendmail(1)."""

from .exitcodes import EX_TEMPFAIL


class MailError(Exception):
    """An error with one clear line for a person and an exit code for a program."""

    exit_code = EX_TEMPFAIL


class SpoolError(MailError):
    """The spool is missing, has the wrong owner or mode, or cannot be written.

    no_way_in says that it is the caller who cannot put a file there; the submit socket may take the message.
    """

    no_way_in = False
