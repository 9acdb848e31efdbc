"""What the SMTP server reads from main.cf before it serves: restrictions, networks, limits.

check_smtpd() runs before the services start, so that a wrong word is an error there, and never a
door left open.
"""

from dataclasses import dataclass

from ..core.config import Config
from ..core.errors import ConfigError
from ..host.tables import open_table
from ..protocol.tls_policy import parse_versions
from ..routing.networks import Networks
from ..routing.resolve import Routing
from ..routing.restriction_scene import Domains
from ..routing.restrictions import Rules, rules_of

_NETWORKS = (
    "mynetworks",
    "smtpd_forbid_bare_newline_exclusions",
    "local_header_rewrite_clients",
    "smtpd_client_event_limit_exceptions",
)
_STRESSED = 0.9
TLS_FILE = "tls "  # before the path, in the names of smtpd's descriptors


@dataclass(frozen=True, slots=True)
class SmtpdRules:
    """The rules that all sessions share."""

    restrictions: Rules
    mynetworks: Networks
    plain_text: Networks  # may end their lines in LF alone
    completed: Networks  # their messages get the fields that are missing
    unlimited: Networks


def domains_of(config: Config, routing: Routing) -> Domains:
    """Return what restrictions may know of routing."""
    return Domains(routing.is_local, routing.is_relayed, config.myorigin, config.recipient_delimiter)


def smtpd_rules(config: Config, routing: Routing) -> SmtpdRules:
    """Read the rules; raises ConfigError."""
    try:
        restrictions = rules_of(config, domains_of(config, routing))
        for table in restrictions.tables():
            open_table(table)
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise ConfigError(f"{config.origin(name)}: {error}") from error
    return SmtpdRules(restrictions, *(_networks(config, name) for name in _NETWORKS))


def _networks(config: Config, name: str) -> Networks:
    try:
        return Networks(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def check_smtpd(config: Config) -> None:
    """Raise ConfigError for what the server could not work with."""
    check_tls(config)
    smtpd_rules(config, Routing(config))


def check_tls(config: Config) -> None:
    """Raise ConfigError for versions of TLS that there are not."""
    try:
        parse_versions(config.smtpd_tls_protocols)
    except ValueError as error:
        raise ConfigError(f"{config.origin('smtpd_tls_protocols')}: smtpd_tls_protocols: {error}") from error


def tls_files(config: Config) -> list[str]:
    """Return the files that belong to one key each, or a certificate and its key."""
    if config.smtpd_tls_security_level == "none":
        return []
    pair = dict.fromkeys((config.smtpd_tls_cert_file, config.smtpd_tls_key_file))
    return config.smtpd_tls_chain_files or [path for path in pair if path]


def is_stressed(config: Config, connections: int) -> bool:
    """Say whether so many clients are connected that slow ones must go."""
    return connections > int(config.smtpd_connection_limit) * _STRESSED
