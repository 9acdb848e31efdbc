"""With which login to go to a server, from the parameters smtp_sasl_*.

The agent reads the passwords itself, as the user it runs as, when a session begins and they have
changed. Guarantees: passwords that cannot be read defer, and no mail goes without the login that it
may need; a login that a server has refused is not tried there again for a while, nor by several
sessions at once before it is known to be right, so that a queue full of mail does not lock the account.
The token of a login by OAuth is got when a session needs it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.address import Address
from ..core.config import Config
from ..core.result import DeliveryResult, Scope, deferred
from ..delivery.smtp_opening import LoginFailure, LoginRefused
from ..delivery.smtp_stream import SessionError
from ..formats.oauth import OAuthError
from ..host.password_file import PasswordFiles
from ..host.syslog import Log
from ..protocol.sasl import Login

if TYPE_CHECKING:
    from .oauth_tokens import TokenSource

_REFUSED_SECONDS = 60.0
_TURN_SECONDS = 30.0


class Logins:
    """The logins of one configuration; by_sender says that they differ from sender to sender."""

    def __init__(self, config: Config, log: Log) -> None:
        self.by_sender: bool = config.smtp_sasl_auth_enable and config.smtp_sender_dependent_authentication
        self._delimiters: str = config.recipient_delimiter
        self._log = log
        self._config = config
        self._tokens: TokenSource | None = None
        self._files = (
            PasswordFiles(config.smtp_sasl_password_maps, log.warning) if config.smtp_sasl_auth_enable else None
        )
        self._refused: dict[tuple[str, Login], tuple[float, int, DeliveryResult]] = {}
        self._good: set[tuple[str, Login]] = set()
        self._locks: dict[tuple[str, Login], asyncio.Lock] = {}

    def find(self, nexthop: str, host: str, sender: Address) -> Login | None:
        """Return the login for a host of a nexthop; raises SessionError when it cannot be used now."""
        if self._files is None:
            return None
        try:
            login = self._files.look_up(self._keys(nexthop, host, sender))
        except (OSError, ValueError) as error:
            text = f"smtp_sasl_password_maps: {error}"
            self._log.warning(text)
            raise SessionError(deferred("4.3.5", text, Scope.HOST)) from error
        if login is not None:
            self._raise_if_refused(host, login)
        return login

    @contextlib.asynccontextmanager
    async def turn(self, host: str, login: Login) -> AsyncIterator[Login]:
        """Let a session log in to a host; yields the login with what proves it.

        Raises LoginFailure where the login was refused while it waited, or where no token is to be had.

        A login that is not known to be right is tried by one session at a time, within reason.
        """
        key = host, login
        lock = self._locks.setdefault(key, asyncio.Lock())
        waited_for = False
        if key not in self._good:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TURN_SECONDS):
                    waited_for = await lock.acquire()
        try:
            self._raise_if_refused(host, login)
            yield await self._proven(login)
            self._good.add(key)
        except LoginRefused as error:
            self._good.discard(key)
            self._refused[key] = time.monotonic() + _REFUSED_SECONDS, self._stamp(login), error.result
            raise
        finally:
            if waited_for:
                lock.release()

    async def renew(self, login: Login) -> Login | None:
        """Return the login with another token, None where there is none; for one whose token was refused."""
        if not login.provider:
            return None
        proven = await self._proven(login)
        return proven if proven.password != login.password else None

    async def _proven(self, login: Login) -> Login:
        """Return the login with a token other than the one it has."""
        if not login.provider:
            return login
        try:
            token = await self._source().token(login.provider, login.user, login.password)
        except OAuthError as error:
            text = f"SASL authentication: no access token for {login.user} from {login.provider}: {error}"
            raise LoginRefused(deferred("4.7.0", text, Scope.HOST)) from error
        return replace(login, password=token)

    def _source(self) -> "TokenSource":
        if self._tokens is None:
            from .oauth_tokens import TokenSource  # only where it is needed: threads and more cost memory

            self._tokens = TokenSource(self._config, self._log)
        return self._tokens

    def _stamp(self, login: Login) -> int:
        """Return a number that changes when somebody logs in anew: what was refused may be good then."""
        return self._source().stamp(login.provider, login.user) if login.provider else 0

    def _raise_if_refused(self, host: str, login: Login) -> None:
        until, stamp, result = self._refused.get((host, login), (0.0, 0, None))
        if result is not None and time.monotonic() < until and stamp == self._stamp(login):
            raise LoginFailure(result)
        self._refused.pop((host, login), None)

    def _keys(self, nexthop: str, host: str, sender: Address) -> Iterator[str]:
        """Yield what a login may stand under, in Postfix's order; and [host] where that comes with a port."""
        if self.by_sender and sender.local_part:
            yield str(sender)
            local = sender.local_part
            user = min((local.partition(d)[0] for d in self._delimiters), key=len, default=local)
            if user and user != local:
                yield str(Address(user, sender.domain))
            yield f"@{sender.domain}"
        yield host
        yield nexthop
        if nexthop.startswith("["):
            yield nexthop.partition("]")[0] + "]"
