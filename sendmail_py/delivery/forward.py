"""A user's .forward: found, read as that user, and flattened into targets.

A file that is not safely the user's own (someone else could have written it) or that cannot be
understood is passed over with a line in the log, and the mail goes to the mailbox. Where the
disk fails, the mail waits instead.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..core.config import Config
from ..core.envelope import Recipient
from ..core.result import Settled, from_errno
from ..formats import macros
from ..formats.aliases import Kind, Target, parse_list
from ..host.privileges import acts_for_others, effective
from ..host.users import User

SIZE_LIMIT = 1 << 18  # of all files together: whoever has a large one must not hold up the mail of others
LINE_LIMIT = 1 << 16
MACROS = ("home", "user", "shell", "recipient", "domain", "local", "extension", "recipient_delimiter")
_DEPTH = 10
_LONGEST_PATH = 1000
_NONE_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Warn = Callable[[str], None]


class Unsafe(Exception):
    """A file that cannot be used, and why."""


class Unreadable(Settled):
    """The disk failed, or a file of the user's is missing for now: the mail waits."""


@dataclass(frozen=True, slots=True)
class Forward:
    """What a .forward says: its path, and what the mail goes to."""

    path: str
    targets: tuple[Target, ...]

    def is_just(self, user: User) -> bool:
        """Say whether it names only the user: the mail is for the mailbox."""
        return all(
            target.address is not None and not target.address.domain and target.address.local_part == user.name
            for target in self.targets
        )

    def lines(self) -> bytes:
        """Return one target a line, as in an alias file."""
        return "".join(as_text(target) + "\n" for target in self.targets).encode("utf-8", "surrogateescape")


def find(user: User, recipient: Recipient, config: Config, warn: Warn) -> Forward | None:
    """Return what the user's .forward says, None where the mail is for the mailbox; raises Unreadable."""
    if not acts_for_others() and user.uid != os.getuid():
        return None  # an instance of one user has no business in the homes of others
    places = paths(user, recipient, config)
    if not places:
        return None
    with effective(user.uid, user.gid, list(user.groups)):
        for path in places:
            try:
                lines = _Reader(user).lines(path, ())
                if lines is None:
                    continue
                targets = tuple(dict.fromkeys(lines))
            except (Unsafe, ValueError) as fault:
                warn(f"{path} of user {user.name} is ignored: {fault}")
                return None
            return Forward(path, targets) if targets else None
    return None


def check_path(text: str) -> None:
    """Raise ValueError for a forward_path that cannot be understood."""
    for entry in text.replace(",", " ").split():
        try:
            macros.expand(entry, dict.fromkeys(MACROS, "x"))
        except macros.Undefined as error:
            raise ValueError(f"{entry}: there is no macro {error}") from error


def paths(user: User, recipient: Recipient, config: Config) -> list[str]:
    """Return where the user's .forward may be, in order; macros without a value rule a place out."""
    address = recipient.forward_path
    values = {
        "home": user.home,
        "user": user.name,
        "shell": user.shell,
        "recipient": str(address),
        "domain": address.domain,
        "local": address.local_part,
        "extension": "" if "/" in recipient.extension else recipient.extension,
        "recipient_delimiter": _delimiter(recipient),
    }
    allowed = frozenset(config.forward_expansion_filter) - {"/"}  # no address leads into another directory
    for name in values.keys() - {"home", "shell"}:
        values[name] = "".join(c if c in allowed else "_" for c in values[name])
    found = []
    for entry in config.forward_path.replace(",", " ").split():
        try:
            found.append(macros.expand(entry, values))
        except macros.Undefined:
            continue
    return [path for path in found if path.startswith("/")]


def _delimiter(recipient: Recipient) -> str:
    """Return the character that parts user and extension in this address."""
    local, extension = recipient.forward_path.local_part, recipient.extension
    return local[-len(extension) - 1 : -len(extension)] if extension else ""


