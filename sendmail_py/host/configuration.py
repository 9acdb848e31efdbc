"""The whole configuration: main.cf of a directory, with the facts that only the machine knows.

Light: imported by sendmail(1) where main.cf uses macros, and by its other modes.
"""

import posix

from ..core.config import Config, Setting, convert
from ..core.errors import ConfigError
from ..core.params import BY_NAME
from ..formats import main_cf
from .configuration_file import PREFIX, read_main_cf, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(directory: str, overrides: "dict[str, str] | None" = None) -> "tuple[Config, list[str]]":
    """Read directory/main.cf and the environment; returns the Config and complaints about what it could not read.

    Raises ConfigError when a directory other than the default one holds no main.cf, SpoolError
    when the disk fails.
    """
    if directory[:1] != "/":
        directory = f"{posix.getcwd()}/{directory}"
    return from_text(directory, read_main_cf(directory), overrides)


def from_text(directory: str, text: str, overrides: "dict[str, str] | None" = None) -> "tuple[Config, list[str]]":
    """Do the same with a text that directory/main.cf may have; directory is absolute."""
    settings, complaints = main_cf.parse(text, directory + "/main.cf")
    if "config_directory" in settings:
        complaints.append(f"{settings['config_directory'].origin}: config_directory cannot be set in main.cf")
    if any(key.startswith(PREFIX) for key in posix.environ):
        from . import environment_settings

        named, more = environment_settings.settings_of(read_text)
        settings |= named
        complaints += more
    settings["config_directory"] = Setting(directory.replace("$", "$$"), "-c")
    for name, value in (overrides or {}).items():
        settings[name] = Setting(value, "-o")
    return from_settings(settings), complaints


def from_settings(settings: "dict[str, Setting]") -> Config:
    """Make a Config whose defaults know this machine."""
    config = Config(
        settings,
        {"myhostname": _node_name, "mydomain": lambda: _domain(config.myhostname), "myorigin": _origin},
        _first_line,
    )
    return config


def lenient(config: Config, name: str) -> "Any":
    """Return a parameter, or its default where main.cf is broken: mail must not be lost to a typo."""
    try:
        return getattr(config, name)
    except ConfigError:
        return convert(BY_NAME[name], BY_NAME[name].default, "default")


def _node_name() -> str:
    return posix.uname().nodename


def _domain(hostname: str) -> str:
    return hostname.partition(".")[2] or "localdomain"


def _origin() -> str:
    try:
        return _first_line("/etc/mailname")
    except (OSError, ValueError):
        return "$myhostname"


def _first_line(path: str) -> str:
    """Return the first line of a file; raises OSError, and ValueError where there is none."""
    first = read_text(path).split("\n", 1)[0].strip()
    if not first:
        raise ValueError("its first line is empty")
    return first
