"""Policy services and filters as main.cf names them, read and checked before anything starts.

Without asyncio, which who asks them needs: master reads main.cf too.
"""

from collections.abc import Iterable

from ..core.config import Config
from ..core.endpoint import Service, parse_service
from ..core.errors import ConfigError

_POLICY = ("timeout", "max_idle", "max_ttl", "request_limit", "try_limit", "retry_delay", "default_action")
_POLICY_PARAMETERS = {name: f"smtpd_policy_service_{name}" for name in (*_POLICY, "policy_context")}
_MILTER = ("connect_timeout", "command_timeout", "content_timeout", "default_action", "protocol")
_MILTER_PARAMETERS = {name: f"milter_{name}" for name in _MILTER}
NO_MILTERS = "no_milters"
_MILTER_LISTS = ("smtpd_milters", "non_smtpd_milters")


def policy_service(text: str, config: Config) -> Service:
    """Read what follows check_policy_service; raises ValueError."""
    return parse_service(text, config, _POLICY_PARAMETERS)


def milter_services(texts: Iterable[str], config: Config) -> list[Service]:
    """Read a list of filters; raises ValueError."""
    return [parse_service(text, config, _MILTER_PARAMETERS) for text in texts]


def check_milters(config: Config) -> None:
    """Raise ConfigError for a filter that is none, and for a table that can never work."""
    from ..host.tables import check_tables

    for name in _MILTER_LISTS:
        try:
            milter_services(getattr(config, name), config)
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
    for word in config.receive_override_options:
        if word != NO_MILTERS:
            name = "receive_override_options"
            raise ConfigError(f"{config.origin(name)}: {name}: {word}: only {NO_MILTERS} can stand here")
    try:
        check_tables(config.smtpd_milter_maps)
    except ValueError as error:
        raise ConfigError(f"{config.origin('smtpd_milter_maps')}: smtpd_milter_maps: {error}") from error
