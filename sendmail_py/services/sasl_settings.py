"""What main.cf says of the logins of the SMTP server's clients. Light: master reads it, which speaks no SASL."""

from collections.abc import Iterable

from ..core.config import Config
from ..core.errors import ConfigError
from ..protocol.sasl import check_options

_USUAL_PATHS = {"file": "{config_directory}/users", "dovecot": "/run/dovecot/auth-client"}


def path_of(config: Config) -> str:
    """Return where users and passwords are: smtpd_sasl_path, or the usual place of the type."""
    usual = _USUAL_PATHS[config.smtpd_sasl_type].format(config_directory=config.config_directory)
    return config.smtpd_sasl_path or usual


def check_logins(config: Config) -> None:
    """Raise ConfigError for settings of SASL that could not work."""
    if not config.smtpd_sasl_auth_enable:
        return
    path = path_of(config)
    if not path.startswith(("/", "inet:") if config.smtpd_sasl_type == "dovecot" else "/"):
        raise ConfigError(f"{config.origin('smtpd_sasl_path')}: smtpd_sasl_path = {path}: an absolute path is needed")
    for name in ("smtpd_sasl_security_options", "smtpd_sasl_tls_security_options"):
        try:
            check_options(getattr(config, name))
        except ValueError as error:
            raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error


def wanted(mechanisms: Iterable[str], words: Iterable[str]) -> list[str]:
    """Return the mechanisms that smtpd_sasl_mechanism_filter lets through: the first word that fits decides."""
    return [name for name in mechanisms if _is_wanted(name, [word.upper() for word in words])]


def _is_wanted(name: str, words: list[str]) -> bool:
    fits = (word for word in words if word.lstrip("!") == name or word.startswith("STATIC:"))
    return next((word[0] != "!" for word in fits), not words)
