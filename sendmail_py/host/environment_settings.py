"""Settings from the environment, for containers: SENDMAILPY_relayhost=[mail.example.net]:587.

SENDMAILPY_name_FILE names a file whose text is the value, as secrets and mounted configuration
are given. They go before main.cf. Light: imported by sendmail(1), which looks whether there are any.
"""

import posix

from ..core.config import Setting
from ..core.params import BY_NAME
from .configuration_file import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = "_FILE"


def settings_of(read: "Callable[[str], str]") -> "tuple[dict[str, Setting], list[str]]":
    """Return the settings by name, and complaints about files that cannot be read; read() gets a file's text."""
    settings: "dict[str, Setting]" = {}
    complaints = []
    for key, value in sorted(posix.environ.items()):
        if not key.startswith(PREFIX):
            continue
        origin = key.decode("utf-8", "surrogateescape")
        name, text = origin[len(PREFIX) :], value.decode("utf-8", "surrogateescape")
        if name.endswith(_FILE):
            name = name[: -len(_FILE)]
            try:
                text = read(text)
            except OSError as error:
                complaints.append(f"environment {origin}: {text}: {error.strerror}")
                continue
        settings[_known(name)] = Setting(" ".join(text.split("\n")).strip(), f"environment {origin}")
    return settings, complaints


def _known(name: str) -> str:
    """Return the name of a parameter, also where it was written in capitals, as many write variables."""
    return name if name in BY_NAME or name.lower() not in BY_NAME else name.lower()
