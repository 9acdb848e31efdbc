"""Reading main.cf from its directory, with the facts that only the machine knows.

Light: imported by sendmail(1). The directory is chosen by the caller (-C, -c), else by
MAIL_CONFIG, else /etc/sendmail-py.
"""

import errno
import posix

from ..core.config import Config, Setting
from ..core.errors import ConfigError, SpoolError
from ..core.params import BY_NAME
from ..formats import main_cf

DEFAULT_DIRECTORY = BY_NAME["config_directory"].default
_LIMIT = 1 << 20
_OF_CONFIGURATION = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP)


def choose_directory(option: str = "") -> str:
    """Return the configuration directory: the option, MAIL_CONFIG, or the default.

    An option that is no directory is ignored, as sendmail -C /etc/mail/other.cf has to be.
    """
    if option and _is_directory(option):
        return option
    named = posix.environ.get(b"MAIL_CONFIG", b"").decode("utf-8", "surrogateescape")
    return named or DEFAULT_DIRECTORY


def load(directory: str, overrides: "dict[str, str] | None" = None) -> "tuple[Config, list[str]]":
    """Read directory/main.cf; returns the Config and complaints about lines it could not read.

    Raises ConfigError when a directory other than the default one holds no main.cf, SpoolError
    when the disk fails.
    """
    if directory[:1] != "/":
        directory = f"{posix.getcwd()}/{directory}"
    path = directory + "/main.cf"
    try:
        text = read_text(path)
    except OSError as error:
        if error.errno not in _OF_CONFIGURATION:
            raise SpoolError(f"{path}: {error.strerror}") from error  # the disk's fault: try again (75)
        if directory != DEFAULT_DIRECTORY or error.errno != errno.ENOENT:
            raise ConfigError(f"{path}: {error.strerror}") from error
        text = ""
    settings, complaints = main_cf.parse(text, path)
    if "config_directory" in settings:
        complaints.append(f"{settings['config_directory'].origin}: config_directory cannot be set in main.cf")
    settings["config_directory"] = Setting(directory, "-c")
    for name, value in (overrides or {}).items():
        settings[name] = Setting(value, "-o")
    return from_settings(settings), complaints


def from_settings(settings: "dict[str, Setting]") -> Config:
    """Make a Config whose defaults know this machine."""
    config = Config(
        settings, {"myhostname": _node_name, "mydomain": lambda: _domain(config.myhostname), "myorigin": _origin}
    )
    return config


def read_text(path: str) -> str:
    """Return a small text file whole; raises OSError. Octets that are not UTF-8 survive."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        data = b""
        while len(data) < _LIMIT and (chunk := posix.read(descriptor, 65536)):
            data += chunk
    finally:
        posix.close(descriptor)
    return data.decode("utf-8", "surrogateescape")


def _is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


def _node_name() -> str:
    return posix.uname().nodename


def _domain(hostname: str) -> str:
    return hostname.partition(".")[2] or "localdomain"


def _origin() -> str:
    try:
        first = read_text("/etc/mailname").split("\n", 1)[0].strip()
    except OSError:
        first = ""
    return first or "$myhostname"
