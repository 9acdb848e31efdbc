"""TLS: the one door to the module ssl.

Guarantees: a policy that verifies trusts nobody without a chain to a known authority, and accepts no
certificate that is for somebody else; every trouble is a TlsError whose text says what it was.
"""

import asyncio
import datetime
import hashlib
import os
import re
import ssl
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, cast

from ..protocol.reply import clean
from ..protocol.tls_policy import VERSIONS, Level, TlsPolicy, is_named
from ..protocol.tlsa import END_ENTITY, TRUST_ANCHOR
from .certs import public_key_of
from .trust_anchor import check_path, names_of

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
Session = ssl.SSLSession
_to_resume: ContextVar[Session | None] = ContextVar("_to_resume", default=None)


class _ClientContext(ssl.SSLContext):
    """Resumes the session that _to_resume holds: asyncio has no other way to be told of one."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: Session | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or _to_resume.get())


def client_context(policy: TlsPolicy, ca_file: str = "", ca_path: str = "", chains: Iterable[bytes] = ()) -> Context:
    """Return a context for a policy; authorities are the system's unless a file or directory is given.

    chains are what this host shows of itself when it is asked, as in server_context(). Raises TlsError.
    """
    context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # check_name() does it: a policy may want several names
    context.verify_mode = ssl.CERT_REQUIRED if policy.verifies else ssl.CERT_NONE
    _allow(context, policy.versions)
    if policy.ciphers:
        try:
            context.set_ciphers(policy.ciphers)
        except ssl.SSLError as error:
            raise TlsError(f"ciphers {policy.ciphers}: {_why(error)}") from error
    if policy.verifies:
        _load_authorities(context, ca_file, ca_path)
    _load_chains(context, chains)
    return context


def checking_context(ca_file: str = "", ca_path: str = "") -> Context:
    """Return a context of a client that checks chain and name, as web servers are checked; raises TlsError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None, capath=ca_path or None)
    except (OSError, ssl.SSLError) as error:
        place = ca_file or ca_path
        raise TlsError(f"the certificates of authorities in {place} cannot be read: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # a subject is no name (RFC 9525, RFC 8461 3.3)
    return context


def knows_authorities(ca_file: str = "", ca_path: str = "") -> bool:
    """Say whether the certificate of any authority is known here; raises TlsError."""
    if checking_context(ca_file, ca_path).cert_store_stats()["x509_ca"]:
        return True
    directory = ca_path or ("" if ca_file else ssl.get_default_verify_paths().capath or "")
    try:
        names = [name for name in os.listdir(directory or "/dev/null") if re.fullmatch(r"[0-9a-f]{8}\.\d+", name)]
    except OSError:
        return False
    return any(
        os.path.exists(f"{directory}/{name}") for name in names
    )  # what a removed package leaves may lead nowhere


def server_context(chains: Iterable[bytes], versions: Sequence[str]) -> Context:
    """Return a context for a server; each chain is a key with its certificate and those above it, as PEM.

    Raises TlsError when one cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _allow(context, versions)
    _load_chains(context, chains)
    return context


def _load_chains(context: Context, chains: Iterable[bytes]) -> None:
    for chain in chains:
        descriptor = os.memfd_create("chain")  # the file itself may be root's alone
        try:
            os.write(descriptor, chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"a certificate or its key cannot be used: {_why(error)}") from error
        finally:
            os.close(descriptor)


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
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: Context,
    name: str,
    timeout: float,
    session: Session | None = None,
) -> asyncio.Transport:
    """Begin TLS on a connection that is in use, without SNI where there is no name; returns its new transport.

    session is one of the same context that may be resumed. Raises TlsError, TimeoutError.
    """
    token = _to_resume.set(session)
    try:
        return await _handshake(transport, protocol, context, timeout, server_hostname=name or None)
    finally:
        _to_resume.reset(token)


def session_of(transport: asyncio.BaseTransport) -> Session | None:
    """Return what can be resumed of a connection, None when the server has given nothing of the kind."""
    made = transport.get_extra_info("ssl_object")
    session = made.session if made else None
    return session if session and (session.has_ticket or session.id) else None


async def accept(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, context: Context, timeout: float, early: bytes = b""
) -> asyncio.Transport:
    """The same as the server; early are octets of the handshake that were read before it was waited for."""
    return await _handshake(transport, protocol, context, timeout, early, server_side=True)


async def _handshake(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: Context,
    timeout: float,
    early: bytes = b"",
    **side: Any,
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    begun = loop.create_task(loop.start_tls(transport, protocol, context, ssl_handshake_timeout=timeout, **side))
    try:
        if early:
            await asyncio.sleep(0)  # then the transport has the handshake's protocol, which begins in the next turn
            loop.call_soon(_feed, transport, early)
        made = await asyncio.wait_for(begun, timeout + 1)
    except asyncio.CancelledError:
        begun.cancel()
        raise
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"Server certificate not trusted: {error.verify_message}", of_certificate=True) from error
    except (OSError, EOFError, ValueError) as error:
        # ssl.SSLError and TimeoutError are OSErrors; ValueError: a bad name
        is_late = isinstance(error, TimeoutError) or "handshake is taking longer" in str(error)  # asyncio's words
        raise TlsError("the handshake timed out" if is_late else _why(error)) from error
    if made is None:
        raise TlsError("the connection was closed")
    return made


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    """Give octets to a transport's protocol as if they came now, before any that do."""
    protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())  # uvloop's is none by its class
    cast(memoryview, protocol.get_buffer(len(data)))[: len(data)] = data
    protocol.buffer_updated(len(data))


