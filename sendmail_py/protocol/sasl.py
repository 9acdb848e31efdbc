"""SASL in SMTP (RFC 4954), as far as it is decided beforehand: logins, and the choice of a mechanism.

Guarantees: a mechanism is chosen only where the security options allow it; repr() of a login shows
no password. What the mechanisms say stands in sasl_client.py.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

OPTIONS: Final = frozenset({"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth", "forward_secrecy"})
BEARER, XOAUTH2 = "OAUTHBEARER", "XOAUTH2"
_PROVING = frozenset({"noplaintext", "noactive", "noanonymous", "mutual_auth"})
_NAMED = frozenset({"noanonymous"})
# What each mechanism fulfils of OPTIONS (as Cyrus SASL has it), best first.
MECHANISMS: Final = {
    "SCRAM-SHA-256": _PROVING,
    "SCRAM-SHA-1": _PROVING,
    "CRAM-MD5": frozenset({"noplaintext", "noanonymous"}),
    "PLAIN": _NAMED,
    "LOGIN": _NAMED,
}
TOKEN_MECHANISMS: Final = {BEARER: _NAMED, XOAUTH2: _NAMED}
_BY_PROVIDER = re.compile(r"oauth:([a-z0-9][a-z0-9._-]{0,63})")


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to be, and the proof. With a provider the proof is an access token, which is not in a file."""

    user: str
    password: str = field(repr=False)
    provider: str = ""

    @staticmethod
    def parse(text: str) -> "Login":
        """Read user:password or user:oauth:provider, where a user has no colon.

        Raises ValueError, which does not tell the password.
        """
        user, colon, password = text.partition(":")
        if not user or not colon:
            raise ValueError("user:password expected")
        if "\0" in text:
            raise ValueError("a NUL in a user or password")
        token = _BY_PROVIDER.fullmatch(password)
        return Login(user, "", token[1]) if token else Login(user, password)


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


def choose(offered: Iterable[str], options: Iterable[str], wanted: Iterable[str] = (), with_token: bool = False) -> str:
    """Return the best of the mechanisms that a server offers, as far as the options allow any; else "".

    wanted are names, or !names: the first that fits decides, and without any all are wanted.
    """
    known = {name.upper() for name in offered}
    words = [word.upper() for word in wanted]
    demands = set(options)
    mechanisms = TOKEN_MECHANISMS if with_token else MECHANISMS
    fit = (name for name, has in mechanisms.items() if name in known and demands <= has)
    return next((name for name in fit if _is_wanted(name, words)), "")


def _is_wanted(name: str, words: list[str]) -> bool:
    fit = (word for word in words if word.lstrip("!") == name or word.startswith("STATIC:"))
    return next((word[0] != "!" for word in fit), not words)
