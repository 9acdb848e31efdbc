"""What may be shown of the logins by OAuth: how they do, and nothing that opens a door."""

import time

from ...core.config import Config
from ...formats.oauth import Account
from ...spool.token_store import TokenStore, directory_of


def rows(config: Config) -> list[dict[str, object]]:
    """Return what is to be known of each login; nothing for who may not look into the directory."""
    try:
        return [describe(name, account) for name, account in TokenStore(directory_of(config)).all()]
    except OSError:
        return []


def describe(name: str, account: Account | None) -> dict[str, object]:
    """Return what everybody may know of an account."""
    provider, _, rest = name.removesuffix(".json").partition("+")
    if account is None:
        return {"provider": provider, "address": rest, "good": False, "state": "its file cannot be read"}
    row = {"provider": account.provider, "address": account.address, "grant": account.grant}
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(account.expires_at))
    if account.revoked:
        return row | {"good": False, "state": f"has to log in again: {account.revoked}"}
    if account.trouble:
        return row | {"good": False, "state": f"{account.trouble}; the token at hand is good until {until}"}
    return row | {"good": True, "state": f"good; the token at hand until {until}", "expires_at": account.expires_at}
