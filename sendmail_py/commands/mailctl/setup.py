"""mailctl setup: programs and names, users, queue, state directory and a first main.cf; run again, it changes nothing.

Guarantees: it never replaces a main.cf or another mail system's program, follows no link, and mends
owner and mode of the directories themselves only, never of what they hold. --remove undoes it.
"""

import argparse
import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator

from ...core.address import Address
from ...core.config import Config
from ...core.errors import MailError, SpoolError
from ...core.exitcodes import EX_CANTCREAT, EX_NOPERM, EX_OK
from ...formats.sample import sample_main_cf
from ...host import configuration
from ...host.configuration_file import read_text
from ...spool import directories
from .config import replace_text
from .installation import programs_prefix, put_names, put_programs
from .oauth_directory import token_directories
from .parser import Parser
from .removal import NO_HOME, is_done, remove

_USER_OPTIONS = ("--system", "--no-create-home", "--home-dir", NO_HOME, "--shell", "/usr/sbin/nologin")
_QUESTION = "Where shall mail for root go? An address, or nothing to leave it with root: "
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl setup` for a configuration directory, as root; returns the exit status."""
    parser = Parser("setup", "Create programs, users, queue and main.cf where they are missing.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--root-alias", type=_address, metavar="ADDRESS", help="where root's mail goes")
    what.add_argument("--remove", action="store_true", help="undo it; mail and a changed main.cf stay")
    try:
        options = parser.parse_args(arguments)
        if os.geteuid() != 0:
            print("mailctl setup: only root can create users and the queue", file=sys.stderr)
            return EX_NOPERM
        steps = remove(directory, _run) if options.remove else _steps(directory, options.root_alias)
        if not sum([_is_told(line) for line in steps]):
            print("nothing to remove" if options.remove else "already set up")
    except MailError as error:
        print(f"mailctl setup: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"mailctl setup: {error.filename}: {error.strerror}", file=sys.stderr)
        return EX_CANTCREAT
    return EX_OK


def _address(text: str) -> str:
    """Accept one address for an alias: no program, file or list, and not root itself."""
    address = Address.parse(text)
    plain = text.isprintable() and " " not in text and not set(text) & set(',:;"\\<>|#()')
    if not address.local_part or not plain or text.startswith("/"):
        raise argparse.ArgumentTypeError(f"not one plain address: {text!r}")
    if text.lower() == "root":
        raise argparse.ArgumentTypeError("root's mail cannot go to root")
    return text


def _is_told(line: str) -> bool:
    print(line, flush=True)
    return is_done(line)


def _steps(directory: str, root_alias: str | None) -> Iterator[str]:
    """Do what is missing, in order; yields a line for each thing done."""
    yield from put_programs()
    if prefix := programs_prefix():
        yield from put_names(prefix)
    yield from _write_main_cf(directory)
    config, _ = configuration.load(directory)
    for name in dict.fromkeys((config.mail_owner, config.net_owner)):
        yield from ensure_user(name)
    owner = pwd.getpwnam(config.mail_owner)
    yield from directories.create(config.queue_directory, owner.pw_uid, owner.pw_gid)
    yield from token_directories(config)
    root_alias = root_alias or _asked(config)
    if root_alias:
        yield from _set_root_alias(config, root_alias)


def _write_main_cf(directory: str) -> Iterator[str]:
    path = f"{directory}/main.cf"
    if os.path.lexists(path):
        return
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o755)
        os.chmod(directory, 0o755)
        yield f"created {directory}"
    replace_text(path, sample_main_cf())
    yield f"created {path}"


def ensure_user(name: str, run: Callable[[list[str]], None] | None = None) -> Iterator[str]:
    """Create a system user with a group of the same name unless there is one."""
    if _exists(pwd.getpwnam, name):
        return
    group = ["--gid", name] if _exists(grp.getgrnam, name) else ["--user-group"]
    (run or _run)(["useradd", *_USER_OPTIONS, *group, name])
    yield f"created user {name}"


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(command, env={"PATH": _PATH}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SpoolError(f"{command[0]} is missing; create the user {command[-1]} yourself, then try again") from error
    if result.returncode:
        raise SpoolError(f"{' '.join(command)}: {result.stderr.strip() or f'status {result.returncode}'}")


def _alias_file(config: Config) -> tuple[str, str]:
    """Return path and text of the file for root's alias; raises SpoolError."""
    path = config.alias_maps[0].rpartition(":")[2] if config.alias_maps else ""
    if not path.startswith("/"):
        raise SpoolError("alias_maps names no file for root's alias")
    path = os.path.realpath(path)
    return path, read_text(path) if os.path.exists(path) else ""


def _asked(config: Config) -> str:
    """Ask at the terminal where root's mail goes, when nothing says so yet; "" for no answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or any(map(_is_roots, _alias_file(config)[1].splitlines())):
        return ""
    while answer := input(_QUESTION).strip():
        try:
            return _address(answer)
        except (ValueError, argparse.ArgumentTypeError) as error:
            print(f"mailctl setup: {error}", file=sys.stderr)
    return ""


def _set_root_alias(config: Config, address: str) -> Iterator[str]:
    path, before = _alias_file(config)
    after = with_root_alias(before, address)
    if after != before:
        replace_text(path, after)
        yield f"{path}: root's mail goes to {address}"


def with_root_alias(text: str, address: str) -> str:
    """Return the text of an alias file in which root stands for one address; the rest stays as it is."""
    wanted = f"root: {address}"
    out: list[str] = []
    found = replacing = False
    for line in text.removesuffix("\n").split("\n") if text else ():
        stripped = line.strip()
        if not stripped or stripped[0] == "#" or (line[0] in " \t" and not replacing):
            out.append(line)  # a comment ends no entry: what continues it may still follow
            continue
        if line[0] in " \t":
            continue
        replacing = _is_roots(line)
        if not replacing:
            out.append(line)
        elif not found:
            out.append(line if line.partition(":")[2].strip() == address else wanted)
            found = True
    return "\n".join(out if found else [*out, wanted]) + "\n"


def _is_roots(line: str) -> bool:
    """Say whether a line of an alias file begins root's entry."""
    key, colon, _ = line.partition(":")
    return bool(colon) and key[:1] not in (" ", "\t") and key.strip().strip('"').lower() == "root"
