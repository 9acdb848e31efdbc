"""Which certificates the SMTP server has: the files of main.cf, or one of its own making. Light."""

from collections.abc import Iterable

from ..core.config import Config
from .smtpd_kinds import config_of


def wants_tls(config: Config, kinds: Iterable[str]) -> bool:
    """Say whether one of these kinds of listeners is to speak TLS."""
    return any(config_of(kind, config).smtpd_tls_security_level != "none" for kind in kinds)


def tls_files(config: Config) -> list[str]:
    """Return the files that belong to one key each, or a certificate and its key."""
    pair = dict.fromkeys((config.smtpd_tls_cert_file, config.smtpd_tls_key_file))
    return config.smtpd_tls_chain_files or [path for path in pair if path]


def own_certificate(config: Config) -> str:
    """Return where the certificate lies that smtpd makes when main.cf names none."""
    return f"{config.data_directory}/smtpd.pem"
