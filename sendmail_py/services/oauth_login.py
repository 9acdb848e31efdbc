"""Logging in for the first time: with a code to type elsewhere (RFC 8628), or by what a browser was sent to (RFC 8252).

Blocking, for mailctl. say() shows a line to the person, who is the one that agrees.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

from ..formats.oauth import (
    Account,
    OAuthError,
    OAuthRefused,
    answer,
    code_request,
    device_poll,
    device_request,
    refusal,
    renewed,
    url_base64,
)
from ..host.https import HttpError, post_form

_PAUSE = 5  # RFC 8628 3.2, where the server names none
_LONGEST_WAIT = 1800
_REDIRECT = "http://127.0.0.1:47311/"  # nobody listens there: the browser shows the address, which is all we need


def by_device(account: Account, url: str, say: Callable[[str], None]) -> Account:
    """Return the account with its first tokens; raises OAuthError."""
    status, body = _post(account, url, device_request(account.client_id, account.scope))
    row = answer(status, body)
    page = str(row.get("verification_uri") or row.get("verification_url") or "")
    code, user_code = row.get("device_code"), row.get("user_code")
    if status != 200 or not page or not isinstance(code, str) or not isinstance(user_code, str):
        raise refusal(row, status, account)
    say(f"Open {_shown(page)} in any browser, log in as {account.address}, and type {_shown(user_code)}")
    pause = max(1, _number(row.get("interval"), _PAUSE))
    end = time.monotonic() + min(_number(row.get("expires_in"), 900), _LONGEST_WAIT)
    while time.monotonic() < end:
        time.sleep(pause)
        try:
            return _first(account, device_poll(account.client_id, account.client_secret, code))
        except OAuthRefused as error:
            if error.code == "slow_down":
                pause += 5
            elif error.code != "authorization_pending":
                raise
        except OAuthError:
            pause *= 2  # RFC 8628 3.5: it is slow or down, and may come back while the code is good
    raise OAuthRefused("the code has expired: nobody has typed it in time")


def by_code(account: Account, url: str, say: Callable[[str], None], read: Callable[[], str]) -> Account:
    """Return the account with its first tokens, from the address that a browser ends at; raises OAuthError."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    query = {
        "response_type": "code",
        "client_id": account.client_id,
        "redirect_uri": _REDIRECT,
        "scope": account.scope,
        "state": state,
        "code_challenge": url_base64(hashlib.sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
        "access_type": "offline",  # Google: without these two there is no refresh token
        "prompt": "consent",
        "login_hint": account.address,
    }
    say(f"Open this in any browser and log in as {account.address}:\n\n{url}?{urlencode(query)}\n")
    say(f"The browser ends at a page that it cannot show. Paste its whole address, {_REDIRECT}?..., here:")
    try:
        ended_at = read()
    except EOFError:
        raise OAuthRefused("nothing was pasted") from None
    said = {name: values[0] for name, values in parse_qs(urlsplit(ended_at.strip()).query).items()}
    if said.get("state") != state:
        raise OAuthRefused("this is not the address that belongs to this login")
    if "code" not in said:
        raise refusal(dict(said), 400, account)
    form = code_request(account.client_id, account.client_secret, said["code"], _REDIRECT, verifier)
    return _first(account, form)


def _first(account: Account, form: dict[str, str]) -> Account:
    """Return the account with the tokens for a form; one without a refresh token would end within the hour."""
    status, body = _post(account, account.token_url, form)
    account = renewed(account, status, body, time.time())
    if not account.refresh_token:
        raise OAuthRefused("the server gave no refresh token: the scope has to ask for one (offline_access)")
    return account


def _post(account: Account, url: str, form: dict[str, str]) -> tuple[int, bytes]:
    try:
        return post_form(url, form, account.ca_file)
    except HttpError as error:
        raise OAuthError(f"the token server cannot be asked: {error}") from error


def _number(said: object, default: int) -> int:
    return said if isinstance(said, int) and said > 0 else default


def _shown(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
