"""Access tokens for the smtp agent: got in a thread, so that nothing else of the agent waits for a token server.

Guarantees: sessions that need the same token wait for one question; when somebody has to log in again, the log says so
and postmaster hears of it once, however many messages wait.
"""

import asyncio
import time
from dataclasses import replace

from ..core.address import NULL_SENDER, Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient, Submitter
from ..core.errors import MailError
from ..formats import queue_file
from ..formats.oauth import Account, OAuthError
from ..host.syslog import Log
from ..spool.maildrop import Drop
from ..spool.token_store import TokenStore, directory_of
from .oauth_refresh import SECONDS, Revoked, fresh_account
from .threads import in_thread

_LIMIT = 4 * SECONDS

_NOTICE = """\
From: Mail system <MAILER-DAEMON>
To: {to}
Subject: {address} has to log in to {provider} again
Auto-Submitted: auto-generated

Mail through the servers of {provider} waits on {host}, for the login of

    {address}

is not taken any more. What the token server said:

    {text}

The way to mend it is, as root on {host}:

    mailctl oauth login {provider} {address}
    mailctl flush

What waits is tried until it is as old as maximal_queue_lifetime says. This message comes once.
"""


class TokenSource:
    """The tokens of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._store = TokenStore(directory_of(config))
        self._asking: dict[tuple[str, str, str], asyncio.Future[Account]] = {}

    def stamp(self, provider: str, address: str) -> int:
        """Return a number that changes with the account, as a new login does."""
        return self._store.stamp(provider, address)

    async def token(self, provider: str, address: str, refused: str = "") -> str:
        """Return an access token; raises OAuthError. refused is one that a server did not take."""
        key = provider, address, refused
        if key not in self._asking:
            future = in_thread(lambda: self._get(provider, address, refused))
            self._asking[key] = future
            future.add_done_callback(lambda done: self._asked(key, done))
        try:
            async with asyncio.timeout(_LIMIT):
                account = await asyncio.shield(self._asking[key])
        except TimeoutError as error:
            raise OAuthError("the token server cannot be asked in time") from error
        return account.access_token

    def _asked(self, key: tuple[str, str, str], done: "asyncio.Future[Account]") -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have gone

    def _get(self, provider: str, address: str, refused: str) -> Account:
        try:
            return fresh_account(self._store, provider, address, refused)
        except Revoked as error:
            self._tell_once(provider, address, str(error))
            raise

    def _tell_once(self, provider: str, address: str, text: str) -> None:
        """Have postmaster told, unless that was done; whoever is killed in between may tell twice."""
        try:
            with self._store.lock(provider, address, SECONDS):
                account = self._store.load(provider, address)
                if account is None or not account.revoked or account.told:
                    return
                self._log.warning(f"OAuth: {address} at {provider}: {text}")
                tell_postmaster(self._config, _notice(self._config, account))
                self._store.save(replace(account, told=True))
        except (OSError, ValueError, MailError) as error:
            self._log.warning(f"OAuth: postmaster could not be told of {address} at {provider}: {error}")


def _notice(config: Config, account: Account) -> str:
    return _NOTICE.format(
        to=config.error_notice_recipient,
        address=account.address,
        provider=account.provider,
        host=config.myhostname,
        text=account.revoked,
    )


def tell_postmaster(config: Config, text: str) -> None:
    """Submit a message from nobody to error_notice_recipient, by default postmaster; raises MailError."""
    content = text.encode("utf-8", "replace")
    submitter = Submitter(0, "", 0, "", "")  # pickup takes who it was from the file's owner
    to = Recipient(Address.parse(config.error_notice_recipient))
    envelope = Envelope("", time.time_ns() // 1000, NULL_SENDER, [to], submitter)
    envelope.size = len(content)
    drop = Drop(config.queue_directory)
    drop.write(queue_file.render(envelope) + content)
    drop.finish()
    drop.announce()
