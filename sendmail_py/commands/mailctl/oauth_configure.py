"""What `mailctl oauth login --configure` writes: main.cf and the password file, once the login is there.

Guarantees: main.cf is changed as `mailctl config -e` changes it; other lines of the password file stay, and it is
readable for the SMTP client's user alone.
"""

import os
import pwd
import sys
from collections.abc import Callable

from ...core.config import Config
from ...core.errors import ConfigError, MailError
from ...core.exitcodes import EX_OSERR, EX_SOFTWARE
from ...formats.logical_lines import logical_lines
from ...host.configuration_file import read_text
from ...host.password_file import path_of
from ...services.children import user_of
from .config import change, replace_text


def configure(config: Config, relayhost: str, entry: str, level: str = "secure") -> int:
    """Have all mail go to a relayhost with a login, entry as it stands behind the relayhost; returns an exit status."""
    maps = config.smtp_sasl_password_maps or [f"texthash:{config.config_directory}/sasl_passwd"]
    try:
        path = path_of(maps[0])
    except ValueError as error:
        raise ConfigError(f"smtp_sasl_password_maps: {error}") from error
    _write(path, relayhost, entry, user_of("smtp", config))
    changes: dict[str, str | None] = {
        "relayhost": relayhost,
        "smtp_tls_security_level": level,
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": ", ".join(maps),
    }
    code = change(config.config_directory, changes)
    for name, value in changes.items():
        print(f"{name} = {value}")
    shown = entry if ":oauth:" in entry else f"{entry.partition(':')[0]}:..."
    print(f"{path}: {relayhost} {shown}\n`mailctl reload` puts it in force")
    return code


def _write(path: str, key: str, value: str, user: str) -> None:
    """Put one entry into a password file, instead of any that the key has."""
    try:
        before = read_text(path)
    except FileNotFoundError:
        before = ""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if user:
                os.fchown(descriptor, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        finally:
            os.close(descriptor)
    replace_text(path, with_entry(before, key, value))


def with_entry(text: str, key: str, value: str) -> str:
    """Return the text of a password file in which a key has this one value; all other lines stay as they are."""
    lines = text.removesuffix("\n").split("\n") if text else []
    starts = [number for number, line in logical_lines(text) if line.split(None, 1)[0].lower() == key.lower()]
    kept = [line for number, line in enumerate(lines, 1) if not _belongs(number, starts, lines)]
    return "\n".join([*kept, f"{key} {value}"]) + "\n"


def _belongs(number: int, starts: list[int], lines: list[str]) -> bool:
    """Say whether a line begins one of the entries or continues it."""
    while number > 1 and lines[number - 1][:1] in (" ", "\t"):
        number -= 1
    return number in starts


def in_child(work: Callable[[], int]) -> int:
    """Have something done by a process of its own, which may become another user; returns its exit status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if status >= 0 else EX_OSERR
    code = EX_SOFTWARE
    try:
        code = work()
    except MailError as error:
        print(f"mailctl: {error}", file=sys.stderr)
        code = error.exit_code
    except (OSError, ValueError) as error:
        print(f"mailctl: {error}", file=sys.stderr)
        code = EX_OSERR
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
