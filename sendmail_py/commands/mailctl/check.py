"""mailctl check: is everything as it must be for mail to come and go, and what repairs what is not.

Exit status for monitoring: 0 all is well, 1 there are warnings, 2 something stops mail.
"""

import json
import os
import re
from collections.abc import Callable, Iterator

from ...core.config import Config
from ...core.errors import MailError, NotAllowed
from ...core.exitcodes import EX_NOPERM
from ...host.configuration import load
from ..terminal import BAD, GOOD, ODD, painted, wrapped
from .checks import certificates, configuration, dns, files, machine, ports, root_mail, waiting
from .checks.finding import ERROR, LEVELS, Finding, error
from .parser import Parser

_INDENT = 15
_AREAS: dict[str, Callable[[Config], Iterator[Finding]]] = {
    "configuration": configuration.check,
    "files": files.check,
    "aliases": root_mail.check,
    "services": ports.check,
    "queue": waiting.check,
    "certificates": certificates.check,
    "host": machine.check,
    "DNS": dns.check,
}


def _mended(complaint: str, directory: str) -> str:
    """Return what repairs a line that cannot be read, or shows the file that a variable names in vain."""
    found = re.match(r"environment \w+: (/\S*): ", complaint)
    return f"ls -l {found[1]}" if found else f"edit {directory}/main.cf"


class _OnlyRoot(NotAllowed):
    """The system's instance shows itself to root alone."""

    exit_code = EX_NOPERM


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("check", "Look for whatever keeps mail from coming and going, and say what repairs it.")
    parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    found = findings(directory)
    if options.json:
        rows = [
            {"area": area, "level": f.level, "text": f.text, "repair": f.repair}
            for area, fs in found.items()
            for f in fs
        ]
        print(json.dumps(rows, indent=1))
    else:
        for area, some in found.items():
            print("\n".join(_shown(area, some)))
    return max((1 + LEVELS.index(f.level) for some in found.values() for f in some), default=0)


def findings(directory: str) -> dict[str, list[Finding]]:
    """Return what is wrong, by area; with a main.cf that cannot be used nothing else can be judged."""
    try:
        config, odd = load(directory)
    except MailError as fault:
        return {"configuration": [error(str(fault), f"ls -l {directory}/main.cf")]}
    if (
        os.geteuid()
        and os.path.isdir(config.queue_directory)
        and not os.access(config.queue_directory + "/tmp", os.R_OK)
    ):
        raise _OnlyRoot("only root can check this instance")
    found = {"configuration": [error(line, _mended(line, directory)) for line in odd]}
    for area, check in _AREAS.items():
        if any(f.level == ERROR for f in found["configuration"]) and area != "configuration":
            break
        found[area] = [*found.get(area, []), *_checked(area, check, config)]
    return found


def _checked(area: str, check: Callable[[Config], Iterator[Finding]], config: Config) -> list[Finding]:
    """Return what one check finds; a check that cannot be made is a finding, and stops no other."""
    some = []
    try:
        for finding in check(config):
            some.append(finding)
    except (OSError, KeyError, ValueError, MailError) as fault:
        again = f"mailctl -c {config.config_directory} check --json"
        some.append(error(f"{area} cannot be checked: {type(fault).__name__}: {fault}", again))
    return some


def _shown(area: str, some: list[Finding]) -> list[str]:
    if not some:
        return [f"{area:<14} {painted('ok', GOOD)}"]
    lines = []
    for f in some:
        level = painted(f.level, BAD if f.level == ERROR else ODD)
        said = wrapped(f"{area:<14} {f.level}: {f.text}", _INDENT).replace(f" {f.level}:", f" {level}:", 1)
        lines += [said, wrapped(f"{'':<14} repair: {f.repair}", _INDENT + 8)]
    return lines