def _why(error: Exception) -> str:
    """Return what a person can use of an error of OpenSSL: "wrong version number", not where its source says so."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (getattr(error, "strerror", "") or str(error) or "the connection was closed").lower()


def check_name(transport: asyncio.Transport, policy: TlsPolicy) -> None:
    """Raise TlsError unless the certificate of the other side is the one, or for a name, that the policy wants."""
    if policy.level is Level.FINGERPRINT:
        _check_digest(transport, policy)
    if policy.tlsa and not transport.get_extra_info("ssl_object").session_reused:  # which was held to the same policy
        _check_records(_chain(transport), policy)
    if not policy.verifies:
        return
    names = certificate_names(transport)
    if not is_named(names, policy.names):
        raise TlsError(f"Server certificate not verified: {_of_others(names, policy)}", of_certificate=True)


def _check_digest(transport: asyncio.Transport, policy: TlsPolicy) -> None:
    certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        texts = [certificate, public_key_of(certificate)] if certificate else []
    except (ImportError, ValueError) as error:
        raise TlsError(f"Server certificate not verified: {error}", of_certificate=True) from error
    digests = [hashlib.new(policy.digest, text).hexdigest() for text in texts]
    if not set(digests) & set(policy.names):
        shown = ":".join(digests[0][n : n + 2] for n in range(0, len(digests[0]), 2)).upper() if digests else "none"
        raise TlsError(f"Server certificate not verified: its fingerprint is {shown}", of_certificate=True)


def certificate_of(transport: asyncio.BaseTransport) -> bytes:
    """Return the certificate of the other side as DER, whether it was verified or not."""
    return transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""


def _check_records(chain: list[bytes], policy: TlsPolicy) -> None:
    """Hold a server to TLSA records: its own by certificate alone, whatever name and dates that has (RFC 7671 5.1)."""
    trouble = "it matches none of the TLSA records"
    try:
        key = public_key_of(chain[0]) if chain else b""
        if any(r.usage == END_ENTITY and r.matches(chain[0], key) for r in policy.tlsa if chain):
            return
        if any(r.usage == TRUST_ANCHOR for r in policy.tlsa):
            check_path(chain, policy.tlsa, datetime.datetime.now(datetime.UTC))
            names = names_of(chain[0])
            if is_named(names, policy.names):
                return
            trouble = _of_others(names, policy)
    except Exception as error:  # octets of strangers, which may break more than is foreseen
        trouble = str(error) or type(error).__name__
    raise TlsError(f"Server certificate not verified: {trouble}", of_certificate=True)


def _of_others(names: list[str], policy: TlsPolicy) -> str:
    has = clean(", ".join(names[:5]).encode()) or "nobody"
    return f"it is for {has}, not for {', '.join(policy.names)}"


def _chain(transport: asyncio.Transport) -> list[bytes]:
    """Return the certificates that the other side has shown, its own first, as DER."""
    session = transport.get_extra_info("ssl_object")
    if hasattr(session, "get_unverified_chain"):  # from Python 3.13 on
        return list(session.get_unverified_chain())
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in session._sslobj.get_unverified_chain() or ()]


def certificate_names(transport: asyncio.Transport) -> list[str]:
    """Return the names of a verified certificate: DNS names and addresses, not the subject (RFC 9525)."""
    certificate = transport.get_extra_info("peercert") or {}
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]


def version_and_cipher(transport: asyncio.Transport) -> tuple[str, str, int]:
    """Return version, cipher and the bits of its key."""
    name, _, bits = transport.get_extra_info("cipher")
    return transport.get_extra_info("ssl_object").version(), name, bits


def description(transport: asyncio.Transport) -> str:
    """Return version and cipher as a log has them."""
    version, name, bits = version_and_cipher(transport)
    return f"{version} with cipher {name} ({bits}/{bits} bits)"