@dataclass(slots=True)
class _Reader:
    """Reads one .forward and what it includes; each file once."""

    user: User
    seen: set[tuple[int, int]] = field(default_factory=set)
    size: int = 0

    def lines(self, path: str, way: tuple[str, ...]) -> Iterator[Target] | None:
        """Return the targets in a file, None where there is none; raises Unsafe, Unreadable, ValueError."""
        try:
            descriptor = self._open(path)
        except OSError as error:
            if error.errno in _NONE_THERE and not way:
                return None
            raise Unreadable(from_errno(error, f"cannot open {path} of user {self.user.name}")) from error
        return self._targets(descriptor, path, way)

    def _open(self, path: str) -> int:
        directory = os.open(os.path.dirname(path) or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = os.path.basename(path)
            os.stat(name, dir_fd=directory, follow_symlinks=False)  # most users have none: no more than this
            try:
                descriptor = os.open(name, _OPEN, dir_fd=directory)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise Unsafe("it is a symbolic link") from error
                if error.errno in (errno.ENXIO, errno.EACCES):
                    raise Unsafe("it cannot be opened") from error
                raise
            try:
                self._check(descriptor)
                self._check_directories(directory)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
        finally:
            os.close(directory)

    def _check(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unsafe("it is not a regular file")
        if status.st_uid not in (0, self.user.uid):
            raise Unsafe(f"it belongs to uid {status.st_uid}")
        if status.st_mode & 0o022:
            raise Unsafe("others may write to it")
        if status.st_nlink != 1:
            raise Unsafe(f"the file has {status.st_nlink} names")

    def _check_directories(self, directory: int) -> None:
        """Refuse a file that someone else could put another one in the place of."""
        root = os.stat("/")
        here = os.dup(directory)
        try:
            while True:
                status = os.fstat(here)
                is_sticky = status.st_mode & stat.S_ISVTX
                if status.st_uid not in (0, self.user.uid) or (status.st_mode & 0o022 and not is_sticky):
                    raise Unsafe("others may write to a directory above it")
                if (status.st_dev, status.st_ino) == (root.st_dev, root.st_ino):
                    return
                above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
                os.close(here)
                here = above
        finally:
            os.close(here)

    def _targets(self, descriptor: int, path: str, way: tuple[str, ...]) -> Iterator[Target]:
        """Yield the targets of an open file, in the place of an :include: those of the file it names."""
        with open(descriptor, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) in self.seen:
                return
            self.seen.add((status.st_dev, status.st_ino))
            number = 0
            while line := self._line(file.readline, path):
                number += 1
                try:
                    targets = parse_list(text) if (text := line.strip()) and not text.startswith("#") else []
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
                for target in targets:
                    if target.kind is Kind.INCLUDE:
                        yield from self._included(target.text, (*way, path))
                    else:
                        yield target

    def _line(self, read: Callable[[int], str], path: str) -> str:
        try:
            line = read(LINE_LIMIT)
        except OSError as error:
            raise Unreadable(from_errno(error, f"cannot read {path} of user {self.user.name}")) from error
        if len(line) == LINE_LIMIT or "\0" in line:
            raise ValueError(f"{path} is no text of lines")
        self.size += len(line)  # not the file's size: it may grow as fast as we read
        if self.size > SIZE_LIMIT:
            raise Unsafe("it is too large")
        return line

    def _included(self, path: str, way: tuple[str, ...]) -> Iterator[Target]:
        if len(way) > _DEPTH or not path.startswith("/") or len(path) > _LONGEST_PATH:
            raise ValueError(f"{way[-1]}: cannot include {path[:_LONGEST_PATH]}")
        try:
            targets = self.lines(path, way)
        except Unsafe as fault:
            raise Unsafe(f"it includes {path}, but {fault}") from fault
        yield from targets or ()


def as_text(target: Target) -> str:
    """Return a target as it could stand in an alias file, on a line of its own."""
    if target.kind is Kind.ADDRESS:
        assert target.address is not None
        return ("\\" if target.real_user else "") + str(target.address)
    mark = "|" if target.kind is Kind.COMMAND else ""
    text = (mark + target.text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
