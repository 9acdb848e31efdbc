"""The password file of the SMTP server's users: who there is, and is this his password?

Read again when it has changed; whoever is logging in meanwhile is answered from the one reading or the other.
Guarantees: a file that others can read or change is not used at all; an unknown user costs the time of a known
one, and has SCRAM salts that are always the same.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from ..formats.password_lines import LOCKED, entry
from ..protocol.sasl_server import MECHANISMS, PLAINTEXT
from ..protocol.saslprep import saslprep
from ..protocol.scram_keys import ITERATIONS, ScramKeys, mac
from .password_hash import is_of, normal
from .read_file import open_regular

Warn = Callable[[str], None]
_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file said, read once: the hash of each user, and their names in order."""

    hashes: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def hash_for(self, user: str) -> str:
        """Return a user's hash. An unknown one's is some user's, always the same for a name, which takes as long."""
        if user in self.hashes or not self.order:
            return self.hashes.get(user, "")
        number = int.from_bytes(hashlib.sha256(user.encode("utf-8", "surrogateescape")).digest()[:8])
        return self.hashes[self.order[number % len(self.order)]]


class UserPasswords:
    """One file; is_ours says of an owner whether we trust him."""

    def __init__(self, path: str, is_ours: Callable[[int], bool]) -> None:
        self.path = path
        self._is_ours = is_ours
        self._seen: tuple[int, ...] = ()
        self._known = _Known()
        self.mechanisms: tuple[str, ...] = ()

    def refresh(self, warn: Warn) -> None:
        """Read the file when it is new or has changed; raises OSError, and then nobody logs in."""
        try:
            if not self._seen or _stamp(os.stat(self.path)) != self._seen:
                self._seen = ()
                self._read(warn)
        except OSError as error:
            raise OSError(f"{self.path}: {error.strerror or error}") from error

    def _read(self, warn: Warn) -> None:
        descriptor = open_regular(self.path)
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
            status = os.fstat(descriptor)
            if not self._is_ours(status.st_uid):
                raise OSError(f"it belongs to uid {status.st_uid}; it must be root's or the server's")
            if status.st_mode & 0o027:
                raise OSError(f"its mode is {stat.S_IMODE(status.st_mode):04o}; 0600 or 0640 is right")
            text = file.read(_LIMIT)
        hashes = self._parsed(text, warn)
        scrams = [hash.startswith("SCRAM") for hash in hashes.values()]
        self._known = _Known(hashes, tuple(sorted(hashes)))
        self.mechanisms = MECHANISMS if all(scrams) and scrams else tuple(m for m in MECHANISMS if m in PLAINTEXT)
        self._seen = _stamp(status)

    def _parsed(self, text: str, warn: Warn) -> dict[str, str]:
        users: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = entry(line)
                if found and not found[1].startswith(LOCKED):
                    users[saslprep(found[0])] = normal(found[1])
            except ValueError as error:  # which says nothing of what stands in the line
                warn(f"{self.path}, line {number}: {error}")
        return users

    def is_password(self, user: str, password: str) -> bool:
        """Say whether it is the user's password; raises OSError, ValueError where that cannot be told."""
        known = self._known
        hash = known.hash_for(user)
        return bool(hash) and is_of(hash, password) and user in known.hashes

    def keys(self, user: str) -> tuple[ScramKeys, bool]:
        """Return the SCRAM keys of a user and that he has some, or keys of nobody's."""
        known = self._known
        hash = known.hash_for(user)
        if hash.startswith("SCRAM"):
            keys = ScramKeys.parse(hash)
            if user in known.hashes:
                return keys, True
            return ScramKeys(_salt(keys.stored_key, user), keys.iterations, keys.server_key, keys.stored_key), False
        return ScramKeys(_salt(hash.encode(), user), ITERATIONS, bytes(32), bytes(32)), False


def _salt(secret: bytes, user: str) -> bytes:
    return mac(secret, b"salt of " + user.encode("utf-8", "surrogateescape"))[:16]


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
