"""mailctl config: show main.cf as postconf does, and change it safely.

Guarantees of a change: what would not load afterwards is refused, the file is replaced as a whole
or not at all (a temporary file, fsync, rename), and it keeps its comments, owner and mode.
"""

import argparse
import fcntl
import json
import os
import sys
import tempfile

from ...core.complaints import complaints, unknown
from ...core.config import Config
from ...core.errors import ConfigError, MailError, UsageError
from ...core.exitcodes import EX_CANTCREAT, EX_NOPERM, EX_OK
from ...core.params import BY_NAME
from ...formats import main_cf
from ...host import configuration
from ...host.configuration_file import read_text
from . import explain
from .config_check import refuse_faults
from .parser import Parser

_NOT_FOUND = 1


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl config` for a configuration directory; returns the exit status."""
    try:
        return run(arguments, directory)
    except MailError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error.filename or directory}: {error.strerror}")
        return EX_NOPERM if isinstance(error, PermissionError) else EX_CANTCREAT


def run(arguments: list[str], directory: str, is_step: bool = False) -> int:
    """Do the same; raises MailError and OSError for what goes wrong. is_step: a change is one of several."""
    if arguments[:1] == ["explain"]:
        return explain.main(arguments[1:], directory)
    options = _parser().parse_args(arguments)
    if options.edit or options.remove:
        return change(directory, _changes(options), is_step)
    return show(directory, options)


def _parser() -> Parser:
    parser = Parser("config", "Show or change the parameters of main.cf.", add_help=False)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-d", dest="defaults", action="store_true", help="show defaults")
    what.add_argument("-n", dest="changed", action="store_true", help="show what main.cf sets")
    what.add_argument("-e", dest="edit", action="store_true", help="set each name=value in main.cf")
    what.add_argument("-X", dest="remove", action="store_true", help="remove each name from main.cf")
    parser.add_argument("-x", dest="expand", action="store_true", help="show values with $name replaced")
    parser.add_argument("-h", dest="bare", action="store_true", help="show values without names")
    parser.add_argument("-H", dest="names_alone", action="store_true", help="show names without values")
    parser.add_argument("-j", "--json", dest="json", action="store_true", help="show everything as JSON")
    parser.add_argument("--help", action="help", help="show this text")
    parser.add_argument("names", nargs="*", metavar="name[=value]")
    parser.epilog = (
        "`mailctl config explain NAME` prints what a parameter is for, its value, and the file and line that set it."
    )
    return parser


def show(directory: str, options: argparse.Namespace) -> int:
    """Print the parameters asked for, all when none is named; unknown ones give status 1."""
    if options.defaults:
        config = configuration.from_settings({})
    else:
        config, odd = configuration.load(directory)
        _complain(*odd, *complaints(config.settings))
    status = EX_OK
    rows = []
    for name in options.names or _all_names(config, options.changed):
        if "=" in name:
            raise UsageError(f"{name}: -e changes main.cf")
        if name not in BY_NAME and name not in config.settings:
            _complain(f"warning: {unknown(name)}")
            status = _NOT_FOUND
        elif not options.changed or config.origin(name) not in ("default", "-c"):
            rows.append((name, config.expanded(name) if options.expand else config.text(name)))
    _print(rows, config, options)
    return status


def _all_names(config: Config, changed: bool) -> list[str]:
    return sorted(config.settings if changed else {**BY_NAME, **config.settings})


def _print(rows: list[tuple[str, str]], config: Config, options: argparse.Namespace) -> None:
    if options.json:
        text = json.dumps([_describe(name, value, config) for name, value in rows], indent=1) + "\n"
    elif options.names_alone:
        text = "".join(f"{name}\n" for name, _ in rows)
    elif options.bare:
        text = "".join(f"{value}\n" for _, value in rows)
    else:
        text = "".join(f"{name} = {value}".rstrip() + "\n" for name, value in rows)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _describe(name: str, value: str, config: Config) -> dict[str, str]:
    row = {"name": name, "value": value, "origin": config.origin(name)}
    param = BY_NAME.get(name)
    if param:
        row |= {"default": config.default(name), "type": param.type, "section": param.section, "doc": param.doc}
    return row


def _changes(options: argparse.Namespace) -> dict[str, str | None]:
    if not options.names:
        raise UsageError("name=value expected" if options.edit else "a name expected")
    if options.remove:
        for name in options.names:
            if "=" in name:
                raise UsageError(f"{name}: -X takes names alone")
        return dict.fromkeys(options.names)
    changes: dict[str, str | None] = {}
    for argument in options.names:
        name, equals, value = argument.partition("=")
        if not equals:
            raise UsageError(f"name=value expected, not {argument}")
        changes[name.strip()] = value.strip()
    return changes


def change(directory: str, changes: dict[str, str | None], is_step: bool = False) -> int:
    """Set (or with None remove) parameters in main.cf; raises ConfigError and writes nothing for a bad one.

    is_step: others will follow, so that what still misses another parameter is written with a warning.
    """
    directory = os.path.abspath(directory)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configuration.load(directory)  # says what is wrong when there is no file to change
        path = os.path.realpath(f"{directory}/main.cf")
        before = _whole_text(path) if os.path.exists(path) else ""
        after = before
        for name, value in changes.items():
            after = main_cf.edit(after, name, value)
        _check(before, after, changes)
        _complain(*_removed_in_vain(before, changes))
        if after != before:
            warnings = refuse_faults(directory, before, after, changes, is_step)
            replace_text(path, after)
            _complain(*warnings)
    finally:
        os.close(lock)
    return EX_OK


def _whole_text(path: str) -> str:
    text = read_text(path)
    if len(text.encode("utf-8", "surrogateescape")) != os.path.getsize(path):
        raise ConfigError(f"{path} is too long to be changed")
    return text


def _check(before: str, after: str, changes: dict[str, str | None]) -> None:
    """Refuse a change whose values do not come back, mean nothing, or break another parameter."""
    settings, _ = main_cf.parse(after, "main.cf")
    odd = "\n".join(complaints(settings))
    for name, value in changes.items():
        if name == "config_directory":
            raise ConfigError("config_directory cannot be set in main.cf")
        if value is None:
            continue
        if name not in settings or settings[name].text != value:
            raise ConfigError(f"{name} = {value}: not a name and a value that main.cf can hold")
        if name not in BY_NAME and unknown(name) in odd:
            raise ConfigError(unknown(name))
    old = _bad_values(before)
    for name, problem in _bad_values(after).items():
        if name not in old or name in changes:
            raise ConfigError(problem)


def _removed_in_vain(before: str, changes: dict[str, str | None]) -> list[str]:
    """Return a warning for each name that is neither in main.cf nor one of ours: somebody means another one."""
    settings = main_cf.parse(before, "main.cf")[0]
    return [
        f"warning: {unknown(name)}; main.cf does not have it"
        for name, value in changes.items()
        if value is None and name not in settings and name not in BY_NAME
    ]


def _bad_values(text: str) -> dict[str, str]:
    config = configuration.from_settings(main_cf.parse(text, "main.cf")[0])
    bad = {}
    for name in BY_NAME:
        try:
            getattr(config, name)
        except ConfigError as error:
            bad[name] = str(error)
    return bad


def replace_text(path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file as a whole and durably; it keeps its owner and mode, a new one gets mode."""
    directory = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            _keep_owner_and_mode(path, descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _keep_owner_and_mode(path: str, descriptor: int, mode: int) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)


def _complain(*lines: str) -> None:
    for line in lines:
        print(f"mailctl config: {line}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
