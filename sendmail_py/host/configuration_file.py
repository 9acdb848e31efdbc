"""Where main.cf lies, and the few settings of it that a plain submission needs.

The directory is chosen by the caller (-C, -c), else by MAIL_CONFIG, else /etc/sendmail-py. The
whole configuration is read by configuration.py; sendmail(1) starts faster without it. Light:
imported by sendmail(1).
"""

import posix

from ..core.essentials import CONFIG_DIRECTORY, DEFAULTS
from ..core.mail_error import SpoolError
from ..formats.logical_lines import logical_lines

PREFIX = b"SENDMAILPY_"  # of settings in the environment, see environment_settings.py
_LIMIT = 1 << 20
_HERE = "$config_directory/"
_OF_CONFIGURATION = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def choose_directory(option: str = "") -> str:
    """Return the configuration directory: the option, MAIL_CONFIG, or the default.

    An option may name the main.cf in its directory. What is neither is ignored, as sendmail
    -C /etc/mail/other.cf has to be.
    """
    if option and _is_directory(option):
        return option
    if option[-8:] == "/main.cf" and _is_directory(option[:-8] or "/"):
        return option[:-8] or "/"
    named = posix.environ.get(b"MAIL_CONFIG", b"").decode("utf-8", "surrogateescape")
    return named or CONFIG_DIRECTORY


def essentials(directory: str) -> "dict[str, str]":
    """Return what a submission needs to know, by name, as text; raises as read_main_cf() does."""
    found = dict(DEFAULTS)
    for _, line in logical_lines(read_main_cf(directory)):
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals and name in found:
            found[name] = _placed(value.strip(), directory)
    if "$" in "".join(found.values()) or PREFIX in b"\0".join(posix.environ):  # rather once too often than late
        from .configuration import lenient, load

        config, _ = load(directory)
        for name in found:
            found[name] = _text(lenient(config, name))
    return found


def _text(value: "str | int | list[str]") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _placed(value: str, directory: str) -> str:
    """Work out the one macro that every instance of its own uses."""
    if not value.startswith(_HERE):
        return value
    start = "" if directory[:1] == "/" else posix.getcwd() + "/"
    return f"{start}{directory}/{value[len(_HERE) :]}"


def read_main_cf(directory: str) -> str:
    """Return the text of directory/main.cf; "" where the default directory has none.

    Raises ConfigError when another directory holds no main.cf, SpoolError when the disk fails.
    """
    path = directory + "/main.cf"
    try:
        return read_text(path)
    except OSError as error:
        import errno  # only here: it costs a plain submission more than this whole file

        if not isinstance(error, _OF_CONFIGURATION) and error.errno != errno.ELOOP:
            raise SpoolError(f"{path}: {error.strerror}") from error  # the disk's fault: try again (75)
        if directory != CONFIG_DIRECTORY or not isinstance(error, FileNotFoundError):
            from ..core.errors import ConfigError

            raise ConfigError(f"{path}: {error.strerror}") from error
        return ""


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
