"""TLS: the one door to the module ssl.

Guarantees: a policy that verifies trusts nobody without a chain to a known authority, and accepts no
certificate that is for somebody else; every trouble is a TlsError whose text says what it was.
"""

import asyncio
import os
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from ..protocol.reply import clean
from ..protocol.tls_policy import VERSIONS, TlsPolicy, is_named

_VERSION = dict(
    zip(
        VERSIONS,
        (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        strict=True,
    )
)
_WITHOUT = dict(zip(VERSIONS, (ssl.OP_NO_TLSv1, ssl.OP_NO_TLSv1_1, ssl.OP_NO_TLSv1_2, ssl.OP_NO_TLSv1_3), strict=True))


class TlsError(Exception):
    """There is no TLS as it has to be; of_certificate: because of who the other side is, not of how it speaks."""

    def __init__(self, text: str, of_certificate: bool = False) -> None:
        super().__init__(text)
        self.of_certificate = of_certificate


Context = ssl.SSLContext


def client_context(policy: TlsPolicy, ca_file: str = "", ca_path: str = "") -> Context:
    """Return a context for a policy; authorities are the system's unless a file or directory is given.

    Raises TlsError when they cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # check_name() does it: a policy may want several names
    context.verify_mode = ssl.CERT_REQUIRED if policy.verifies else ssl.CERT_NONE
    _allow(context, policy.versions)
    if policy.verifies:
        _load_authorities(context, ca_file, ca_path)
    return context


def server_context(chains: Iterable[bytes], versions: Sequence[str]) -> Context:
    """Return a context for a server; each chain is a key with its certificate and those above it, as PEM.

    Raises TlsError when one cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _allow(context, versions)
    for chain in chains:
        descriptor = os.memfd_create("chain")  # the file itself may be root's alone
        try:
            os.write(descriptor, chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"a certificate or its key cannot be used: {_why(error)}") from error
        finally:
            os.close(descriptor)
    return context


def _allow(context: Context, versions: Sequence[str]) -> None:
    context.minimum_version = _VERSION[versions[0]]
    context.maximum_version = _VERSION[versions[-1]]
    for version in VERSIONS:
        if version not in versions and VERSIONS.index(version) > VERSIONS.index(versions[0]):
            context.options |= _WITHOUT[version]


def _load_authorities(context: Context, ca_file: str, ca_path: str) -> None:
    try:
        if ca_file or ca_path:
            context.load_verify_locations(ca_file or None, ca_path or None)
        else:
            context.set_default_verify_paths()  # a directory of hashed names, read as far as it is needed
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"the certificates of authorities in {ca_file or ca_path} cannot be read: {_why(error)}"
        ) from error


async def secure(
    transport: asyncio.Transport, protocol: asyncio.Protocol, context: Context, name: str, timeout: float
) -> asyncio.Transport:
    """Begin TLS on a connection that is in use; returns its new transport. Raises TlsError, TimeoutError."""
    return await _begun(transport, protocol, context, timeout, server_hostname=name)


async def accept(
    transport: asyncio.Transport, protocol: asyncio.Protocol, context: Context, timeout: float
) -> asyncio.Transport:
    """The same as the server."""
    return await _begun(transport, protocol, context, timeout, server_side=True)


async def _begun(
    transport: asyncio.Transport, protocol: asyncio.Protocol, context: Context, timeout: float, **side: Any
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    begun = loop.start_tls(transport, protocol, context, ssl_handshake_timeout=timeout, **side)
    try:
        made = await asyncio.wait_for(begun, timeout + 1)
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"Server certificate not trusted: {error.verify_message}", of_certificate=True) from error
    except (
        OSError,
        EOFError,
        ValueError,
    ) as error:  # ssl.SSLError and TimeoutError are OSErrors; ValueError: a bad name
        is_late = isinstance(error, TimeoutError) or "handshake is taking longer" in str(error)  # asyncio's words
        raise TlsError("the handshake timed out" if is_late else _why(error)) from error
    if made is None:
        raise TlsError("the connection was closed")
    return made


def _why(error: Exception) -> str:
    """Return what a person can use of an error of OpenSSL: "wrong version number", not where its source says so."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (getattr(error, "strerror", "") or str(error) or "the connection was closed").lower()


def check_name(transport: asyncio.Transport, policy: TlsPolicy) -> None:
    """Raise TlsError unless the certificate of the other side is for a name that the policy wants."""
    if not policy.verifies:
        return
    names = certificate_names(transport)
    if not is_named(names, policy.names):
        has = clean(", ".join(names[:5]).encode()) or "nobody"
        text = f"Server certificate not verified: it is for {has}, not for {', '.join(policy.names)}"
        raise TlsError(text, of_certificate=True)


def certificate_names(transport: asyncio.Transport) -> list[str]:
    """Return the names of a verified certificate: DNS names and addresses, not the subject (RFC 9525)."""
    certificate = transport.get_extra_info("peercert") or {}
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]


def description(transport: asyncio.Transport) -> str:
    """Return version and cipher as a log has them."""
    name, _, bits = transport.get_extra_info("cipher")
    version = transport.get_extra_info("ssl_object").version()
    return f"{version} with cipher {name} ({bits}/{bits} bits)"
