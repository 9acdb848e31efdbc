"""Clients that come through a proxy: who they are, what is not believed, and haproxy itself."""

import contextlib
import smtplib
import socket
import ssl
import struct
import subprocess

import pytest

from tests.integration.instance import LIMIT, wait_until
from tests.integration.smtp_server import Line, Served
from tests.servers.ports import free_port

STRANGER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_SIX = V2 + struct.pack("!BBH", 0x21, 0x21, 36) + socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(15) + b"\1"
V2_SIX += struct.pack("!HH", 4711, 25)
FRIEND = b"PROXY TCP4 192.0.2.200 198.51.100.1 4711 25\r\n"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """A server whose friends are 192.0.2.200 and loopback, behind proxies on loopback; another port is direct."""
    path = tmp_path_factory.mktemp("proxied")
    with Served(path / "i", submissions_port=free_port(), mynetworks="192.0.2.200, 127.0.0.0/8") as served:
        served.direct = free_port()
        served.submissions = int(served.mailctl("config", "submissions_port").stdout.split()[-1])
        served.configure(
            smtpd_port=f"{served.port}, {served.direct}",
            smtpd_upstream_proxy_protocol="haproxy",
            smtpd_upstream_proxy_ports=f"{served.port} {served.submissions}",
            smtpd_upstream_proxy_timeout="3s",
            smtpd_peername_lookup="no",
        )
        served.start()
        yield served


@contextlib.contextmanager
def through(served, header, port=0):
    with Line(socket.create_connection(("127.0.0.1", port or served.port), timeout=LIMIT)) as line:
        line.end.sendall(header)
        yield line


def answers(line, *said):
    assert line.reply()[:3] == "220"
    line.say(*said, "QUIT")
    return [answer[:9] for answer in line.replies()[:-1]]


RELAY = ("EHLO c.test", "MAIL FROM:<a@a.test>", "RCPT TO:<b@elsewhere.test>")


@pytest.mark.parametrize(
    ("header", "client", "relays"),
    [
        (STRANGER, "unknown[192.0.2.7]", False),
        (V2_SIX, "unknown[2001:db8::7]", False),
        (FRIEND, "unknown[192.0.2.200]", True),
        (b"PROXY UNKNOWN\r\n", "localhost[127.0.0.1]", False),
        (V2 + b"\x20\0\0\0", "localhost[127.0.0.1]", False),
    ],
)
def test_a_client_is_who_the_proxy_says_and_has_its_rights(proxied, header, client, relays):
    with through(proxied, header) as line:
        assert answers(line, *RELAY)[-1] == ("250 2.1.5" if relays else "554 5.7.1")
    proxied.wait_for_log(rf"disconnect from {client.replace('[', '.')[:-1]}")


def test_the_header_may_come_octet_by_octet_and_with_what_the_client_says(proxied):
    with through(proxied, b"") as line:
        for octet in STRANGER:
            line.end.sendall(bytes([octet]))
        assert line.reply()[:3] == "220"
    with through(proxied, STRANGER + b"EHLO c.test\r\n") as line:
        assert [line.reply()[:3] for _ in range(2)] == ["220", "250"]


def test_the_received_field_names_the_client(proxied):
    with through(proxied, STRANGER) as line:
        line.reply()
        line.to_data()
        line.say("Subject: proxied", "", "x", ".")
        assert line.reply()[:3] == "250"
    text = proxied.wait_for_mail("games", b"Subject: proxied")
    assert b"Received: from c.test (unknown [192.0.2.7])" in text
    assert b"127.0.0.1" not in text


@pytest.mark.parametrize("sent", [b"EHLO c.test\r\n", b"PROXY TCP4 127.0.0.1\r\n", V2 + b"\x31\x11\0\0", b"\0" * 5000])
def test_who_sends_no_header_is_dropped_without_a_word(proxied, sent):
    with through(proxied, sent) as line:
        with contextlib.suppress(ConnectionResetError):
            assert line.reply() == ""
    proxied.wait_for_log(r"dropped a connection from \[127.0.0.1\]: ")


def test_who_says_nothing_is_dropped_in_time(proxied):
    with through(proxied, STRANGER[:20]) as line:
        assert line.reply() == ""
    proxied.wait_for_log("dropped a connection from .*: no PROXY header in time")


def test_nobody_is_believed_on_a_port_without_a_proxy(proxied):
    with through(proxied, b"", proxied.direct) as line:
        line.reply()
        line.end.sendall(FRIEND)
        assert line.reply()[:3] in ("500", "502", "421")


def test_tls_begins_right_behind_the_header(proxied):
    """Header and ClientHello come in one segment, as from a proxy that waits for its client's first octets."""
    context = ssl._create_unverified_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with through(proxied, STRANGER + outgoing.read(), proxied.submissions) as line:
        while True:
            try:
                tls.do_handshake()
                greeting = tls.read(1000)
                break
            except ssl.SSLWantReadError:
                line.end.sendall(outgoing.read())
                incoming.write(line.end.recv(65536))
    assert greeting[:3] == b"220"
    proxied.wait_for_log(r"submissions.*connect from unknown\[192.0.2.7\]")


def test_only_the_proxies_are_believed(tmp_path):
    with Served(tmp_path / "i", mynetworks="192.0.2.200", smtpd_upstream_proxy_protocol="haproxy") as served:
        served.start()
        with through(served, FRIEND) as line, contextlib.suppress(ConnectionResetError):
            assert line.reply() == ""
        served.wait_for_log("dropped a connection from .127.0.0.1.: it is none of smtpd_upstream_proxy_clients")


CONFIGURATION = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen one
    bind 127.0.0.1:{one}
    server smtp 127.0.0.1:{port} source 127.0.0.1 send-proxy
listen two
    bind 127.0.0.1:{two}
    server smtp 127.0.0.1:{port} send-proxy-v2
listen checked
    bind 127.0.0.1:{three}
    option smtpchk EHLO checker.test
    server smtp 127.0.0.1:{port} send-proxy-v2 check check-send-proxy inter 200
"""


@pytest.mark.real("haproxy")
def test_haproxy_brings_its_clients_with_either_version(proxied, tmp_path):
    ports = {name: free_port() for name in ("one", "two", "three")}
    (tmp_path / "haproxy.cfg").write_text(CONFIGURATION.format(port=proxied.port, **ports))
    haproxy = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", tmp_path / "haproxy.cfg"], stderr=subprocess.DEVNULL)
    try:
        for name, port in ports.items():
            wait_until(lambda port=port: is_open(port), f"haproxy at {port}")
            with smtplib.SMTP("127.0.0.1", port, timeout=LIMIT, source_address=("127.0.0.9", 0)) as client:
                client.sendmail(f"{name}@a.test", "daemon@here.test", f"Subject: by {name}\n\nx\n".encode())
            text = proxied.wait_for_mail("daemon", f"Subject: by {name}".encode())
            assert b"(localhost [127.0.0.9])" in text.rpartition(b"From " + name.encode())[2]
        proxied.wait_for_log(r"disconnect from localhost\[127.0.0.1\] ehlo=1 quit=1 commands=2")  # the check
    finally:
        haproxy.terminate()
        haproxy.wait(LIMIT)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except OSError:
        return False
    return True
