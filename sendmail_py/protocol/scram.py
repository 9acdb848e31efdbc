"""The client of SCRAM (RFC 5802, 7677), without channel binding: the password is proven, never sent.

Guarantees: the server must prove that it knows the password as well, or the login fails; a server
cannot make us work for more than ITERATIONS_LIMIT rounds, nor fewer than the RFC's least.
"""

import base64
import hashlib
import hmac
from typing import Final

ITERATIONS_LEAST: Final = 4096  # RFC 5802 5.1; fewer are a sign of somebody who wants to guess the password
ITERATIONS_LIMIT: Final = 600_000  # a quarter of a second


class ScramError(ValueError):
    """The other side does not keep to SCRAM, or does not know the password."""


def prepared(text: str) -> str:
    """Return a user or password in SASLprep's form (RFC 4013); one that has none stays as it is."""
    if text.isascii():
        return text
    from .saslprep import saslprep  # only here: few names need its tables

    try:
        return saslprep(text)
    except ValueError:
        return text


def escaped(name: str) -> str:
    """Return a name as it stands in an attribute: "=" and "," have a meaning there."""
    return name.replace("=", "=3D").replace(",", "=2C")


class Scram:
    """One exchange: first(), then final() for the server's first message, then check() of its last."""

    def __init__(self, digest: str, user: str, password: str, nonce: str) -> None:
        self._digest = digest
        self._password = prepared(password).encode("utf-8", "surrogateescape")
        self._nonce = nonce
        self._bare = f"n={escaped(prepared(user))},r={nonce}"
        self._signature = b""

    def first(self) -> str:
        """Return the client's first message."""
        return f"n,,{self._bare}"

    def final(self, said: str) -> str:
        """Return the client's last message; raises ScramError."""
        fields = _fields(said)
        nonce = fields.get("r", "")
        if "m" in fields or not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("its nonce is not one for us")
        try:
            salt, rounds = base64.b64decode(fields["s"], validate=True), int(fields["i"])
        except (KeyError, ValueError):
            raise ScramError("it gave no salt or count") from None
        if not ITERATIONS_LEAST <= rounds <= ITERATIONS_LIMIT:
            raise ScramError(f"it wants {rounds} rounds, which is none of {ITERATIONS_LEAST} to {ITERATIONS_LIMIT}")
        salted = hashlib.pbkdf2_hmac(self._digest, self._password, salt, rounds)
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._bare},{said},{without_proof}".encode("utf-8", "surrogateescape")
        key = self._hmac(salted, b"Client Key")
        mask = self._hmac(hashlib.new(self._digest, key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(key, mask, strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}"

    def check(self, said: str) -> None:
        """Raise ScramError unless the server's last message proves that it knows the password."""
        fields = _fields(said)
        if "e" in fields:
            raise ScramError(f"it says: {fields['e'][:80]}")
        wanted = base64.b64encode(self._signature).decode()
        if not self._signature or not hmac.compare_digest(fields.get("v", "").encode(), wanted.encode()):
            raise ScramError("it did not prove that it knows the password")

    def _hmac(self, key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, self._digest)


def _fields(text: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}
