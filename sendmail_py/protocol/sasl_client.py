"""The mechanisms of SASL as a client speaks them: what is said, in answer to what.

PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), SCRAM-SHA-1 and -256 (scram.py), XOAUTH2 (Google's and
Microsoft's) and OAUTHBEARER (RFC 7628). Guarantees: what is sent is base64, so nothing in a name or
password can end a line; a server that has to prove something and did not is never believed; and
without_secrets() takes out of what a server says whatever it should not have said.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Final

from .sasl import BEARER, XOAUTH2, Login
from .scram import Scram, ScramError, escaped

_LONGEST_INITIAL: Final = 480  # octets of a response that stands in the command line, which holds 512
_HIDDEN: Final = "<hidden>"
_LEAST_SECRET: Final = 4  # shorter parts of what was sent are no secret, and would blot out the server's words
_GIVE_UP: Final = "*"

# A conversation is given the server's words, and yields ours; the first of ours answers nothing.
# A ValueError of it gives up. What the server says after its end is not asked for.
_Talk = Iterator[str]


class Exchange:
    """The answers of one login, in their order; initial may be empty, then all are asked for.

    nonce is a random text; host and port are the server's, for those mechanisms that tell them.
    """

    def __init__(self, mechanism: str, login: Login, nonce: str = "", host: str = "", port: int = 0) -> None:
        if mechanism not in _TALKS:
            raise ValueError(f"{mechanism}: a mechanism that is not known here")
        self._login = login
        self.nonce, self.host, self.port = nonce, host, port
        self._sent = [login.password, f"\0{login.user}\0{login.password}"]  # what PLAIN sends, a server may say
        self._heard = ""
        self._is_over = False
        self.fault = ""
        self.complaint = ""
        self._talk = _TALKS[mechanism](self, login)
        self._waiting: str | None = None
        self.initial = ""
        if mechanism in _CLIENT_FIRST:
            first = self._next()
            if len(first) <= _LONGEST_INITIAL:
                self.initial = first
            else:
                self._waiting = first

    def answer(self, said: str = "") -> str:
        """Return the answer to what a 334 says; "*", which gives up, when there is nothing left to say."""
        if self._waiting is not None:
            first, self._waiting = self._waiting, None
            return first
        try:
            self._heard = base64.b64decode(said, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            self._heard = ""
        return self._next()

    @property
    def is_proven(self) -> bool:
        """False when the server says that all is well before it has proven what it has to."""
        return not self.fault and (self._is_over or not isinstance(self._talk, _Proving))

    def heard(self) -> str:
        """Return what the server has said in clear text, for a conversation."""
        return self._heard

    def without_secrets(self, text: str) -> str:
        """Return what a server says without what it should not have said."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def _next(self) -> str:
        try:
            text = next(self._talk)
        except StopIteration:
            return _GIVE_UP
        except ValueError as error:
            self.fault = self.fault or str(error)
            return _GIVE_UP
        if isinstance(self._talk, _Proving):
            self._is_over = self._talk.is_over
        self._sent.append(text)
        return _base64(text)

    def _secrets(self) -> set[str]:
        """Return the forms in which secrets travel."""
        forms = {form for text in self._sent if text != self._login.user for form in (text, _base64(text))}
        forms |= {form.rstrip("=") for form in forms}
        return {form for form in forms if len(form) >= _LEAST_SECRET or form == self._login.password} - {""}


class _Proving:
    """SCRAM as a conversation; it is over when the server has proven itself."""

    def __init__(self, digest: str, exchange: Exchange, login: Login) -> None:
        self._scram = Scram(digest, login.user, login.password, exchange.nonce)
        self._exchange = exchange
        self._turn = 0
        self.is_over = False

    def __iter__(self) -> "_Proving":
        return self

    def __next__(self) -> str:
        self._turn += 1
        if self._turn == 1:
            return self._scram.first()
        try:
            if self._turn == 2:
                return self._scram.final(self._exchange.heard())
            if self._turn == 3:
                self._scram.check(self._exchange.heard())
                self.is_over = True
                return ""
        except ScramError as error:
            raise ScramError(f"the server cannot be trusted: {error}") from None
        raise StopIteration


def _plain(_: Exchange, login: Login) -> _Talk:
    yield f"\0{login.user}\0{login.password}"


def _login(_: Exchange, login: Login) -> _Talk:
    yield login.user
    yield login.password


def _cram_md5(exchange: Exchange, login: Login) -> _Talk:
    question = exchange.heard().encode()
    if not question:
        raise ValueError("the server gave no challenge")
    digest = hmac.digest(login.password.encode("utf-8", "surrogateescape"), question, "md5")
    yield f"{login.user} {digest.hex()}"


def _xoauth2(exchange: Exchange, login: Login) -> _Talk:
    yield f"user={login.user}\1auth=Bearer {login.password}\1\1"
    exchange.complaint = _complaint(exchange.heard())
    yield ""


def _oauthbearer(exchange: Exchange, login: Login) -> _Talk:
    place = f"host={exchange.host}\1port={exchange.port}\1"
    yield f"n,a={escaped(login.user)},\1{place}auth=Bearer {login.password}\1\1"
    exchange.complaint = _complaint(exchange.heard())
    yield "\1"  # RFC 7628 3.2.3: the server's error is answered by one octet, and only then is the login over


def _complaint(said: str) -> str:
    """Return the status that a server gives for a token it does not take."""
    try:
        status = json.loads(said).get("status", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return str(status)[:80] if str(status).isprintable() else ""


_TALKS: Final[dict[str, Callable[[Exchange, Login], _Talk]]] = {
    "SCRAM-SHA-256": lambda exchange, login: _Proving("sha256", exchange, login),
    "SCRAM-SHA-1": lambda exchange, login: _Proving("sha1", exchange, login),
    "CRAM-MD5": _cram_md5,
    "PLAIN": _plain,
    "LOGIN": _login,
    BEARER: _oauthbearer,
    XOAUTH2: _xoauth2,
}
_CLIENT_FIRST: Final = _TALKS.keys() - {"LOGIN", "CRAM-MD5"}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
