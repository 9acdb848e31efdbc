"""TLS in the SMTP server: real clients, certificates that change, and every way to get something past the handshake."""

import os
import re
import smtplib
import socket
import ssl
import stat
import subprocess

import pytest

from sendmail_py.services.tls_files import chains_in
from tests.integration.instance import LIMIT, PATH
from tests.integration.smtp_server import Served
from tests.servers.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def served(tmp_path_factory, authority):
    """A server with a certificate for here.test."""
    path = tmp_path_factory.mktemp("tls") / "i"
    settings = {"smtpd_tls_chain_files": chain_for(authority, "here.test"), "smtpd_tls_loglevel": 1}
    with Served(path, smtpd_error_sleep_time="0s", **settings) as instance:
        instance.start()
        yield instance


def chain_for(authority, name):
    """Return a file with a key and its certificate, under a name that can stand in a list."""
    path = authority.certificate(name)
    plain = path.replace(" ", "-")
    os.rename(path, plain)
    return plain


def trusting(authority):
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    return context


def names_of(client):
    return [value for _, value in client.sock.getpeercert()["subjectAltName"]]


def test_a_message_comes_under_tls_and_says_so(served, authority):
    with served.client() as client:
        client.starttls(context=trusting(authority))
        assert names_of(client) == ["here.test"]
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("alice@a.test", ["games@here.test"], "Subject: secret\n\n" + "x" * 300_000)
    text = served.wait_for_mail("games", b"Subject: secret")
    assert b" with ESMTPS id " in text
    served.wait_for_log(r"Anonymous TLS connection established from localhost\[127.0.0.1\]: TLSv1.3 with cipher ")
    served.wait_for_log(
        r"disconnect from localhost\[127.0.0.1\] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7"
    )


@pytest.mark.real("openssl")
def test_openssl_speaks_to_it(served, authority):
    words = [
        "s_client",
        "-starttls",
        "smtp",
        "-connect",
        f"127.0.0.1:{served.port}",
        "-CAfile",
        authority.file,
        "-quiet",
    ]
    done = subprocess.run(
        ["openssl", *words, "-verify_return_error", "-verify_hostname", "here.test"],
        input=b"EHLO c.test\r\nQUIT\r\n",
        capture_output=True,
        timeout=LIMIT,
        env={"PATH": PATH},
    )
    assert b"221 2.0.0 Bye" in done.stdout, done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused_and_the_server_lives_on(served, authority, version):
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with served.client() as client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.starttls(context=context)
    served.wait_for_log("SSL_accept error from localhost")
    assert served.connect_and_ask("alice@a.test")[:3] == "250"


# --- what must not pass ----------------------------------------------------------------------


@pytest.mark.parametrize("early", ["MAIL FROM:<a@a.test>\r\n", "EHLO c.test\r\nMAIL FROM:<a@a.test>\r\n", "x", "\r\n"])
def test_octets_after_starttls_end_the_session_before_tls_begins(served, early):
    with served.connect() as line:
        line.reply()
        line.end.sendall(b"EHLO c.test\r\nSTARTTLS\r\n" + early.encode())
        assert line.replies()[-1] == "421 4.7.0 Error: commands after STARTTLS, before TLS"


def test_what_was_said_in_clear_counts_no_more_under_tls(served, authority):
    with served.client() as client:
        client.ehlo("before.test")
        assert client.docmd("MAIL", "FROM:<a@a.test>")[0] == 250
        assert client.docmd("STARTTLS") == (503, b"5.5.1 Error: MAIL transaction in progress")
        client.rset()
        client.starttls(context=trusting(authority))
        assert client.docmd("RCPT", "TO:<games@here.test>")[0] == 503
        assert client.docmd("STARTTLS") == (502, b"5.5.1 Error: command not implemented")
        client.ehlo("after.test")
        client.sendmail("a@a.test", ["games@here.test"], "Subject: afterwards\n\nx\n")
    text = served.wait_for_mail("games", b"Subject: afterwards")
    assert b"from after.test (" in text
    assert b"before.test" not in text


def test_starttls_takes_no_argument(served):
    with served.connect() as line:
        line.reply()
        line.ask("EHLO c.test")
        assert line.ask("STARTTLS now") == "501 5.5.4 Syntax: STARTTLS"


def test_clear_text_instead_of_a_handshake_ends_the_session(served):
    with served.connect() as line:
        line.reply()
        line.ask("EHLO c.test")
        assert line.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        line.say("MAIL FROM:<a@a.test>", "RCPT TO:<games@here.test>", "DATA")
        line.end.settimeout(LIMIT)
        rest = drained(line.end)
        assert not rest.startswith((b"250", b"354"))
    assert served.connect_and_ask("alice@a.test")[:3] == "250"


def drained(end: socket.socket) -> bytes:
    data = b""
    try:
        while more := end.recv(4096):
            data += more
    except ConnectionError:
        pass
    return data


def test_a_client_that_vanishes_in_the_handshake_is_counted_out(tmp_path, authority):
    settings = {"smtpd_tls_chain_files": chain_for(authority, "here.test"), "smtpd_connection_limit": 3}
    with Served(tmp_path / "i", **settings) as served:
        served.start()
        for _ in range(6):
            with served.connect() as line:
                line.reply()
                line.ask("EHLO c.test")
                line.ask("STARTTLS")
                line.end.sendall(b"\x16\x03\x01")
            served.wait_for_log("SSL_accept error from localhost")
        served.wait_for(lambda: served.connect_and_ask("alice@a.test")[:3] == "250", "there is room again")


