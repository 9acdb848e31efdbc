"""Certificates of the SMTP server and client with their keys, and logins by OAuth: what has an end, and who vouches."""

import time
from collections.abc import Iterator

from ....core.config import Config
from ....core.errors import SpoolError
from ....formats.tables import parse_text
from ....host.certs import ends
from ....host.configuration_file import read_text
from ....host.password_file import path_of
from ....host.tls import TlsError, knows_authorities, server_context
from ....protocol.sasl import Login
from ....services.smtpd_certificates import tls_files
from ....services.tls_files import chains_in, client_files
from ....spool.token_store import TokenStore, directory_of
from ..oauth_state import describe
from .finding import ERROR, Finding, error, warning
from .packages import installing

_SOON = 14 * 86400


def check(config: Config) -> Iterator[Finding]:
    """Yield certificates that have ended or soon will, and logins that are of no use."""
    yield from _authorities(config)
    ours = (
        (tls_files(config), bool(config.smtpd_tls_chain_files), "the SMTP server offers no TLS"),
        (client_files(config), bool(config.smtp_tls_chain_files), "the SMTP client shows no certificate"),
    )
    for paths, are_chains, otherwise in ours:
        found = [finding for path in paths for finding in _certificate(path, otherwise)]
        yield from found
        if not any(finding.level == ERROR for finding in found):
            yield from _keys(paths, are_chains, otherwise)
    try:
        rows = [describe(name, account) for name, account in TokenStore(directory_of(config)).all()]
    except OSError:
        rows = []
    known = {(str(row["provider"]), str(row["address"]).lower()) for row in rows}
    for row in rows:
        if not row["good"]:
            repair = f"mailctl -c {config.config_directory} oauth login {row['provider']} {row['address']}"
            yield error(f"login of {row['address']} ({row['provider']}): {row['state']}", repair)
    for login in _logins(config):
        if (login.provider, login.user.lower()) not in known:
            text = (
                f"smtp_sasl_password_maps wants a login of {login.user} at {login.provider}, and nobody has logged in"
            )
            yield error(text, f"mailctl -c {config.config_directory} oauth login {login.provider} {login.user}")


def _authorities(config: Config) -> Iterator[Finding]:
    """Yield why the certificates of other hosts cannot be checked."""
    places = config.smtp_tls_CAfile, config.smtp_tls_CApath
    try:
        if knows_authorities(*places):
            return
    except TlsError as fault:
        yield error(str(fault), f"ls -l {' '.join(filter(None, places))}")
        return
    kind = error if config.smtp_tls_security_level in ("verify", "secure") else warning
    text = "no certificate authority is known here: neither MTA-STS nor the TLS levels verify and secure are possible"
    yield kind(text, f"ls -l {places[1]}" if places[1] else installing("ca-certificates"))


def _keys(paths: list[str], are_chains: bool, otherwise: str) -> Iterator[Finding]:
    """Yield why keys cannot be used with their certificates, as the services would find."""
    texts = [read_text(path).encode("utf-8", "surrogateescape") for path in paths]
    try:
        server_context(chains_in(texts) if are_chains else [b"\n".join(texts)] if texts else [], ["TLSv1.2"])
    except TlsError as fault:
        shown = " ".join(paths)
        look = "; ".join(f"openssl pkey -pubout -in {path}; openssl x509 -noout -pubkey -in {path}" for path in paths)
        yield error(f"{shown}: {fault}; {otherwise}", look)


def _certificate(path: str, otherwise: str) -> Iterator[Finding]:
    look = f"openssl x509 -noout -enddate -in {path}"
    try:
        end = min(ends(read_text(path).encode()), default=0.0)
    except (OSError, ValueError, SpoolError) as fault:
        why = getattr(fault, "strerror", "") or fault
        yield error(f"{path}: {why}; {otherwise}", f"ls -l {path}; {look}")
        return
    left = end - time.time()
    day = time.strftime("%Y-%m-%d", time.gmtime(end))
    if end and left < 0:
        yield error(f"{path}: the certificate has ended on {day}", f"{look}; certbot renew")
    elif end and left < _SOON:
        yield warning(f"{path}: the certificate ends on {day}", f"{look}; certbot renew")


def _logins(config: Config) -> Iterator[Login]:
    """Yield the logins by OAuth that the password files name; what is wrong with these is told elsewhere."""
    for source in config.smtp_sasl_password_maps if config.smtp_sasl_auth_enable else ():
        try:
            entries = parse_text(read_text(path_of(source)))
        except (OSError, ValueError):
            continue
        for text in entries.values.values():
            try:
                login = Login.parse(text)
            except ValueError:
                continue
            if login.provider:
                yield login
