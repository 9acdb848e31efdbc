"""The configuration as a whole, before it is put in force: what would fail later is one line now."""

import os
import pwd
from collections.abc import Callable, Iterable

from ..core.access_list import check_patterns
from ..core.config import Config, Setting
from ..core.errors import ConfigError, Incomplete, MailError
from ..host.configuration import from_settings
from ..routing.submission_rate import parse_limit
from .children import is_one_user
from .content_checks import check_content_checks
from .destination_policies import policies_of
from .dkim_domains import check_dkim
from .host_checks import check_host
from .listening import check_ports
from .local_checks import check_local
from .metrics_line import endpoint_of
from .notices import check_notices
from .rewriting import check_rewriting
from .routes import check_routing
from .smtp_checks import check_smtp
from .smtpd_rules import check_smtpd

_NEEDS_RESTART = (
    "queue_directory",
    "run_directory",
    "data_directory",
    "mail_owner",
    "syslog_name",
    "syslog_facility",
    "metrics_listen",
)


def check_config(config: Config, unread: Iterable[str] = ()) -> None:
    """Check every value, and that the values go together; raises ConfigError.

    unread is what load() could not read. A line of main.cf that means nothing is only told; but without the file that a
    variable of the environment names, a secret that is not mounted yet, mail might go where it must not.
    """
    for line in unread:
        if line.startswith("environment "):
            raise ConfigError(line)
    for check in _CHECKS:
        check(config)


def faults(config: Config) -> list[MailError]:
    """Return what check_config refuses: of each of its parts the first fault, each once."""
    found: dict[str, MailError] = {}
    for check in _CHECKS:
        try:
            check(config)
        except MailError as error:
            found.setdefault(str(error), error)
    return list(found.values())


def until_restart(config: Config, old: Config) -> tuple[Config, list[str]]:
    """Return a configuration as a reload can put it in force, and the names of what has to stay as it was."""
    names = [name for name in _NEEDS_RESTART if getattr(config, name) != getattr(old, name)]
    kept = {name: Setting(old.expanded(name).replace("$", "$$"), old.origin(name)) for name in names}
    return from_settings(config.settings | kept), names


def _check_users(config: Config) -> None:
    if os.getuid() == 0 and is_one_user(config) and config.home_mailbox:
        raise Incomplete(f"{config.origin('home_mailbox')}: home_mailbox needs a mail_owner other than root")
    if os.getuid() == 0 and not is_one_user(config):
        for name in ("mail_owner", "net_owner"):
            try:
                pwd.getpwnam(getattr(config, name))
            except KeyError:
                raise Incomplete(
                    f"{config.origin(name)}: {name} = {getattr(config, name)}: no such user; `mailctl setup` makes it"
                ) from None


def _check_submission(config: Config) -> None:
    for name, check in (
        ("local_submission_rate_limit", parse_limit),
        ("authorized_submit_users", check_patterns),
        ("authorized_mailq_users", check_patterns),
        ("authorized_flush_users", check_patterns),
    ):
        try:
            check(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


_CHECKS: tuple[Callable[[Config], object], ...] = (
    Config.validate,
    check_host,
    check_routing,
    check_rewriting,
    check_content_checks,
    policies_of,
    check_local,
    check_notices,
    endpoint_of,
    check_smtp,
    check_ports,
    check_smtpd,
    check_dkim,
    _check_submission,
    _check_users,
)
