"""The names of this host, its name servers, its log, and the directories of the instance.

A name of this host goes into every bare address: one that can be none would send its users' mail elsewhere.
"""

import re

from ..core.config import HOST_NAMES, Config
from ..core.errors import ConfigError
from ..host.name_servers import servers_of
from ..host.syslog import FACILITIES

_NAME = re.compile(r'(?!\.)(?:(?!\.\.)[^\s\x00-\x1f\x7f@<>()\[\],;:\\"/])+')
_DIRECTORIES = ("queue_directory", "run_directory", "data_directory", "mail_spool_directory")


def check_host(config: Config) -> None:
    """Raise ConfigError for a name that no host can have, and a path that depends on where a program was started."""
    for name in HOST_NAMES:
        is_said = config.origin(name) != "default" and (getattr(config, name) or name == "myhostname")
        if is_said and not _NAME.fullmatch(getattr(config, name)):
            raise _fault(config, name, "the name of a host or domain expected")
    for name in _DIRECTORIES:
        if not getattr(config, name).startswith("/"):
            raise _fault(config, name, "an absolute path expected")
    if config.maillog_file and not config.maillog_file.startswith("/"):
        raise _fault(config, "maillog_file", "an absolute path expected")
    if config.syslog_facility not in FACILITIES:
        raise _fault(config, "syslog_facility", f"one of {', '.join(FACILITIES)} expected")
    servers_of(config)


def _fault(config: Config, name: str, expected: str) -> ConfigError:
    return ConfigError(f"{config.origin(name)}: {name} = {getattr(config, name)}: {expected}")
