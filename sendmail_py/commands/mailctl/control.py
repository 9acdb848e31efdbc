"""mailctl stop and reload: what master does when it is asked on its control socket."""

import sys

from ...core.complaints import complaints
from ...core.config import Config
from ...core.errors import ConfigError, UsageError
from ...core.exitcodes import EX_OK
from ...host.configuration import load
from ..ask import Denied, Rejected, Unlisted, ask_one


def main(arguments: list[str], directory: str) -> int:
    """Run one of the two verbs."""
    verb, *rest = arguments
    if rest:
        raise UsageError(f"{verb} takes no arguments")
    config, faults = load(directory)
    if verb == "reload":
        for line in faults + complaints(config.settings):  # as at a start: it serves on without these lines
            print(f"mailctl: {line}", file=sys.stderr)
    return {"stop": stop, "reload": reload}[verb](config)


def stop(config: Config) -> int:
    """Stop the services and wait until they have stopped."""
    ask_one(config, "control", {"verb": "stop"}, timeout=config.stop_timeout + 30)
    return EX_OK


def reload(config: Config) -> int:
    """Have main.cf read again; a bad one is reported and changes nothing."""
    try:
        ask_one(config, "control", {"verb": "reload"})
    except (Denied, Unlisted):
        raise
    except Rejected as error:
        raise ConfigError(str(error)) from error
    return EX_OK
