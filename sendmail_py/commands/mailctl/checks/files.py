"""Files and directories: who owns them, who may write them, and how much room there is."""

import os
import pwd
import re
import stat
from collections.abc import Iterator

from ....core.config import Config
from ....core.errors import SpoolError
from ....core.params import BY_NAME
from ....host.privileges import effective
from ....services.children import is_one_user, user_of
from ....services.smtp_checks import password_complaints, unused_logins
from ....spool import directories
from ....spool.token_store import directory_of
from .finding import Finding, error, warning

_TABLE = re.compile(r"(?<![\w:])((?:texthash|hash|btree|lmdb|cdb|dbm|regexp|pcre|cidr|sqlite):(/[^\s,{}]+))")
_OTHERS_LOOK = {"alias_maps", "alias_database", "smtp_sasl_password_maps"}


def check(config: Config) -> Iterator[Finding]:
    """Yield what is wrong with owners and modes, then what is short on the disk of the queue."""
    repair = f"mailctl -c {config.config_directory} {'init' if is_one_user(config) else 'setup'}"
    yield from _configuration(f"{config.config_directory}/main.cf")
    owner = os.getuid() if is_one_user(config) else pwd.getpwnam(config.mail_owner).pw_uid
    try:
        gid = os.getgid() if is_one_user(config) else pwd.getpwnam(config.mail_owner).pw_gid
        with effective(owner, gid, []):
            directories.check(config.queue_directory, owner)
    except (SpoolError, OSError) as fault:
        moved = _elsewhere(config.queue_directory)
        yield error(str(fault).partition("; ")[0], f"umount {' '.join(moved)}; {repair}" if moved else repair)
    client = user_of("smtp", config)
    uid = pwd.getpwnam(client).pw_uid if client else os.getuid()
    yield from _private(directory_of(config), uid, repair)
    for text in unused_logins(config):
        yield warning(text, f"mailctl -c {config.config_directory} config -e smtp_sasl_auth_enable=yes")
    for text in password_complaints(config):
        path = next((word.rstrip(":") for word in text.split() if word.startswith("/")), "FILE")
        yield error(text, f"chown {client or os.getuid()} {path}; chmod 600 {path}")
    yield from _mailboxes(config)
    yield from _log(config)
    yield from _tables(config)
    yield from room(os.statvfs(_existing(config.queue_directory)), config)


def _mailboxes(config: Config) -> Iterator[Finding]:
    """Yield that the directory of the mailboxes is missing, where mail goes there."""
    path = config.mail_spool_directory
    goes_elsewhere = config.home_mailbox or config.mailbox_command or config.mailbox_transport
    if goes_elsewhere or not config.mydestination or os.path.isdir(path):
        return
    what = "is no directory" if os.path.exists(path) else "is not there"
    rights = "-m 700" if is_one_user(config) else "-m 2775 -o root -g mail"
    text = f"mail_spool_directory = {path} {what}: mail to users of this host waits"
    yield error(text, f"{f'mv {path} {path}.old; ' if os.path.lexists(path) else ''}install -d {rights} {path}")


def _log(config: Config) -> Iterator[Finding]:
    """Yield that maillog_file cannot be there: the services do not start without it."""
    path, directory = config.maillog_file, os.path.dirname(config.maillog_file)
    if path and not os.path.isdir(directory):
        yield error(f"maillog_file = {path}: there is no directory {directory}", f"install -d {directory}")
    elif os.path.isdir(path):
        yield error(f"maillog_file = {path} is a directory", f"rmdir {path}")


def _tables(config: Config) -> Iterator[Finding]:
    """Yield tables of main.cf whose file is not there; alias files and passwords are looked at for themselves."""
    for name in sorted(set(config.settings) & set(BY_NAME) - _OTHERS_LOOK):
        for table, path in _TABLE.findall(config.expanded(name)):
            try:
                os.stat(path)
            except OSError as fault:
                yield error(f"{name}: {table}: {fault.strerror}; mail for which it is asked waits", f"ls -l {path}")


def _elsewhere(top: str) -> list[str]:
    try:
        return directories.elsewhere(top)
    except OSError:
        return []


def _configuration(path: str) -> Iterator[Finding]:
    try:
        status = os.stat(path)
    except OSError:
        return
    if status.st_uid not in (0, os.geteuid()):
        yield error(f"{path} belongs to uid {status.st_uid}, who can change what the services do", f"chown root {path}")
    if status.st_mode & 0o022:
        mode = f"{stat.S_IMODE(status.st_mode):o}"
        yield error(f"{path} has mode {mode}: others can change what the services do", f"chmod go-w {path}")


def _private(path: str, uid: int, repair: str) -> Iterator[Finding]:
    try:
        status = os.lstat(path)
    except OSError:
        return
    if status.st_uid != uid or stat.S_IMODE(status.st_mode) != 0o700 or not stat.S_ISDIR(status.st_mode):
        mode = f"{stat.S_IMODE(status.st_mode):o}"
        yield error(f"{path} holds tokens; it has mode {mode} and uid {status.st_uid}, not 700 and {uid}", repair)


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _mount_point(path: str) -> str:
    while path != "/" and not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def room(disk: os.statvfs_result, config: Config) -> Iterator[Finding]:
    """Yield what is short on a disk: mail is refused below the larger of 1.5 x message_size_limit and queue_minfree."""
    queue = config.queue_directory
    free, needed = disk.f_bavail * disk.f_frsize, max(config.message_size_limit * 3 // 2, config.queue_minfree)
    look = f"df -h {queue}; du -xam {_mount_point(queue)} | sort -n | tail"
    if free < needed:
        yield error(f"{queue}: {free >> 20} MB are free, mail is refused below {needed >> 20} MB", look)
    elif free < 4 * needed or free < disk.f_blocks * disk.f_frsize // 50:
        yield warning(f"{queue}: {free >> 20} MB are free, soon mail is refused (below {needed >> 20} MB)", look)
    if disk.f_files and disk.f_favail * 100 < disk.f_files:
        level = warning if disk.f_favail else error
        yield level(f"{queue}: {disk.f_favail} of {disk.f_files} inodes are free", f"df -i {queue}; mailctl queue list")
