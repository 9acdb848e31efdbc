"""The directories of OAuth's accounts and of MTA-STS's policies, below data_directory: the SMTP client's user alone
can enter them.

data_directory belongs to the user of the queue; others may pass through it, and see nothing of it.
"""

import os
import pwd
from collections.abc import Iterator

from ...core.config import Config
from ...services.children import user_of
from ...spool import sts_store
from ...spool.token_store import TokenStore, directory_of
from .ensure_directory import ensure_directory
from .smtp_client_user import become_smtp_client

DATA_MODE = 0o711


def ensure_token_directory(config: Config) -> None:
    """Make what is missing; raises OSError."""
    for _ in token_directories(config):
        pass


def token_directories(config: Config) -> Iterator[str]:
    """Make what is missing, or mend its owner and mode; yields a line for each thing done."""
    user = user_of("smtp", config)
    if not user:
        os.makedirs(config.data_directory, 0o700, exist_ok=True)
        for path in (directory_of(config), sts_store.directory_of(config)):
            yield from ensure_directory(path, 0o700, os.getuid(), os.getgid())
        return
    owner, client = pwd.getpwnam(config.mail_owner), pwd.getpwnam(user)
    yield from ensure_directory(config.data_directory, DATA_MODE, owner.pw_uid, owner.pw_gid)
    for path in (directory_of(config), sts_store.directory_of(config)):
        yield from ensure_directory(path, 0o700, client.pw_uid, client.pw_gid)


def open_store(config: Config) -> TokenStore:
    """Return the accounts, as the user they belong to from now on."""
    become_smtp_client(config)
    return TokenStore(directory_of(config))
