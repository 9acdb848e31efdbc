"""dkim_domains: which keys sign for a domain, and where these lie.

A value is one or several of selector, or selector:/path/to/key, parted by blanks: one signature each. Without a path
the key is DOMAIN.SELECTOR.pem in the directory dkim of data_directory.
"""

import re
from typing import NamedTuple

from ..core.config import Config
from ..core.errors import ConfigError

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")


class Signing(NamedTuple):
    """One signature to be made: for a domain, under a selector, with the key in a file."""

    domain: str
    selector: str
    path: str


def directory_of(config: Config) -> str:
    """Return where keys lie that have no path of their own."""
    return f"{config.data_directory}/dkim"


def key_path(config: Config, domain: str, selector: str) -> str:
    """Return where the key of a selector lies."""
    return f"{directory_of(config)}/{domain}.{selector}.pem"


def signings(config: Config, domain: str, value: str) -> list[Signing]:
    """Read a value; raises ValueError."""
    found = []
    for word in value.replace(",", " ").split():
        selector, colon, path = word.partition(":")
        if not _SELECTOR.fullmatch(selector) or (colon and not path.startswith("/")):
            raise ValueError(f"dkim_domains: {domain}: {word}: selector or selector:/path expected")
        found.append(Signing(domain, selector, path or key_path(config, domain, selector)))
    return found


def check_names(domain: str, selector: str) -> None:
    """Raise ValueError for what can be no domain, or no selector."""
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{domain}: a domain expected")
    if not _SELECTOR.fullmatch(selector):
        raise ValueError(f"{selector}: a selector consists of letters, digits, dots and hyphens")


def domains_above(domain: str) -> list[str]:
    """Return a domain and those above it, down to two labels: a signature of any of them is aligned with it."""
    labels = domain.lower().removesuffix(".").split(".")
    return [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))]


def check_dkim(config: Config) -> None:
    """Raise ConfigError for a table that can never work."""
    from ..host.tables import check_tables

    try:
        check_tables(config.dkim_domains)
    except ValueError as error:
        raise ConfigError(f"{config.origin('dkim_domains')}: dkim_domains: {error}") from error
