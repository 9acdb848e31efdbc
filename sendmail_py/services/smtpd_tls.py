"""TLS of the SMTP server: whose certificate, read by whom.

master opens the files that main.cf names, which may be root's alone, and smtpd gets them open; so a
reload reads them again. Without any smtpd makes a certificate of its own, once.
"""

import os

from ..core.config import Config
from ..host.certs import self_signed
from ..host.syslog import Log
from ..host.tls import Context, TlsError, server_context
from ..protocol.tls_policy import parse_versions
from ..spool import atomic
from .smtpd_rules import TLS_FILE, tls_files

_LIMIT = 1 << 20


def context_of(config: Config, log: Log, descriptors: dict[str, int]) -> Context | None:
    """Return the context of the server, None where there is to be no TLS, or where there can be none."""
    if config.smtpd_tls_security_level == "none":
        return None
    opened = [number for name, number in descriptors.items() if name.startswith(TLS_FILE)]
    try:
        if tls_files(config):
            texts = [os.pread(descriptor, _LIMIT, 0) for descriptor in opened]
            chains = texts if config.smtpd_tls_chain_files else [b"\n".join(texts)]
            if not opened:
                return None
        else:
            chains = [_own_certificate(config, log)]
        return server_context(chains, parse_versions(config.smtpd_tls_protocols))
    except (OSError, TlsError, ImportError) as error:
        log.error(f"the SMTP server offers no TLS: {error}")
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _own_certificate(config: Config, log: Log) -> bytes:
    """Return the certificate that nobody can verify; made when it is not there."""
    path = f"{config.data_directory}/smtpd.pem"
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        pass
    text = self_signed(config.myhostname)
    atomic.replace_text(f"{path}.new", path, text.decode("ascii"), 0o600)
    log.info(f"made a certificate for {config.myhostname} that nobody can verify: {path}")
    return text
