"""One thing that is wrong, how bad it is, and the command that repairs it."""

from dataclasses import dataclass
from typing import Final

WARNING, ERROR = "warning", "error"
LEVELS: Final = (WARNING, ERROR)


@dataclass(frozen=True, slots=True)
class Finding:
    """ERROR: mail waits, is lost to somebody, or will be soon. WARNING: it goes, but not as it should."""

    level: str
    text: str
    repair: str


def error(text: str, repair: str) -> Finding:
    """Return a finding that stops mail."""
    return Finding(ERROR, text, repair)


def warning(text: str, repair: str) -> Finding:
    """Return a finding that does not."""
    return Finding(WARNING, text, repair)
