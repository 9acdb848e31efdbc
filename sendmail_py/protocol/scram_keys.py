"""SCRAM-SHA-256 (RFC 5802, 7677): what is stored of a password, and the sums that both sides do.

Guarantee: from what is stored nobody can log in without trying passwords: the client's key is not in it.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

NAME = "SCRAM-SHA-256"
ITERATIONS = 100_000  # of new keys; RFC 7677 asks for 4096 at least
LEAST_ITERATIONS, MOST_ITERATIONS = 4096, 10_000_000


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        """The form of RFC 5803, which PostgreSQL writes too."""
        salt, stored, server = (_text(part) for part in (self.salt, self.stored_key, self.server_key))
        return f"{NAME}${self.iterations}:{salt}${stored}:{server}"

    @staticmethod
    def parse(text: str) -> "ScramKeys":
        """Read that form; raises ValueError."""
        try:
            name, cost, keys = text.split("$")
            count, salt = cost.split(":")
            stored, server = keys.split(":")
            found = ScramKeys(_octets(salt), int(count), _octets(stored), _octets(server))
        except ValueError:
            raise ValueError(f"no {NAME} keys") from None
        is_whole = name == NAME and found.salt and len(found.stored_key) == len(found.server_key) == 32
        if not is_whole or not LEAST_ITERATIONS <= found.iterations <= MOST_ITERATIONS:
            raise ValueError(f"no {NAME} keys")
        return found

    def is_of(self, password: str) -> bool:
        """Say whether a password, prepared, is the one that these keys were made of."""
        made = keys_of(password, self.salt, self.iterations)
        return hmac.compare_digest(made.stored_key, self.stored_key)


def salted(password: str, salt: bytes, iterations: int) -> bytes:
    """Return SaltedPassword of a prepared password."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)


def keys_of(password: str, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """Return the keys to store for a prepared password."""
    secret = salted(password, salt, iterations)
    stored = hashlib.sha256(mac(secret, b"Client Key")).digest()
    return ScramKeys(salt, iterations, stored, mac(secret, b"Server Key"))


def mac(key: bytes, text: bytes) -> bytes:
    """Return HMAC-SHA-256."""
    return hmac.digest(key, text, "sha256")


def xor(one: bytes, other: bytes) -> bytes:
    """Return the exclusive or of two strings of one length."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
