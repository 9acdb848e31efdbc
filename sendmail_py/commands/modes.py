"""The modes of sendmail(1) beside submission: each is started from here, and imports what it needs.

Light: imported by sendmail(1) for every mode but -bm.
"""

import posix

from ..core.exitcodes import EX_OK
from ..host.configuration import lenient, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sendmail_options import Options


def run(mode: str, directory: str, options: "Options") -> int:
    """Run a mode by its letter; returns the exit code. Raises MailError."""
    if mode in "dD":
        _daemon(directory, mode == "D")
    if mode == "s":
        return _smtp(options, directory)
    if mode == "r":
        return _rmail(directory, options)
    if mode == "v":
        return _verify(directory, options)
    if mode in "hH":
        return EX_OK  # no host status is kept: nothing to print, nothing to purge
    from . import other_modes

    return other_modes.run(mode, directory, options)


def _daemon(directory: str, foreground: bool) -> None:
    """Go on as `mailctl start`, under the interpreter that sees the dependencies."""
    from .interpreter import run_slow

    root = __file__.rpartition("/sendmail_py/commands/")[0]
    if root[:1] != "/":
        root = f"{posix.getcwd()}/{root}"
    run_slow(root, "mailctl", ["-c", directory, "start", *(["--foreground"] if foreground else [])])


def _verify(directory: str, options: "Options") -> int:
    from .verification import run

    run(directory, options)
    return EX_OK


def _rmail(directory: str, options: "Options") -> int:
    from .rmail import run

    run(directory, options)
    return EX_OK


def _smtp(options: "Options", directory: str) -> int:
    from .interrupted import watch
    from .sendmail import envelope_of, open_drop
    from .smtp_stdio import Session
    from .submit_rules import check

    check(directory)
    watch()
    config, _ = load(directory)
    hostname = str(lenient(config, "myhostname")) or posix.uname().nodename
    limit, minfree = int(lenient(config, "message_size_limit")), int(lenient(config, "queue_minfree"))
    top = str(lenient(config, "queue_directory"))
    session = Session(hostname, top, limit, minfree, lambda: open_drop(top, directory))
    code = session.run(lambda sender: envelope_of(options, sender, []), options.notify)
    if lenient(config, "daemonless"):
        from . import daemonless

        daemonless.deliver(directory)
    return code
