"""The host around the mail system: its clock, other mail systems, the name by which programs call ours, SELinux."""

import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ....core.config import Config
from ....core.essentials import CONFIG_DIRECTORY
from .finding import Finding, error, warning
from .packages import removing_owner

_FIRST_YEAR = 2026
_TIME_ERROR = 5
_QUEUES = {
    "Postfix": ("var/spool/postfix", ("maildrop", "incoming", "active", "deferred", "hold"), "postqueue -f"),
    "Exim": ("var/spool/exim4", ("input",), "exim4 -qff"),
    "sendmail": ("var/spool/mqueue", (".",), "/usr/sbin/sendmail-mta -q"),
    "sendmail (submission)": ("var/spool/mqueue-client", (".",), "/usr/sbin/sendmail-mta -Ac -q"),
}
_UNITS = ("postfix", "exim4", "exim", "sendmail", "opensmtpd", "smtpd", "nullmailer", "masqmail", "courier-mta")
_OF_ALTERNATIVES = ("usr/sbin/sendmail.sendmail-py", "usr/bin/sendmail.sendmail-py")
_WEB_SERVERS = ("usr/sbin/httpd", "usr/sbin/nginx", "usr/sbin/php-fpm")


def check(config: Config) -> Iterator[Finding]:
    """Yield what is wrong with the host; another mail system matters to the system's instance alone."""
    yield from clock(time.time(), is_clock_set())
    if config.config_directory == CONFIG_DIRECTORY:
        yield from other_systems(Path("/"))
        yield from name_sendmail(Path("/"))
        yield from selinux(Path("/"))


def is_clock_set() -> bool:
    """Say whether the kernel takes its clock for right; where that cannot be told it is."""
    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _TIME_ERROR)
    except (OSError, AttributeError):
        return True


def clock(now: float, is_set: bool) -> Iterator[Finding]:
    """Yield what is wrong with a clock: retries, expiry, certificates and tokens go by it."""
    if time.gmtime(now).tm_year < _FIRST_YEAR:
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        yield error(f"the clock says {day}: certificates and tokens are refused", "timedatectl set-ntp true")
    elif not is_set:
        yield warning("the clock is not synchronised with any other", "timedatectl set-ntp true")


def other_systems(root: Path) -> Iterator[Finding]:
    """Yield what another mail system has left: mail in its queue, a start at boot."""
    for name, (top, directories, run) in _QUEUES.items():
        count = sum(_files(root / top / directory) for directory in directories)
        if count:
            text = f"{count} file{'' if count == 1 else 's'} in the queue of {name}, /{top}: that mail waits for ever"
            yield warning(text, f"{run}; ls -R /{top}")
    for unit in sorted((root / "etc/systemd/system").glob("*.wants/*.service")):
        if unit.name.partition("@")[0].removesuffix(".service") in _UNITS:
            text = f"{unit.name} is started at boot, too: who comes first has the ports"
            yield warning(text, f"systemctl disable --now {unit.name}")


def name_sendmail(root: Path) -> Iterator[Finding]:
    """Yield why programs that call sendmail do not call ours."""
    program = root / "usr/sbin/sendmail"
    if not program.exists():
        remove = "rm /usr/sbin/sendmail; " if program.is_symlink() else ""
        yield warning("/usr/sbin/sendmail is not there: what calls it cannot send mail", f"{remove}mailctl setup")
    elif not _is_ours(program):
        real = os.path.realpath(program)
        text = f"/usr/sbin/sendmail is another program ({real}): what calls it does not call us"
        yield warning(text, _take_over(root, real))


def _take_over(root: Path, other: str) -> str:
    """Return the commands that give us the name of another program."""
    for path in _OF_ALTERNATIVES:
        if (root / path).exists():
            return f"alternatives --set mta /{path}"
    remove = removing_owner(other, root) or "mv /usr/sbin/sendmail /usr/sbin/sendmail.old"
    return f"{remove}; mailctl setup"


def _files(directory: Path) -> int:
    try:
        return sum(1 for path in directory.rglob("*") if path.is_file())
    except OSError:
        return 0


def _is_ours(program: Path) -> bool:
    try:
        with open(program, "rb") as file:
            return b"sendmail_py" in file.read(8192)
    except OSError:
        return True


def selinux(root: Path) -> Iterator[Finding]:
    """Yield the boolean that keeps web applications from sendmail, where SELinux enforces and there is a web server."""
    policy = root / "sys/fs/selinux"
    try:
        enforces = (policy / "enforce").read_text().strip() == "1"
        is_on = (policy / "booleans/httpd_can_sendmail").read_text()[:1] == "1"
    except OSError:
        return
    if enforces and not is_on and any((root / path).exists() for path in _WEB_SERVERS):
        text = "SELinux keeps web applications from sending mail (httpd_can_sendmail is off)"
        yield warning(text, "setsebool -P httpd_can_sendmail on")
