"""The client's side of SASL in SMTP (RFC 4954): PLAIN (RFC 4616) and LOGIN, without a socket.

Guarantees: a mechanism is chosen only where the security options allow it; what is sent is base64,
so nothing in a name or password can end a line; repr() of a login shows no password, and
without_secrets() takes it out of whatever a server says back.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

OPTIONS: Final = frozenset({"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth", "forward_secrecy"})
MECHANISMS: Final = ("PLAIN", "LOGIN")  # best first
_HARMLESS: Final = frozenset({"noanonymous"})  # all other options rule out mechanisms that send the password
_LONGEST_INITIAL: Final = 480  # octets of a response that stands in the command line, which holds 512
_HIDDEN: Final = "<hidden>"


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to be, and the proof."""

    user: str
    password: str = field(repr=False)

    @staticmethod
    def parse(text: str) -> "Login":
        """Read user:password, where a user has no colon; raises ValueError, which does not tell the password."""
        user, colon, password = text.partition(":")
        if not user or not colon:
            raise ValueError("user:password expected")
        if "\0" in text:
            raise ValueError("a NUL in a user or password")
        return Login(user, password)


def check_options(options: Iterable[str]) -> None:
    """Raise ValueError for a word that is no security option."""
    for option in options:
        if option not in OPTIONS:
            raise ValueError(f"{option}: one of {', '.join(sorted(OPTIONS))} expected")


def check_filter(words: Iterable[str]) -> None:
    """Raise ValueError for what is no name of a mechanism, nor static:rest, which stands for all."""
    for word in words:
        if not word.startswith("static:") and not word.removeprefix("!").replace("-", "a").replace("_", "a").isalnum():
            raise ValueError(f"{word}: names of mechanisms may stand here, !name, and static:rest at the end")


def choose(offered: Iterable[str], options: Iterable[str], wanted: Iterable[str] = ()) -> str:
    """Return the best of the mechanisms that a server offers, as far as the options allow any; else "".

    wanted are names, or !names: the first that fits decides, and without any all are wanted.
    """
    if not set(options) <= _HARMLESS:
        return ""
    known = {name.upper() for name in offered}
    words = [word.upper() for word in wanted]
    return next((name for name in MECHANISMS if name in known and _is_wanted(name, words)), "")


def _is_wanted(name: str, words: list[str]) -> bool:
    fit = (word for word in words if word.lstrip("!") == name or word.startswith("STATIC:"))
    return next((word[0] != "!" for word in fit), not words)


class Exchange:
    """The answers of one login, in their order; initial may be empty, then all are asked for."""

    def __init__(self, mechanism: str, login: Login) -> None:
        if mechanism == "PLAIN":
            self._answers = [_base64(f"\0{login.user}\0{login.password}")]
        elif mechanism == "LOGIN":
            self._answers = [_base64(login.user), _base64(login.password)]
        else:
            raise ValueError(f"{mechanism}: a mechanism that is not known here")
        self.initial = ""
        if mechanism == "PLAIN" and len(self._answers[0]) <= _LONGEST_INITIAL:
            self.initial = self._answers.pop(0)
        self._secrets = _secrets(login)

    def answer(self) -> str:
        """Return the answer to the next question; "*", which gives up, when there is nothing left to say."""
        return self._answers.pop(0) if self._answers else "*"

    def without_secrets(self, text: str) -> str:
        """Return what a server says without what it should not have said."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _secrets(login: Login) -> list[str]:
    """Return the forms in which a password travels, the longest first."""
    forms = {_base64(f"\0{login.user}\0{login.password}"), _base64(login.password), login.password}
    forms |= {form.rstrip("=") for form in forms}
    return sorted((form for form in forms if form), key=len, reverse=True)
