"""AUTH in one session of the SMTP server: the exchange with the client, and who he is after it.

Guarantees: nothing that a client says in a login gets into the log, save the user's name; a login that
goes wrong says no more than that; every one that fails is counted, and its answer waits (smtpd_auth_delays).
"""

import asyncio
from typing import TYPE_CHECKING

from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..protocol.sasl_server import Challenge, NotBase64, SaslError, decode, encode
from ..protocol.server_commands import Auth
from ..routing.restriction_scene import Client

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance
    from .smtpd_logins import Login

_GIVEN_UP = "*"


class Authentication:
    """The logins of one client, until one succeeds. user and method are empty till then."""

    def __init__(self, entrance: "Entrance") -> None:
        self._entrance = entrance
        self._login: "Login | None" = None
        self._mechanism = ""
        self._failures = 0
        self.user = self.method = ""

    def forget(self) -> None:
        """Be nobody again, as after STARTTLS."""
        self._drop()
        self.user = self.method = ""

    def note(self) -> str:
        """Return what the log says of a message's client beside his address."""
        return f", sasl_method={self.method}, sasl_username={self.user}" if self.user else ""

    async def answer(self, event: Auth, client: Client, is_secure: bool) -> Reply:
        """Answer AUTH, or a response."""
        if event.mechanism:
            refusal = self._may_begin(event, client, is_secure)
            if refusal:
                return refusal
            self._begin(event, client, is_secure)
        if event.response is None and not event.mechanism:
            self._drop()
            return event.answer
        if event.response == _GIVEN_UP:
            self._drop()
            return replies.AUTH_ABORTED
        return await self._go_on(event.response, client)

    def _may_begin(self, event: Auth, client: Client, is_secure: bool) -> Reply | None:
        entrance = self._entrance
        if self.user:
            return replies.AUTH_DONE
        if not is_secure and entrance.config.smtpd_tls_auth_only:
            return replies.AUTH_NEEDS_TLS
        refusal = entrance.rates.login(client)
        if refusal:
            return refusal
        if event.mechanism not in entrance.mechanisms(is_secure):
            return replies.NO_MECHANISM if entrance.mechanisms(is_secure) else replies.AUTH_NOT_NOW
        return None

    def _begin(self, event: Auth, client: Client, is_secure: bool) -> None:
        facts = {"rip": client.address, **({"secured": ""} if is_secure else {})}
        assert self._entrance.logins
        self._drop()
        self._login = self._entrance.logins.begin(event.mechanism, facts)
        self._mechanism = event.mechanism

    async def _go_on(self, response: str | None, client: Client) -> Reply:
        login, log = self._login, self._entrance.log
        assert login
        try:
            step = await login.go_on(None if response is None else decode(response))
        except SaslError as error:
            return await self._failed(login, error, client)
        except OSError as error:
            log.warning(f"{client}: SASL {self._mechanism} authentication failed: {error}")
            self._drop()
            return replies.AUTH_NOT_NOW
        if isinstance(step, Challenge):
            return replies.challenge(encode(step.data))
        self._login = None
        await asyncio.sleep(self._entrance.delays.succeeded(client, step))
        self.user, self.method = step, self._mechanism
        return replies.AUTHENTICATED

    async def _failed(self, login: "Login", why: SaslError, client: Client) -> Reply:
        """Answer a login that is wrong. The line is what fail2ban looks for."""
        entrance, user = self._entrance, login.user
        self._drop()
        named = f", sasl_username={user}" if user else ""
        entrance.log.warning(f"{client}: SASL {self._mechanism} authentication failed: {why}{named}")
        self._failures += 1
        await asyncio.sleep(entrance.delays.failed(client, user))
        limit = entrance.config.smtpd_auth_error_limit
        if limit and self._failures >= limit:
            return replies.TOO_MANY_LOGINS
        return replies.BAD_BASE64 if isinstance(why, NotBase64) else replies.BAD_CREDENTIALS

    def _drop(self) -> None:
        if self._login:
            self._login.give_up()
        self._login = None
