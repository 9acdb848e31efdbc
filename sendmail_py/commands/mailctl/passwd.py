"""mailctl passwd: the users of the SMTP server's password file (smtpd_sasl_path).

    mailctl passwd add [--scram] USER        asks for a password, or reads one line of standard input
    mailctl passwd remove USER | list | verify USER

Guarantees: no password stands on a command line; the file is replaced as a whole, with its owner and mode,
and a new one is for root and the services alone.
"""

import fcntl
import getpass
import json
import os
import pwd
import sys

from ...core.config import Config
from ...core.errors import ConfigError, MailError, SpoolError, UsageError
from ...core.exitcodes import EX_NOUSER, EX_OK
from ...formats.password_lines import changed, check_name, names
from ...host.configuration import load
from ...host.password_hash import make
from ...host.user_passwords import UserPasswords
from ...protocol.saslprep import saslprep
from ...services.sasl_settings import path_of
from .config import replace_text
from .parser import Parser

_WRONG = 1


class NoSuchUserError(MailError):
    """The file has no user of this name."""

    exit_code = EX_NOUSER


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    parser = Parser("passwd", "Change or list the users of the SMTP server's password file.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_VerbParser)
    add = verbs.add_parser("add", help="add a user, or change his password")
    add.add_argument("--scram", action="store_true", help="store keys for SCRAM-SHA-256 instead of a scrypt hash")
    remove = verbs.add_parser("remove", help="remove a user")
    for one in (add, remove, verbs.add_parser("verify", help="say whether a password is right")):
        one.add_argument("user")
    verbs.add_parser("list", help="print the names of the users").add_argument(
        "-j", "--json", action="store_true", help="as a list of JSON"
    )
    options = parser.parse_args(arguments)
    config, _ = load(directory)
    if config.smtpd_sasl_type != "file":
        raise ConfigError(f"smtpd_sasl_type = {config.smtpd_sasl_type}: its users are not kept in a file here")
    path = path_of(config)
    try:
        if options.verb == "list":
            return _list(path, options.json)
        user = _full_name(config, options.user)
        if options.verb == "verify":
            return _verify(path, user)
        if options.verb == "remove":
            return _remove(config, path, user)
        return _add(config, path, user, options.scram)
    except OSError as error:
        raise SpoolError(str(error) if error.filename is None else f"{path}: {error.strerror}") from error


class _VerbParser(Parser):
    def __init__(self, prog: str, **more: str) -> None:
        super().__init__(prog.removeprefix("mailctl "), "")


def _full_name(config: Config, text: str) -> str:
    """Return a name as a login has it: prepared, and with smtpd_sasl_local_domain where it has no domain."""
    try:
        check_name(text)
        name = saslprep(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error
    domain = config.smtpd_sasl_local_domain
    return f"{name}@{domain}" if domain and "@" not in name else name


def _password(prompt: str) -> str:
    """Ask at the terminal, or read the first line of standard input."""
    return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _add(config: Config, path: str, user: str, as_scram: bool) -> int:
    password = _password(f"Password for {user}: ")
    if sys.stdin.isatty() and _password("Again: ") != password:
        raise UsageError("the two are not the same; nothing is changed")
    try:
        hash = make(password, as_scram)
    except ValueError as error:
        raise UsageError(f"{error}; nothing is changed") from error
    _change(config, path, user, hash)
    return EX_OK


def _remove(config: Config, path: str, user: str) -> int:
    if user not in names(_text(path)):
        raise NoSuchUserError(f"{path}: there is no {user}")
    _change(config, path, user, None)
    return EX_OK


def _list(path: str, as_json: bool) -> int:
    found = list(names(_text(path)))
    print(json.dumps(found) if as_json else "".join(f"{name}\n" for name in found), end="\n" if as_json else "")
    return EX_OK


def _verify(path: str, user: str) -> int:
    if user not in names(_text(path)):
        raise NoSuchUserError(f"{path}: there is no {user}")
    known = UserPasswords(path, lambda uid: True)
    known.refresh(lambda fault: print(f"mailctl: {fault}", file=sys.stderr))
    is_right = known.is_password(user, _password(f"Password for {user}: "))
    print("right" if is_right else "wrong")
    return EX_OK if is_right else _WRONG


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _change(config: Config, path: str, user: str, hash: str | None) -> None:
    """Replace the file; two at one time do so one after the other."""
    path = os.path.realpath(path)
    lock = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            _create(config, path)
        replace_text(path, changed(_text(path), user, hash), 0o600)
    finally:
        os.close(lock)


def _create(config: Config, path: str) -> None:
    """Make an empty file that the services can read: root's, of mail_owner's group; or one's own."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0 and config.mail_owner != "root":
            os.fchown(descriptor, 0, pwd.getpwnam(config.mail_owner).pw_gid)
            os.fchmod(descriptor, 0o640)
    except KeyError:
        raise ConfigError(f"mail_owner = {config.mail_owner}: no such user; `mailctl setup` makes it") from None
    finally:
        os.close(descriptor)
