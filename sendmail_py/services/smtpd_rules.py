"""What the SMTP server reads from main.cf before it serves: restrictions, networks, limits.

check_smtpd() runs before the services start, so that a wrong word is an error there, and never a
door left open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.config import Config
from ..core.errors import ConfigError
from ..host.tables import open_table
from ..protocol.tls_policy import parse_versions
from ..routing.networks import Networks
from ..routing.resolve import Routing
from ..routing.restriction_scene import Domains
from ..routing.restrictions import Rules, rules_of
from .routes import routing_without_tables
from .sasl_settings import check_logins
from .service_settings import check_milters, policy_service
from .smtpd_keywords import check_keywords
from .smtpd_kinds import PORTS, config_of

_NETWORKS = (
    "mynetworks",
    "smtpd_forbid_bare_newline_exclusions",
    "local_header_rewrite_clients",
)
# With 0 no client would get anywhere, or no service be asked; it is not "no limit" here, nor in Postfix.
_AT_LEAST_ONE = (
    "smtpd_connection_limit",
    "smtpd_recipient_limit",
    "smtpd_hard_error_limit",
    "smtpd_timeout",
    "smtpd_starttls_timeout",
    "smtpd_policy_service_try_limit",
)
_VERSIONS = ("smtpd_tls_protocols", "smtpd_tls_mandatory_protocols")


@dataclass(frozen=True, slots=True)
class SmtpdRules:
    """The rules that all sessions share."""

    restrictions: Rules
    mynetworks: Networks
    plain_text: Networks  # may end their lines in LF alone
    completed: Networks  # their messages get the fields that are missing


def domains_of(config: Config, routing: Routing) -> Domains:
    """Return what restrictions may know of routing."""
    owners = tuple(config.smtpd_sender_login_maps)
    return Domains(routing.is_local, routing.is_relayed, config.myorigin, config.recipient_delimiter, owners)


def smtpd_rules(config: Config, routing: Routing) -> SmtpdRules:
    """Read the rules; raises ConfigError."""
    try:
        restrictions = rules_of(config, domains_of(config, routing))
        for table in restrictions.tables():
            open_table(table)
        for name, service in restrictions.services():
            _check_service(name, service, config)
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise ConfigError(f"{config.origin(name)}: {error}") from error
    return SmtpdRules(restrictions, *(_networks(config, name) for name in _NETWORKS))


def unlimited_clients(config: Config) -> Networks:
    """Return the clients whose connections and messages are not counted; raises ConfigError."""
    return _networks(config, "smtpd_client_event_limit_exceptions")


def _check_service(name: str, service: str, config: Config) -> None:
    try:
        policy_service(service, config)
    except ValueError as error:
        raise ValueError(f"{name}: check_policy_service {error}") from error


def _networks(config: Config, name: str) -> Networks:
    try:
        return Networks(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def check_smtpd(config: Config) -> None:
    """Raise ConfigError for what the server could not work with."""
    _networks(config, "mynetworks")  # first: others have it as their default
    unlimited_clients(config)
    routing = routing_without_tables(config)
    for kind in PORTS:
        own = config_of(kind, config)
        own.validate()
        _check_limits(own)
        for name in _VERSIONS:
            _versions(own, name)
        check_keywords(own)
        check_milters(own)
        _check_proxies(own)
        _check_reject_code(own)
        check_logins(own)
        smtpd_rules(own, routing)


def _check_limits(config: Config) -> None:
    for name in _AT_LEAST_ONE:
        if getattr(config, name) < 1:
            raise ConfigError(f"{config.origin(name)}: {name}: at least 1 expected")


def _check_reject_code(config: Config) -> None:
    name = "smtpd_forbid_bare_newline_reject_code"
    if not 500 <= getattr(config, name) <= 599:
        raise ConfigError(f"{config.origin(name)}: {name}: a code between 500 and 599 expected")


def _check_proxies(config: Config) -> None:
    for name, check in (("smtpd_upstream_proxy_clients", Networks), ("smtpd_upstream_proxy_ports", _port_numbers)):
        try:
            check(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def _port_numbers(ports: list[str]) -> None:
    if wrong := [port for port in ports if not (port.isascii() and port.isdigit())]:
        raise ValueError(f"{wrong[0]}: the number of a port expected")


def versions_of(config: Config) -> Sequence[str]:
    """Return the versions of TLS that are spoken; raises ConfigError for versions that there are not."""
    return _versions(config, _VERSIONS[config.smtpd_tls_security_level == "encrypt"])


def _versions(config: Config, name: str) -> Sequence[str]:
    try:
        return parse_versions(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
