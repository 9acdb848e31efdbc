"""An access token for an account: the one on disk while it is good, else a new one from the token server.

Blocking: the smtp agent has it run in a thread. Guarantees: of many who need a token at one time, in several processes,
one asks and all have what it got; a new refresh token is durable before the old one goes; a token
server that is slow or down costs nothing while the token at hand is still good.
"""

import time
from dataclasses import replace
from typing import Final

from ..formats.oauth import (
    ASSERTION,
    Account,
    OAuthError,
    OAuthRefused,
    assertion_to_sign,
    renewed,
    token_request,
    url_base64,
)
from ..spool.token_store import TokenStore

SECONDS: Final = 20.0
_LOCK_SECONDS = 2 * SECONDS
_ASK_AGAIN_SECONDS = 3600  # what was revoked is tried so seldom: a server may have been wrong
_FRESH_SECONDS = 60


class Revoked(OAuthRefused):
    """Somebody has to log in again."""


def fresh_account(store: TokenStore, provider: str, address: str, refused: str = "", force: bool = False) -> Account:
    """Return the account with an access token that is good; raises OAuthError.

    refused is a token that a server did not take; force asks the token server whatever is there.
    """
    try:
        account = _known(store, provider, address)
        if not force and account.is_good(time.time(), refused):
            return account
        _raise_if_revoked(account, force)
        with store.lock(provider, address, _LOCK_SECONDS):
            account = _known(store, provider, address)
            if not force and account.is_good(time.time(), refused):  # somebody else has seen to it meanwhile
                return account
            _raise_if_revoked(account, force)
            return _renew(store, account, refused)
    except TimeoutError as error:
        raise OAuthError(str(error)) from error
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", "") or store.directory
        raise OAuthError(f"{name}: {error.strerror}" if isinstance(error, OSError) else str(error)) from error


def _known(store: TokenStore, provider: str, address: str) -> Account:
    account = store.load(provider, address)
    if account is None:
        raise OAuthRefused(f"nobody has logged in: `mailctl oauth login {provider} {address}` does it")
    return account


def _raise_if_revoked(account: Account, force: bool) -> None:
    if account.revoked and not force and 0 <= time.time() - account.revoked_at < _ASK_AGAIN_SECONDS:
        raise Revoked(account.revoked)


def _renew(store: TokenStore, account: Account, refused: str) -> Account:
    """Ask for a new token and keep it, with the lock held."""
    now = time.time()
    if refused and account.access_token == refused and 0 <= now - account.obtained_at < _FRESH_SECONDS:
        return account  # it is new, and was refused all the same: another one would be, too
    try:
        return store.save(_asked(account))
    except OAuthError as error:
        if account.revoked_by(error):
            text = f"{error}; `mailctl oauth login {account.provider} {account.address}` is needed again"
            store.save(replace(account, revoked=text, revoked_at=int(now), trouble=""))
            raise Revoked(text) from error
        if account.trouble != str(error):
            account = store.save(replace(account, trouble=str(error)))
        if account.is_usable(now, refused):
            return account
        raise


def _asked(account: Account) -> Account:
    """Return the account with the tokens that the server gives, by the refresh token before if need be."""
    try:
        return ask(account)
    except OAuthRefused as error:
        if not account.revoked_by(error) or not account.previous_refresh_token:
            raise
        before = account.previous_refresh_token
        try:
            return ask(replace(account, refresh_token=before, previous_refresh_token=""))
        except OAuthError:
            raise error from None


def ask(account: Account) -> Account:
    """Ask the token server once; raises OAuthError."""
    from ..host.https import HttpError, post_form  # only here: it costs a process two megabytes

    now = time.time()
    assertion = ""
    if account.grant == ASSERTION:
        from ..host.certs import sign_rs256

        text = assertion_to_sign(account, now)
        try:
            assertion = f"{text}.{url_base64(sign_rs256(account.key, text.encode()))}"
        except (ValueError, ImportError) as error:
            raise OAuthRefused(f"no token can be asked for: {error}") from error
    try:
        status, body = post_form(account.token_url, token_request(account, assertion), account.ca_file, SECONDS)
    except HttpError as error:
        raise OAuthError(f"the token server cannot be asked: {error}") from error
    return renewed(account, status, body, now)
