"""TLS of the SMTP server: whose certificate. Without any in main.cf smtpd makes one of its own, once."""

from ..core.config import Config
from ..host.certs import self_signed
from ..host.syslog import Log
from ..host.tls import Context, TlsError, server_context
from ..spool import atomic
from .smtpd_certificates import own_certificate, tls_files
from .smtpd_rules import versions_of
from .tls_files import read_chains


def chains_of(config: Config, log: Log, descriptors: dict[str, int]) -> list[bytes]:
    """Return keys with their certificates, as PEM; none where there can be no TLS."""
    try:
        if not tls_files(config):
            return [_own_certificate(config, log)]
        return read_chains(descriptors, bool(config.smtpd_tls_chain_files))
    except (OSError, ImportError) as error:
        log.error(f"the SMTP server offers no TLS: {error}")
        return []


def context_of(config: Config, log: Log, chains: list[bytes]) -> Context | None:
    """Return the context of an entrance, None where there is to be no TLS, or where there can be none."""
    if not chains or config.smtpd_tls_security_level == "none":
        return None
    try:
        return server_context(chains, versions_of(config))
    except TlsError as error:
        log.error(f"the SMTP server offers no TLS: {error}")
        return None


def _own_certificate(config: Config, log: Log) -> bytes:
    """Return the certificate that nobody can verify; made when it is not there."""
    path = own_certificate(config)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        pass
    text = self_signed(config.myhostname)
    atomic.replace_text(f"{path}.new", path, text.decode("ascii"), 0o600)
    log.info(f"made a certificate for {config.myhostname} that nobody can verify: {path}")
    return text
