"""Keys for DKIM: made, read, and used to sign; with certs.py the door to cryptography.

Guarantees: a key file is written with mode 0600, and never over another; no message tells a key.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

RSA, ED25519 = "rsa", "ed25519"
_BITS = 2048
_LIMIT = 65536


class Key(NamedTuple):
    """A private key: its type, what signs with it, and its public half as DNS has it."""

    type: str
    sign: Callable[[bytes], bytes]
    public: bytes

    @property
    def algorithm(self) -> str:
        """The name as a= has it."""
        return f"{self.type}-sha256"


def read_key(path: str) -> Key:
    """Read a key file (PEM); raises OSError, ValueError."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

    with open(path, "rb") as file:
        text = file.read(_LIMIT)
    try:
        private = serialization.load_pem_private_key(text, None)
    except (ValueError, TypeError):
        raise ValueError(f"{path} holds no private key in PEM without a password") from None
    if isinstance(private, rsa.RSAPrivateKey):
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        public = private.public_key().public_bytes(*form)
        return Key(RSA, lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256()), public)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        return Key(ED25519, lambda data: private.sign(_digest(data)), private.public_key().public_bytes(*raw))
    raise ValueError(f"{path}: an RSA or Ed25519 key is expected")


def _digest(data: bytes) -> bytes:
    """Return what Ed25519 signs (RFC 8463 3)."""
    import hashlib

    return hashlib.sha256(data).digest()


def make_key(path: str, key_type: str) -> Key:
    """Make a key file; raises OSError, FileExistsError where there is one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    private = rsa.generate_private_key(65537, _BITS) if key_type == RSA else ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text = private.private_bytes(serialization.Encoding.PEM, *form)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return read_key(path)
