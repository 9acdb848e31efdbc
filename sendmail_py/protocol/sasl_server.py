"""The server's side of SASL: PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256 (RFC 5802, 7677), without socket or file.

A mechanism is a generator. It yields a Challenge, and is sent the client's response; or a question
about passwords (Password, Keys), and is sent the answer. It returns who the client is, or raises
SaslError. Guarantees: nobody acts as another, for an authorization identity other than one's own is
refused; an unknown user takes the steps of a known one; no error text holds what the client said.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from .saslprep import saslprep
from .scram_keys import NAME as SCRAM
from .scram_keys import ScramKeys, mac, xor

MECHANISMS = (SCRAM, "PLAIN", "LOGIN")
PLAINTEXT = frozenset(("PLAIN", "LOGIN"))
_RULED_OUT = {  # by which options; SCRAM can be attacked actively and by guessing, as any password can
    "PLAIN": {"noplaintext", "noactive", "nodictionary", "mutual_auth", "forward_secrecy"},
    "LOGIN": {"noplaintext", "noactive", "nodictionary", "mutual_auth", "forward_secrecy"},
    SCRAM: {"nodictionary", "forward_secrecy"},
}
_LONGEST = 1024  # octets of a name or password


class SaslError(Exception):
    """The login fails; the text may go into the log, and says nothing that a client could not know."""


class NotBase64(SaslError):
    """A response that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server says: octets that go out as base64."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Password:
    """A question: is this the user's password? The answer is a bool."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """A question: the ScramKeys of a user, or those that an unknown one could have; and is he known?"""

    user: str


Step = Challenge | Password | Keys
Exchange = Generator[Step, Any, str]


def allowed(mechanisms: Iterable[str], options: Iterable[str]) -> list[str]:
    """Return the mechanisms that the security options leave; one of which nothing is known goes by its name alone."""
    ruling = set(options)
    return [name for name in mechanisms if not ruling & _RULED_OUT.get(name, set()) and not _is_anonymous(name, ruling)]


def _is_anonymous(name: str, options: set[str]) -> bool:
    return name == "ANONYMOUS" and "noanonymous" in options


def decode(text: str) -> bytes:
    """Return the octets of a response; "=" is an empty one. Raises SaslError."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise NotBase64("no base64") from None


def encode(data: bytes) -> str:
    """Return octets as they stand in a challenge."""
    return base64.b64encode(data).decode()


def begin(mechanism: str, initial: bytes | None, nonce: Callable[[], str]) -> Exchange:
    """Begin a login; raises KeyError for a mechanism that is not known here."""
    if mechanism == SCRAM:
        return _scram(initial, nonce())
    return {"PLAIN": _plain, "LOGIN": _login}[mechanism](initial)


def _plain(initial: bytes | None) -> Exchange:
    message = (yield Challenge(b"")) if initial is None else initial
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslError("malformed response")
    authorized, user, password = parts
    name = yield from _verified(user, password)
    if authorized and _prepared(authorized) != name:
        raise SaslError("an identity other than the user's own")
    return name


def _login(initial: bytes | None) -> Exchange:
    user = (yield Challenge(b"Username:")) if initial is None else initial
    password = yield Challenge(b"Password:")
    return (yield from _verified(user, password))


def _verified(user: bytes, password: bytes) -> Exchange:
    name = _prepared(user)
    if not (yield Password(name, _text(password))):
        raise SaslError("authentication failure")
    return name


def _text(octets: bytes) -> str:
    """Return a name or password as a text. A password is not prepared here: a hash may have been made without that."""
    if not octets or len(octets) > _LONGEST:
        raise SaslError("malformed response")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise SaslError("malformed response") from None
    if "\0" in text:
        raise SaslError("malformed response")
    return text


def _prepared(octets: bytes) -> str:
    try:
        name = saslprep(_text(octets))
    except ValueError:
        raise SaslError("malformed response") from None
    if not name:
        raise SaslError("malformed response")
    return name


# --- SCRAM ---------------------------------------------------------------------------------------


def _scram(initial: bytes | None, server_nonce: str) -> Exchange:
    first = (yield Challenge(b"")) if initial is None else initial
    binding, authorized, bare, user, client_nonce = _client_first(first)
    keys, is_known = yield Keys(user)
    assert isinstance(keys, ScramKeys)
    nonce = client_nonce + server_nonce
    server_first = f"r={nonce},s={encode(keys.salt)},i={keys.iterations}"
    final = yield Challenge(server_first.encode())
    proof, without_proof = _client_final(final, binding, nonce)
    signed = f"{bare},{server_first},{without_proof}".encode()
    if not _is_proven(keys, signed, proof) or not is_known:
        raise SaslError("authentication failure")
    if authorized and authorized != user:
        raise SaslError("an identity other than the user's own")
    yield Challenge(b"v=" + encode(mac(keys.server_key, signed)).encode())
    return user


def _is_proven(keys: ScramKeys, signed: bytes, proof: bytes) -> bool:
    client_key = xor(proof, mac(keys.stored_key, signed))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)


def _client_first(message: bytes) -> tuple[str, str, str, str, str]:
    """Return GS2 header, authorization identity, the rest, and the user and nonce in it."""
    flag, authorization, name, nonce, *extensions = _attributes(message, 4)
    if flag not in ("n", "y"):  # p=...: channel binding, which is not offered
        raise SaslError("channel binding is not offered")
    bare = ",".join((name, nonce, *extensions))
    if (authorization and not authorization.startswith("a=")) or name[:2] != "n=" or not _is_nonce(nonce):
        raise SaslError("malformed response")
    authorized = _name(authorization[2:]) if authorization else ""
    return f"{flag},{authorization},", authorized, bare, _name(name[2:]), nonce[2:]


def _client_final(message: bytes, binding: str, nonce: str) -> tuple[bytes, str]:
    """Return the proof and the message without it."""
    channel, its_nonce, *extensions, proof = _attributes(message, 3)
    if channel != f"c={encode(binding.encode())}" or not hmac.compare_digest(its_nonce.encode(), f"r={nonce}".encode()):
        raise SaslError("malformed response")
    octets = decode(proof[2:]) if proof.startswith("p=") else b""
    if len(octets) != hashlib.sha256().digest_size:
        raise SaslError("malformed response")
    return octets, ",".join((channel, its_nonce, *extensions))


def _attributes(message: bytes, number: int) -> list[str]:
    """Return the attributes of a message: so many, or more where there are extensions, which do not matter here.

    One that has to be understood (m=, RFC 5802 5.1) stands where another one belongs, and is refused there.
    """
    if len(message) > 4 * _LONGEST:
        raise SaslError("malformed response")
    parts = message.split(b",")
    if len(parts) < number:
        raise SaslError("malformed response")
    try:
        return [part.decode() for part in parts]
    except UnicodeDecodeError:
        raise SaslError("malformed response") from None


def _is_nonce(text: str) -> bool:
    return text.startswith("r=") and len(text) > 2 and all("!" <= c <= "~" for c in text[2:])


def _name(text: str) -> str:
    """Return a name in which =2C is a comma and =3D an equals sign."""
    parts = text.split("=")
    if any(part[:2] not in ("2C", "3D") for part in parts[1:]):
        raise SaslError("malformed response")
    whole = parts[0] + "".join({"2C": ",", "3D": "="}[part[:2]] + part[2:] for part in parts[1:])
    return _prepared(whole.encode())
