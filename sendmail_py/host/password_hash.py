"""Password hashes: scrypt ($scrypt$), SCRAM keys, and whatever this system's crypt(3) knows.

Guarantees: a comparison takes as long whatever it comes to; what cannot be checked is a ValueError,
and matches nothing.
"""

import base64
import ctypes
import functools
import hashlib
import hmac
import os
from collections.abc import Callable

from ..protocol.saslprep import saslprep
from ..protocol.scram_keys import NAME as SCRAM
from ..protocol.scram_keys import ScramKeys, keys_of

_SCRYPT = "$scrypt$"
_LN, _R, _P = 14, 8, 5  # 16 MiB; of equal strength with 128 MiB and one pass
_MOST_MEMORY = 256 << 20
_CRYPT_DATA = 1 << 18  # glibc's struct crypt_data has 128 kB, libxcrypt's 32
_CRYPT_ALPHABET = frozenset("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def make(password: str, as_scram: bool) -> str:
    """Return a new hash of a password; raises ValueError for one that has no prepared form."""
    prepared = saslprep(password)
    if not prepared:
        raise ValueError("the password is empty")
    salt = os.urandom(16)
    if as_scram:
        return str(keys_of(prepared, salt))
    digest = _scrypt(prepared, salt, _LN, _R, _P, 32)
    return f"{_SCRYPT}ln={_LN},r={_R},p={_P}${_text(salt)}${_text(digest)}"


def normal(text: str) -> str:
    """Return a hash without the {SCHEME} of Dovecot's passwd-file; raises ValueError for one that cannot be checked."""
    scheme, brace, rest = text.partition("}")
    if text.startswith("{") and brace:
        if scheme[1:].upper() == SCRAM:
            iterations, salt, stored, server = (*rest.split(","), "", "", "")[:4]
            rest = f"{SCRAM}${iterations}:{salt}${stored}:{server}"
        elif scheme[1:].upper() not in ("CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT"):
            raise ValueError(f"{scheme}}}: hashes of this kind cannot be checked")
        text = rest
    if text.startswith(_SCRYPT):
        _parse_scrypt(text)
    elif text.startswith(SCRAM):
        ScramKeys.parse(text)
    elif not text.startswith(("$", "_")) and not (len(text) == 13 and _CRYPT_ALPHABET.issuperset(text)):
        raise ValueError("no hash that can be checked; `mailctl passwd add` makes one")
    return text


def is_of(hash: str, password: str) -> bool:
    """Say whether a hash, normal(), is that of a password; raises ValueError, OSError where that cannot be told."""
    if not hash.startswith((_SCRYPT, SCRAM)):
        return _crypt(password, hash)
    try:
        prepared = saslprep(password)
    except ValueError:
        prepared = password  # it is nobody's; it takes its time all the same
    if hash.startswith(SCRAM):
        return ScramKeys.parse(hash).is_of(prepared)
    ln, r, p, salt, digest = _parse_scrypt(hash)
    return hmac.compare_digest(_scrypt(prepared, salt, ln, r, p, len(digest)), digest)


def _scrypt(password: str, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    memory = 128 * r * ((1 << ln) + p + 2)
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << ln, r=r, p=p, maxmem=memory + (1 << 20), dklen=length)


def _parse_scrypt(text: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        _, _, costs, salt, digest = text.split("$")
        ln, r, p = (
            int(part.removeprefix(key)) for key, part in zip(("ln=", "r=", "p="), costs.split(","), strict=True)
        )
        octets = _octets(salt), _octets(digest)
    except ValueError:
        raise ValueError("no scrypt hash") from None
    is_sane = 1 <= ln <= 30 and 1 <= r <= 64 and 1 <= p <= 64 and 128 * r << ln <= _MOST_MEMORY
    if not is_sane or not octets[0] or not 16 <= len(octets[1]) <= 64:
        raise ValueError("a scrypt hash whose parameters are out of bounds")
    return ln, r, p, *octets


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


def _octets(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


# --- crypt(3) ------------------------------------------------------------------------------------


@functools.cache
def _crypt_r() -> "Callable[..., bytes | None]":
    """Return the function of libcrypt; Python's own module crypt is gone since 3.13."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        function.restype = ctypes.c_char_p
        return function
    raise OSError("there is no libcrypt here: crypt hashes cannot be checked")


def _crypt(password: str, hash: str) -> bool:
    """Hash a password as another one was; crypt_r, because threads do so at one time."""
    data = ctypes.create_string_buffer(_CRYPT_DATA)
    made = _crypt_r()(password.encode("utf-8", "surrogateescape"), hash.encode("ascii", "replace"), data)
    if not made or made.startswith(b"*"):
        raise ValueError("a hash that this system's crypt(3) does not know")
    return hmac.compare_digest(made, hash.encode("ascii", "replace"))
