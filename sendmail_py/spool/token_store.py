"""Accounts of OAuth on disk: one file each, in a directory that only the SMTP client's user can enter.

Guarantees: save() returns when the new text would outlive a power cut, and until then the old one is there; a writer
that was killed leaves the old account, or the new one, which the next writer takes; with lock() held nobody else
renews the same account.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from ..core.config import Config
from ..formats.oauth import Account, from_json, to_json
from . import atomic

_LIMIT = 1 << 17
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\+[^/]{1,170}\.json")
_PAUSE = 0.05


def directory_of(config: Config) -> str:
    """Return where the accounts of a configuration lie."""
    return f"{config.data_directory}/oauth"


class TokenStore:
    """The accounts in one directory. Its methods raise OSError, and ValueError for a file that holds no account."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, provider: str, address: str) -> str:
        """Return the file of an account; the case of letters makes no difference."""
        return f"{self.directory}/{provider}+{quote(address.lower(), safe='@')}.json"

    def load(self, provider: str, address: str) -> Account | None:
        """Return an account, None when there is none."""
        return self._read(self.path(provider, address))

    def stamp(self, provider: str, address: str) -> int:
        """Return a number that changes with the account."""
        try:
            return os.stat(self.path(provider, address)).st_mtime_ns
        except OSError:
            return 0

    def all(self) -> list[tuple[str, Account | None]]:
        """Return the accounts with their files, in order; None for what cannot be read."""
        try:
            names = sorted(name for name in os.listdir(self.directory) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []
        found: list[tuple[str, Account | None]] = []
        for name in names:
            try:
                found.append((name, self._read(f"{self.directory}/{name}")))
            except (OSError, ValueError):
                found.append((name, None))
        return found

    @contextlib.contextmanager
    def lock(self, provider: str, address: str, seconds: float) -> Iterator[None]:
        """Keep others from an account, processes and threads; raises TimeoutError when somebody has it for long."""
        path = self.path(provider, address)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            end = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise TimeoutError(f"{path}: somebody else renews it") from None
                    time.sleep(_PAUSE)
            self._adopt(path)
            yield
        finally:
            os.close(descriptor)

    def save(self, account: Account) -> Account:
        """Write an account durably, with the lock held; returns it with its new number."""
        account = replace(account, serial=account.serial + 1)
        path = self.path(account.provider, account.address)
        descriptor = atomic.create(f"{path}.new")
        try:
            atomic.write_all(descriptor, (to_json(account).encode(),))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        atomic.rename(f"{path}.new", path)
        atomic.sync_directory(self.directory)
        return account

    def remove(self, provider: str, address: str) -> bool:
        """Forget an account, with the lock held; False when there was none."""
        path = self.path(provider, address)
        found = os.path.lexists(path)
        for name in (path, f"{path}.new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        atomic.sync_directory(self.directory)
        return found

    def _adopt(self, path: str) -> None:
        """Take what a writer had finished when it was killed; what it had only begun is nothing."""
        try:
            new = self._read(f"{path}.new")
        except ValueError:
            new = None
        if new is None:
            return
        try:
            old = self._read(path)
        except ValueError:
            old = None
        if old is None or new.serial > old.serial:
            atomic.sync_file(f"{path}.new")
            atomic.rename(f"{path}.new", path)
            atomic.sync_directory(self.directory)

    def _read(self, path: str) -> Account | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            text = os.read(descriptor, _LIMIT).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
        try:
            return from_json(text)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
