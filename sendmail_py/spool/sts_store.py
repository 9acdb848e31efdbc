"""Policies of MTA-STS on disk: one file for a domain, in a directory that only the SMTP client's user can enter.

Guarantees: what was saved outlives a power cut, and a writer that was killed leaves what was there before; of several
who want to fetch the policy of a domain one does, and the others have what it got.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

from ..core.config import Config
from ..formats.sts import Kept, from_json, to_json
from . import atomic

_LIMIT = 1 << 18
_LONG = 200  # a name of a domain may have 253 octets, and that of a file, with its ending, 255
_PAUSE = 0.05
_NEW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def directory_of(config: Config) -> str:
    """Return where the policies of a configuration lie."""
    return f"{config.data_directory}/sts"


class StsStore:
    """The policies in one directory. Its methods raise OSError."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, domain: str) -> str:
        """Return the file of a domain."""
        name = quote(domain.lower(), safe="")
        name = name if len(name) <= _LONG else hashlib.sha256(name.encode()).hexdigest()
        return f"{self.directory}/{name}.json"

    def load(self, domain: str) -> Kept | None:
        """Return what is known of a domain; nothing where the file is spoilt, or another domain's."""
        kept = _read(self.path(domain))
        return kept if kept and kept.domain == domain else None

    def all(self) -> list[Kept]:
        """Return what is known of all domains, that which was fetched longest ago first."""
        names = [name for name in os.listdir(self.directory) if name.endswith(".json")]  # not what is being written
        found = [_read(f"{self.directory}/{name}") for name in names]
        return sorted((kept for kept in found if kept), key=lambda kept: kept.fetched_at)

    def used_at(self, domain: str) -> float:
        """Return when a policy was last asked for, within a day."""
        return os.stat(self.path(domain)).st_mtime

    def use(self, domain: str) -> None:
        """Remember that a policy was asked for."""
        os.utime(self.path(domain))

    def remove(self, domain: str) -> None:
        """Forget a domain."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(domain))

    @contextlib.contextmanager
    def claim(self, domain: str, seconds: float) -> Iterator[Callable[[Kept], None]]:
        """Keep others, threads and processes, from a domain; yields what saves.

        The new file itself is what is locked, so that nothing stays behind. Raises TimeoutError when somebody
        has it for long.
        """
        path = self.path(domain)
        with contextlib.suppress(OSError):  # the system's instance has it; elsewhere it is the user's to make
            os.mkdir(self.directory, 0o700)
        descriptor = _locked(f"{path}.new", time.monotonic() + seconds)
        is_saved = False

        def save(kept: Kept) -> None:
            nonlocal is_saved
            os.ftruncate(descriptor, 0)
            atomic.write_all(descriptor, (to_json(kept).encode(),))
            os.fsync(descriptor)
            with contextlib.suppress(FileNotFoundError):  # that it was renewed does not mean that it was used
                used = os.stat(path).st_mtime_ns
                os.utime(descriptor, ns=(used, used))
            os.rename(f"{path}.new", path)
            is_saved = True
            atomic.sync_directory(self.directory)

        try:
            yield save
        finally:
            if not is_saved:
                with contextlib.suppress(OSError):
                    os.unlink(f"{path}.new")
            os.close(descriptor)


def _locked(path: str, end: float) -> int:
    """Return the file open and locked, which is then under that name: it may have been another's that was renamed."""
    while True:
        descriptor = os.open(path, _NEW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                raise TimeoutError(f"{path}: somebody else is at it") from None
            time.sleep(_PAUSE)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _read(path: str) -> Kept | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return from_json(os.read(descriptor, _LIMIT).decode("utf-8", "replace"))
    except ValueError:
        return None  # it is fetched again
    finally:
        os.close(descriptor)
