"""The start of sendmail(1), and the plain submission, which most mail of scripts and of cron is.

`sendmail -i [-f SENDER] RECIPIENT...` with addresses that need no reading, a main.cf without rules for who submits,
and a message that is read in a moment: that is done here, without the classes, tables and cases of all the rest,
which take as long as everything else that sendmail(1) does. The file is the one that sendmail.py would have written.
Whatever is not plain is left to sendmail.py, with what has been read of the message.

Guarantees: exit 0 means that the message is on disk and fsynced; any other exit means that nothing was kept. Light.
"""

import posix
import time

from ..core.essentials import DEFAULTS
from ..core.exitcodes import EX_SOFTWARE
from ..core.mail_error import MailError, SpoolError
from ..formats.queue_text import COMMAND_LIMIT, plain_head, submitter_line
from ..host.configuration_file import choose_directory, essentials
from ..spool.maildrop import Drop, check_space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeVar

    Result = TypeVar("Result")

_BLOCK = 65536
_SMALL = 262144
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+=@#$%&*!?^{|}~/"
_BODIES = ("7BIT", "8BITMIME")


def start(argv: "list[str]") -> "NoReturn":
    """Run sendmail, mailq or newaliases, by the name it was called by, and end the process."""
    begun = main(argv)
    from . import sendmail

    sendmail.main(argv, begun)


def main(argv: "list[str]") -> bytes:
    """Take a plain submission and end the process; else return what has been read of it, for sendmail.main()."""
    name = program(argv)
    begun = guarded(name, lambda: _begin(name, argv[1:]))
    if begun is None:
        posix._exit(0)
    return begun


def program(argv: "list[str]") -> str:
    """Return the name that sendmail was called by."""
    return argv[0].rpartition("/")[2].removesuffix(".sendmail-py")


def guarded(name: str, work: "Callable[[], Result]") -> "Result":
    """Return what work returns; an error of it ends the process, with one line and an exit code."""
    try:
        return work()
    except MailError as error:
        _say(f"{name}: {error}")
        code = error.exit_code
    except Exception as error:  # a defect of ours: nothing was accepted, say so in one line
        _say(f"{name}: internal error: {type(error).__name__}: {error}")
        code = EX_SOFTWARE
    except BaseException as stop:  # a signal: what had been written is gone again
        from .interrupted import end

        end(stop)
        code = EX_SOFTWARE
    posix._exit(code)


def _say(text: str) -> None:
    try:
        posix.write(2, text.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass


def open_standard_descriptors() -> None:
    """Open 0, 1 and 2 on /dev/null where the caller closed them, or a queue file would get their number.

    A chroot may have no /dev/null: there the caller must have opened all three.
    """
    try:
        descriptor = posix.open("/dev/null", posix.O_RDWR)
    except OSError as error:
        try:
            for descriptor in (0, 1, 2):
                posix.fstat(descriptor)
        except OSError:
            raise SpoolError(f"/dev/null: {error.strerror}, and a standard descriptor is closed") from error
        return
    while descriptor <= 2:
        posix.set_inheritable(descriptor, True)  # what is executed from here has them, too
        descriptor = posix.dup(descriptor)
    posix.close(descriptor)


# --- the plain submission ----------------------------------------------------------------------


def _begin(name: str, words: "list[str]") -> "bytes | None":
    """Submit a plain message: None; else return what has been read of it."""
    open_standard_descriptors()
    asked = read_words(words) if name == "sendmail" else None
    if asked is None:
        return b""
    directory = choose_directory()
    settings = essentials(directory)
    top, limit, minfree = settings["queue_directory"], settings["message_size_limit"], settings["queue_minfree"]
    for rule in ("local_submission_rate_limit", "authorized_submit_users", "daemonless"):
        if settings[rule] != DEFAULTS[rule]:
            return b""
    if not ((limit + minfree).isascii() and limit.isdigit() and minfree.isdigit()):
        return b""
    check_space(top, int(limit), int(minfree))
    data = read_block()
    while data and len(data) < _SMALL and (more := read_block()):
        data += more
    if len(data) >= _SMALL or 0 < int(limit) < len(data):
        return data
    text = plain_head(time.time_ns() // 1000, submitter(), *asked, len(data)) + data
    try:
        drop = Drop(top)
    except SpoolError as error:
        if error.no_way_in:
            return data
        raise
    try:
        drop.write(text)
    except BaseException:
        drop.abandon()
        raise
    drop.finish()
    drop.announce()
    return None


def read_words(words: "list[str]") -> "tuple[str | None, list[str], str, str] | None":
    """Return sender, recipients, body type and full name; None where the command line says more than a plain one."""
    sender, body, full_name, ignores_dots = None, "", "", False
    left = iter(words)
    recipients: list[str] = []
    for word in left:
        if word[:1] != "-" or word == "-":
            recipients = [word, *left]
        elif word == "-i" or word[:3] == "-oi":
            ignores_dots = True
        elif word == "--":
            recipients = [*left]
        elif word[1:2] in ("f", "r"):
            sender = word[2:] or next(left, "")
        elif word[1:2] == "F" and len(word) > 2:
            full_name = word[2:]
        elif word[1:2] == "B" and word[2:] in _BODIES:
            body = word[2:]
        elif word != "-bm" and word[:3] not in ("-oe", "-om"):
            return None
    # Two spellings of one address get one copy, and which of them is for the other path to say.
    if not (ignores_dots and recipients) or len(set(map(str.lower, recipients))) < len(recipients):
        return None
    for text in recipients if sender is None else (sender, *recipients):
        if not is_plain(text) or text[0] == "." or ".@" in text or ".." in text or text[-1] == ".":
            return None
    return sender, recipients, body, full_name


def is_plain(text: str) -> bool:
    """Say whether a text is an address that needs no reading: local part, @, and domain of ordinary characters."""
    local_part, at, domain = text.partition("@")
    if not local_part or text.strip(_PLAIN):
        return False
    return not at or (bool(domain) and "@" not in domain and ".." not in domain and "." not in (domain[0], domain[-1]))


# --- what both kinds of submission ask of the system -------------------------------------------


def read_block() -> bytes:
    """Return the next octets of stdin, none at its end; raises SpoolError."""
    try:
        return posix.read(0, _BLOCK)
    except OSError as error:
        raise SpoolError(f"standard input: {error.strerror}") from error


def submitter() -> str:
    """Return the line of the queue file that says who submits."""
    return submitter_line(posix.getuid(), "", posix.getpid(), working_directory(), callers_command())


def working_directory() -> str:
    """Return where we run; "" where that has no name for us."""
    try:
        return posix.getcwd()
    except OSError:
        return ""


def callers_command() -> str:
    """Return the command line of the process that called us: a claim, for root's eyes."""
    try:
        descriptor = posix.open(f"/proc/{posix.getppid()}/cmdline", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(descriptor, COMMAND_LIMIT)
        finally:
            posix.close(descriptor)
    except OSError:
        return ""
    return data.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")