# --- configuration ---------------------------------------------------------------------------


def test_where_tls_is_required_nothing_is_said_in_clear(tmp_path, authority):
    settings = {"smtpd_tls_chain_files": chain_for(authority, "here.test"), "smtpd_tls_security_level": "encrypt"}
    with Served(tmp_path / "i", **settings) as served:
        served.start()
        with served.client() as client:
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                client.sendmail("a@a.test", ["games@here.test"], "x")
            assert refused.value.smtp_code == 530
        with served.client() as client:
            client.starttls(context=trusting(authority))
            assert client.sendmail("a@a.test", ["games@here.test"], "Subject: x\n\nx\n") == {}


def test_without_a_certificate_one_is_made_once_for_this_hosts_eyes_alone(tmp_path):
    with Served(tmp_path / "i", max_idle="1s") as served:
        served.start()
        seen = []
        for _ in range(2):
            with served.client() as client:
                client.starttls(context=ssl._create_unverified_context())
                seen.append(client.sock.getpeercert(binary_form=True))
            served.wait_for(lambda: served.pid_of("smtpd") == 0, "smtpd has left")
        assert seen[0] == seen[1]
        path = served.path / "data" / "smtpd.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        served.wait_for_log(f"made a certificate for here.test that nobody can verify: {path}")
        line = f"smtpd: TLS with a certificate of its own, {path}, which no client can verify"
        assert line in served.mailctl("status").stdout.decode().splitlines()


def test_tls_may_be_turned_off(tmp_path):
    with Served(tmp_path / "i", smtpd_tls_security_level="none") as served:
        served.start()
        with served.client() as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.docmd("STARTTLS") == (502, b"5.5.1 Error: command not implemented")
        assert not (served.path / "data" / "smtpd.pem").exists()


def test_a_reload_brings_the_new_certificate(tmp_path, authority):
    path = tmp_path / "chain.pem"
    os.rename(authority.certificate("old.test"), path)
    with Served(tmp_path / "i", smtpd_tls_cert_file=path) as served:
        served.start()
        for name in ("old.test", "new.test"):
            with served.client() as client:
                client.starttls(context=trusting(authority))
                assert names_of(client) == [name]
            os.rename(authority.certificate("new.test"), path)
            served.reload()


def test_key_and_chain_may_be_files_of_their_own_and_there_may_be_two_of_a_kind(tmp_path, authority):
    files = []
    for name in ("one.test", "two.test"):
        with open(authority.certificate(name), "rb") as file:
            text = file.read()
        key = re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n", text, re.DOTALL)[0]
        for part, octets in (("key", key), ("chain", text.replace(key, b""))):
            files.append(tmp_path / f"{name}.{part}")
            files[-1].write_bytes(octets)
    texts = [file.read_bytes() for file in files]
    assert len(chains_in(texts)) == 2
    assert len(chains_in(texts[1::-1])) == 1
    both = [texts[1] + texts[0], texts[3] + texts[2]]
    assert chains_in(both) == both, "certificates before their keys, each in its file"
    with Served(tmp_path / "i", smtpd_tls_chain_files=" ".join(map(str, files[:2]))) as served:
        served.start()
        with served.client() as client:
            client.starttls(context=trusting(authority))
            assert names_of(client) == ["one.test"]


def shown_by(served, authority):
    """Return the names in the certificate that a new client is shown."""
    with served.client() as client:
        client.starttls(context=trusting(authority))
        return names_of(client)


def test_a_certificate_that_is_renewed_is_used_without_a_reload(tmp_path, authority):
    path = tmp_path / "chain.pem"
    os.rename(authority.certificate("old.test"), path)
    with Served(tmp_path / "i", smtpd_tls_cert_file=path, smtpd_tls_check_interval="1s") as served:
        served.start()
        with served.client() as connected:
            connected.starttls(context=trusting(authority))
            assert names_of(connected) == ["old.test"]
            os.rename(authority.certificate("new.test"), path)
            served.wait_for_log("the certificate of the SMTP server has changed: new clients get the new one")
            # the server that was there hears of it a moment after the log
            served.wait_for(lambda: shown_by(served, authority) == ["new.test"], "a new client gets the new one")
            connected.ehlo()
            assert connected.sendmail("a@a.test", ["games@here.test"], "Subject: ends as it began\n\nx\n") == {}
        assert "smtpd: TLS" not in served.mailctl("status").stdout.decode()


def test_where_tls_is_required_and_cannot_be_had_starttls_says_so(tmp_path):
    settings = {"smtpd_tls_cert_file": tmp_path / "missing.pem", "smtpd_tls_security_level": "encrypt"}
    with Served(tmp_path / "i", **settings) as served:
        served.start()
        with served.client() as client:
            assert client.docmd("EHLO c.test")[0] == 250
            assert client.docmd("STARTTLS") == (454, b"4.7.0 TLS not available due to local problem")
            assert client.mail("a@a.test")[0] == 530


@pytest.mark.parametrize("text", [None, "no certificate\n"])
def test_a_certificate_that_cannot_be_used_leaves_a_server_without_tls(tmp_path, text):
    path = tmp_path / "chain.pem"
    if text:
        path.write_text(text)
    with Served(tmp_path / "i", smtpd_tls_cert_file=path) as served:
        served.start()
        with served.client() as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            client.sendmail("a@a.test", ["games@here.test"], "Subject: in clear\n\nx\n")
        served.wait_for_mail("games", b"Subject: in clear")
        served.wait_for_log("the SMTP server offers no TLS")
