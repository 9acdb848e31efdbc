"""Who knows the users of the SMTP server: a password file, or Dovecot. Both offer the same.

A Backend says what mechanisms there are and begins a Login; a Login takes responses and returns what
comes next: a challenge, or the user's name. Guarantees: hashing runs in threads, few at one time;
a SaslError is a wrong login, and an OSError one that cannot be told now.
"""

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ..core.config import Config
from ..host.syslog import Log
from ..host.user_passwords import UserPasswords
from ..protocol.sasl_server import (
    Challenge,
    Exchange,
    Keys,
    Password,
    allowed,
    begin,
)
from .sasl_settings import path_of
from .smtpd_dovecot import Dovecot

_THREADS = 2


class Login(Protocol):
    """One login under way."""

    user: str  # as far as it is known, for the log

    async def go_on(self, response: bytes | None) -> Challenge | str:
        """Take a response (the first may be none); raises SaslError, OSError."""

    def give_up(self) -> None:
        """Forget it."""


class Backend(Protocol):
    """Where users and passwords are."""

    async def refresh(self) -> None:
        """Find out what there is now; raises OSError."""

    def mechanisms(self, options: list[str]) -> list[str]:
        """Return the mechanisms that the security options leave, best first."""

    def begin(self, mechanism: str, facts: dict[str, str]) -> Login:
        """Begin a login; facts are what Dovecot is told of the client."""


class PasswordFile:
    """The backend of smtpd_sasl_type = file."""

    def __init__(self, path: str, domain: str, log: Log) -> None:
        self._passwords = UserPasswords(path, lambda uid: uid in (0, os.getuid()))
        self._domain = domain
        self._log = log
        self._thread = ThreadPoolExecutor(_THREADS)

    async def refresh(self) -> None:
        """Read the file when it has changed; raises OSError."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._passwords.refresh, self._log.warning)

    def mechanisms(self, options: list[str]) -> list[str]:
        """Return the mechanisms that the security options leave."""
        return allowed(self._passwords.mechanisms, options)

    def begin(self, mechanism: str, facts: dict[str, str]) -> Login:
        """Begin a login."""
        return _FileLogin(self, mechanism)

    def full_name(self, user: str) -> str:
        """Return a name with smtpd_sasl_local_domain where it has none."""
        return f"{user}@{self._domain}" if self._domain and "@" not in user else user

    async def ask(self, step: Password | Keys) -> object:
        """Answer the question of a mechanism; raises OSError."""
        user = self.full_name(step.user)
        if isinstance(step, Keys):
            return self._passwords.keys(user)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._passwords.is_password, user, step.password)
        except ValueError as error:
            raise OSError(f"the password of {user}: {error}") from error


class _FileLogin:
    """A mechanism of protocol/sasl_server.py, and the file that it asks."""

    def __init__(self, backend: PasswordFile, mechanism: str) -> None:
        self._backend = backend
        self._mechanism = mechanism
        self._exchange: Exchange | None = None
        self.user = ""

    async def go_on(self, response: bytes | None) -> Challenge | str:
        """Take a response; raises SaslError, OSError."""
        answer: object = response
        if self._exchange is None:
            await self._backend.refresh()
            self._exchange, answer = begin(self._mechanism, response, secrets.token_urlsafe), None
        try:
            while not isinstance(step := self._exchange.send(answer), Challenge):
                self.user = self._backend.full_name(step.user)
                answer = await self._backend.ask(step)
        except StopIteration as end:
            return self._backend.full_name(end.value)
        return step

    def give_up(self) -> None:
        """Forget it."""
        if self._exchange:
            self._exchange.close()


def backend_of(config: Config, log: Log) -> Backend:
    """Return the backend that main.cf names."""
    path = path_of(config)
    if config.smtpd_sasl_type == "dovecot":
        return Dovecot(path, config.smtpd_sasl_service, log)
    return PasswordFile(path, config.smtpd_sasl_local_domain, log)
