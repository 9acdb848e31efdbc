"""The client's side of the door to TLS: what a context allows, and troubles that are no handshake."""

import asyncio
import socket
import ssl
from types import SimpleNamespace

import pytest

from sendmail_py.host.tls import TlsError, client_context, knows_authorities, secure
from sendmail_py.protocol.tls_policy import Level, TlsPolicy, parse_versions


@pytest.mark.parametrize(("level", "mode"), [(Level.MAY, 0), (Level.ENCRYPT, 0), (Level.VERIFY, 2), (Level.SECURE, 2)])
def test_certificates_are_looked_at_where_the_level_says_so(level, mode):
    assert client_context(TlsPolicy(level)).verify_mode == mode


def test_a_context_allows_the_versions_of_its_policy_and_no_others():
    context = client_context(TlsPolicy(Level.MAY, versions=parse_versions("TLSv1.2")))
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    context = client_context(TlsPolicy(Level.MAY, versions=parse_versions("TLSv1.1 TLSv1.3")))
    assert context.options & ssl.OP_NO_TLSv1_2
    assert not context.options & (ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_3)


@pytest.mark.parametrize("where", [{"ca_file": "/nowhere/ca.pem"}, {"ca_file": "/dev/null"}])
def test_authorities_that_cannot_be_read_are_an_error(where):
    with pytest.raises(TlsError, match="certificates of authorities"):
        client_context(TlsPolicy(Level.SECURE), **where)


@pytest.mark.parametrize(("name", "known"), [("", False), ("readme", False), ("1f2e3d4c.0", True)])
def test_authorities_are_known_by_hashed_names_in_the_systems_directory(name, known, tmp_path, monkeypatch):
    if name:
        (tmp_path / name).touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(capath=str(tmp_path)))
    assert knows_authorities() is knows_authorities(ca_path=str(tmp_path)) is known


@pytest.mark.parametrize("name", [".mx.test", "a..b", f"{'x' * 64}.test"])
def test_a_name_that_cannot_be_one_is_an_error_of_tls(name):
    async def begin():
        ours, theirs = socket.socketpair()
        with theirs:
            protocol = asyncio.Protocol()
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=ours)
            try:
                await secure(transport, protocol, client_context(TlsPolicy(Level.MAY)), name, 5)
            finally:
                transport.abort()

    with pytest.raises(TlsError):
        asyncio.run(begin())
