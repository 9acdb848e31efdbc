"""main.cf: what the services would refuse, what has no effect, and what this host calls itself."""

import re
from collections.abc import Iterator

from ....core.complaints import complaints
from ....core.config import Config
from ....core.errors import MailError
from ....services.whole_config import check_config
from .finding import Finding, error, warning


def without(text: str, directory: str) -> str:
    """Return the command that starts the services without the variable that a complaint is about, "" for none."""
    found = re.match(r"environment (\w+): ", text)
    return f"mailctl -c {directory} stop; env -u {found[1]} mailctl -c {directory} start" if found else ""


def check(config: Config) -> Iterator[Finding]:
    """Yield what is wrong with the values; of several that cannot be used, as the services do, the first."""
    mailctl = f"mailctl -c {config.config_directory} config"
    for line in complaints(config.settings):
        text = line.replace("warning: ", "")
        name = next((name for name in config.settings if f" {name} " in f" {text} "), "NAME")
        yield warning(text, without(text, config.config_directory) or f"{mailctl} -X {name}")
    try:
        check_config(config)
    except MailError as fault:
        origin, _, rest = str(fault).partition(": ")
        name = rest.partition(" ")[0].rstrip(":")
        is_not_set_up = "`mailctl setup`" in rest
        yield error(f"{origin}: {rest}", "mailctl setup" if is_not_set_up else f"{mailctl} explain {name}")
        return
    if "." not in config.myhostname:
        text = f"myhostname = {config.myhostname} is not fully qualified: other hosts refuse such a name"
        yield warning(text, f"{mailctl} -e myhostname=host.example.org")
