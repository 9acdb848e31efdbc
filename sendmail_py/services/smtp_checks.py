"""The parameters of the SMTP client that must make sense before the services start."""

import ipaddress
import os
import pwd
from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.access_list import check_patterns
from ..core.config import Config
from ..core.errors import ConfigError, Incomplete
from ..formats.tables import TEXT_TYPES, split_name
from ..host.password_file import path_of
from ..protocol.sasl import check_filter, check_options
from ..protocol.tls_policy import Level, cipher_list, parse_digests, parse_entry, parse_level, parse_versions
from ..routing.networks import Networks
from .children import user_of
from .routes import check_tables


def check_smtp(config: Config) -> None:
    """Raise ConfigError for a value that the SMTP client cannot use."""
    _check(config, "smtp_tls_security_level", parse_level)
    _check(config, "smtp_tls_protocols", parse_versions)
    _check(config, "smtp_tls_mandatory_protocols", parse_versions)
    _check(config, "smtp_tls_policy_maps", _check_policies)
    _check(config, "smtp_tls_exclude_ciphers", partial(cipher_list, "medium"))
    _check(config, "smtp_tls_mandatory_exclude_ciphers", partial(cipher_list, "medium"))
    _check(config, "smtp_tls_fingerprint_cert_match", parse_digests)
    _check(config, "resolver_trusted_nameservers", Networks)
    _check(config, "smtp_bind_address", partial(_check_source, ipaddress.IPv4Address))
    _check(config, "smtp_bind_address6", partial(_check_source, ipaddress.IPv6Address))
    _check(config, "smtp_connection_cache_destinations", check_patterns)
    _check(config, "smtp_sasl_security_options", check_options)
    _check(config, "smtp_sasl_tls_security_options", check_options)
    _check(config, "smtp_sasl_tls_verified_security_options", check_options)
    _check(config, "smtp_sasl_mechanism_filter", check_filter)
    _check(config, "smtp_sasl_password_maps", lambda sources: [path_of(source) for source in sources])
    if config.smtp_sasl_auth_enable and not config.smtp_sasl_password_maps:
        raise Incomplete(
            f"{config.origin('smtp_sasl_auth_enable')}: smtp_sasl_auth_enable needs smtp_sasl_password_maps"
        )
    if config.smtp_tls_wrappermode and parse_level(config.smtp_tls_security_level) is Level.NONE:
        raise Incomplete(
            f"{config.origin('smtp_tls_wrappermode')}: smtp_tls_wrappermode = yes goes with another "
            "smtp_tls_security_level than none"
        )


def unused_logins(config: Config) -> list[str]:
    """Return that there are logins which nothing uses; a smarthost that wants one takes no mail."""
    if not config.smtp_sasl_password_maps or config.smtp_sasl_auth_enable:
        return []
    return ["smtp_sasl_password_maps is set, but smtp_sasl_auth_enable = no: nobody logs in anywhere"]


def password_complaints(config: Config) -> list[str]:
    """Return what will keep the SMTP client from the passwords, or lets others have them; mail would tell it later."""
    complaints = []
    user = user_of("smtp", config)
    uid = pwd.getpwnam(user).pw_uid if user else os.getuid()
    for path in map(path_of, config.smtp_sasl_password_maps) if config.smtp_sasl_auth_enable else ():
        try:
            status = os.stat(path)
        except OSError as error:
            complaints.append(f"smtp_sasl_password_maps: {path}: {error.strerror}")
            continue
        if status.st_mode & 0o077:
            complaints.append(
                f"smtp_sasl_password_maps: {path}: others can get at the passwords; its mode should be 0600"
            )
        elif status.st_uid != uid and uid:
            complaints.append(f"smtp_sasl_password_maps: {path} should belong to {user or 'you'}: nobody else reads it")
    return complaints


def _check_source(kind: Callable[[str], object], address: str) -> None:
    if address:
        kind(address)


def _check_policies(names: list[str]) -> None:
    """Let only tables pass that answer at once, or that are asked in a thread."""
    for name in names:
        kind, rest = split_name(name)
        if kind == "static":
            parse_entry(rest.strip("{}"))
        elif kind == "socketmap":
            check_tables([name])
        elif kind not in (*TEXT_TYPES, "inline"):
            raise ValueError(f"{name}: {', '.join(TEXT_TYPES)}, inline, static or socketmap may stand here")


def _check(config: Config, name: str, check: Callable[[Any], object]) -> None:
    try:
        check(getattr(config, name))
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
