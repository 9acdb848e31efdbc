"""mailctl oauth login | list | test | remove: logins by OAuth for the SMTP client.

Guarantees: no token and no secret is printed. The accounts are read and written as the SMTP client's user.
"""

import json
import os
import sys
import time

from ...core.config import Config
from ...core.errors import MailError, UsageError
from ...core.exitcodes import EX_OK
from ...host.configuration import load
from ...services.oauth_refresh import fresh_account
from ...spool.token_store import TokenStore, directory_of
from ..terminal import fitted
from .oauth_directory import open_store
from .oauth_login import add_account, login
from .oauth_state import describe
from .parser import Parser

_LOCK_SECONDS = 60
_NOT_GOOD = 1
_VERBS = {
    "login": "Log in: at any browser, or as an application of its own.",
    "list": "List the logins.",
    "test": "Ask for a new access token now.",
    "remove": "Forget a login.",
}


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    what, *rest = arguments or [""]
    if what not in _VERBS:
        raise UsageError(f"oauth: one of {', '.join(_VERBS)} expected")
    config, _ = load(directory)
    try:
        return login(config, rest) if what == "login" else _others(what, rest, config)
    except OSError as error:
        raise MailError(f"{error.filename or directory_of(config)}: {error.strerror}") from error
    except ValueError as error:
        raise MailError(str(error)) from error


def _others(what: str, words: list[str], config: Config) -> int:
    parser = Parser(f"oauth {what}", _VERBS[what])
    if what != "list":
        add_account(parser)
    if what != "remove":
        parser.add_argument("-j", "--json", action="store_true", help="as JSON")
    options = parser.parse_args(words)
    store = open_store(config)
    if what == "list":
        return show(store, options.json)
    if what == "test":
        return test(store, options.provider, options.address, options.json)
    return remove(store, options.provider, options.address)


def show(store: TokenStore, as_json: bool) -> int:
    """List the accounts; status 1 when one of them is of no use."""
    rows = [describe(name, account) for name, account in store.all()]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(fitted(f"{row['address']} ({row['provider']}): {row['state']}"))
        if not rows:
            print("no logins", file=sys.stderr)
    return EX_OK if all(row["good"] for row in rows) else _NOT_GOOD


def test(store: TokenStore, provider: str, address: str, as_json: bool = False) -> int:
    """Ask the token server for a new token; an error is what it said."""
    account = fresh_account(store, provider, address, force=True)
    if account.trouble:
        raise MailError(account.trouble)
    seconds = account.expires_at - int(time.time())
    if as_json:
        row = {"provider": account.provider, "address": account.address, "expires_at": account.expires_at}
        print(json.dumps(row))
        return EX_OK
    print(f"{account.address} ({account.provider}): a new access token, good for {seconds} s")
    return EX_OK


def remove(store: TokenStore, provider: str, address: str) -> int:
    """Remove an account; the provider's own page takes the rights away."""
    if not os.path.isdir(store.directory):
        raise MailError(f"{address} ({provider}): no such login")
    with store.lock(provider, address, _LOCK_SECONDS):
        found = store.remove(provider, address)
    if not found:
        raise MailError(f"{address} ({provider}): no such login")
    print(f"{address} ({provider}): removed here; take the rights away at the provider, too")
    return EX_OK
