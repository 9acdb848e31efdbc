"""postfix: start, stop, reload, flush, check and status of the services."""

import sys
from collections.abc import Callable

from ...core.complaints import complaints
from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...formats.selection import Selection
from ...host.configuration import load
from ..ask import NotRunning, ask_one
from ..mailctl import control, start
from ..mailctl.flush import flush

_DOWN = 1


def main(name: str, options: list[tuple[str, str]], arguments: list[str], directory: str) -> int:
    """Run the verb."""
    if len(arguments) != 1 or arguments[0] not in _COMMANDS:
        raise UsageError(f"one of {', '.join(_COMMANDS)} is needed")
    return _COMMANDS[arguments[0]](directory)


def _status(directory: str) -> int:
    config, _ = load(directory)
    try:
        pid = ask_one(config, "control", {"verb": "status"})["pid"]
    except NotRunning:
        print("postfix: the mail system is not running", file=sys.stderr)
        return _DOWN
    print(f"postfix: the mail system is running: PID: {pid}", file=sys.stderr)
    return EX_OK


def _check(directory: str) -> int:
    from ...services.whole_config import check_config

    config, faults = load(directory)
    for line in faults + complaints(config.settings):
        print(f"postfix: warning: {line}", file=sys.stderr)
    check_config(config)
    return EX_OK


def _flush(directory: str) -> int:
    flush(load(directory)[0], Selection())
    return EX_OK


def _nothing(directory: str) -> int:
    print("postfix: nothing to do: `mailctl setup` makes and repairs what the services need", file=sys.stderr)
    return EX_OK


_COMMANDS: dict[str, Callable[[str], int]] = {
    "start": lambda directory: start.main([], directory),
    "start-fg": lambda directory: start.main(["--foreground"], directory),
    "stop": lambda directory: control.stop(load(directory)[0]),
    "abort": lambda directory: control.stop(load(directory)[0]),
    "reload": lambda directory: control.reload(load(directory)[0]),
    "flush": _flush,
    "check": _check,
    "status": _status,
    "set-permissions": _nothing,
    "upgrade-configuration": _nothing,
}
