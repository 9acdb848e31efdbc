"""The files of certificates and keys: master opens them, which may be root's alone, and services get them open.

So a reload reads them again, and no service need have the right to.
"""

import os
import re
from collections.abc import Iterable

from ..core.config import Config
from ..host.syslog import Log

TLS_FILE = "tls "  # before the path, in the names of a service's descriptors
_LIMIT = 1 << 20
_KEY = re.compile(rb"(?=-----BEGIN [A-Z ]*PRIVATE KEY-----)")


def client_files(config: Config) -> list[str]:
    """Return the files of what the SMTP client shows of itself, without repetition."""
    pair = [config.smtp_tls_cert_file, config.smtp_tls_key_file] if config.smtp_tls_cert_file else []
    return list(dict.fromkeys(config.smtp_tls_chain_files or pair))


def open_files(paths: Iterable[str], log: Log, otherwise: str) -> dict[str, int]:
    """Open files for a service; when one cannot be read that and what comes of it are logged, and there are none."""
    opened: dict[str, int] = {}
    for path in paths:
        try:
            opened[TLS_FILE + path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.error(f"{path}: {error.strerror}; {otherwise}")
            for descriptor in opened.values():
                os.close(descriptor)
            return {}
    return opened


def read_chains(descriptors: dict[str, int], are_chains: bool) -> list[bytes]:
    """Read and close the files that were opened; unless they are chains they make one. Raises OSError."""
    opened = [number for name, number in descriptors.items() if name.startswith(TLS_FILE)]
    try:
        texts = [os.pread(descriptor, _LIMIT, 0) for descriptor in opened]
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return chains_in(texts) if are_chains or not texts else [b"\n".join(texts)]


def chains_in(texts: list[bytes]) -> list[bytes]:
    """Return the chains of several files: a key begins one, and its certificates may stand in the next file.

    A single key belongs to all certificates, in whatever order; where certificates come before several
    keys each file is a chain of its own.
    """
    whole = b"\n".join(texts)
    if len(_KEY.findall(whole)) < 2:
        return [whole] if whole else []
    before, *chains = _KEY.split(whole)
    return texts if b"BEGIN CERTIFICATE" in before else chains


def client_chains(config: Config, log: Log, descriptors: dict[str, int]) -> list[bytes] | None:
    """Return what the SMTP client shows of itself: nothing without files, None when they could not be read."""
    try:
        chains = read_chains(descriptors, bool(config.smtp_tls_chain_files))
    except OSError as error:
        log.error(f"the certificate of the SMTP client: {error.strerror}")
        return None
    return chains if chains or not client_files(config) else None
