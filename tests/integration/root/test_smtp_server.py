"""The SMTP server as it is installed: port 25 of loopback, and root's key, in a process that is not root's."""

from machine import SPOOL, Machine, wait_until

SEND = """
import smtplib, ssl, sys
host, sender, recipient, text = sys.argv[1:]
with smtplib.SMTP(host, 25, timeout=60) as client:
    client.starttls(context=ssl._create_unverified_context())
    client.sendmail(sender, [recipient], f"Subject: {text}\\n\\n{text}\\n")
    print(client.noop())
"""
KEY = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=root.test -days 2 \
    -keyout /etc/smtpd.pem -out /etc/smtpd.crt 2>/dev/null
cat /etc/smtpd.crt >> /etc/smtpd.pem
chmod 600 /etc/smtpd.pem
"""
SUBJECT = """
import smtplib, ssl
with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
    client.starttls(context=ssl._create_unverified_context())
    print(ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(True)))
"""


def test_programs_of_this_host_send_by_port_25_and_no_part_of_it_is_root(running: Machine) -> None:
    for host in ("127.0.0.1", "::1"):
        running.python(SEND, host, "alice@a.test", "bob", f"by smtp to {host}", user="alice")
        running.wait_for_mail("bob", f"by smtp to {host}")
    smtpd = running.services()["smtpd"]
    status = running.status_of(smtpd)
    uid = running.run("id", "-u", "sendmail-py").stdout.decode().strip()
    assert status["Uid"].split() == [uid] * 4
    assert status["Groups"] == ""
    assert status["CapEff"] == "0" * 16
    assert running.script(f"ls {SPOOL}/tmp") == ""


def test_a_key_that_is_roots_alone_is_used_and_the_services_user_cannot_read_it(fresh: Machine) -> None:
    fresh.script(KEY)
    fresh.configure(smtpd_tls_chain_files="/etc/smtpd.pem")
    fresh.start()
    shown = fresh.python(SUBJECT)
    assert shown.strip() == fresh.script("cat /etc/smtpd.crt").strip()
    assert fresh.run("cat", "/etc/smtpd.pem", user="sendmail-py", check=False).returncode != 0


def test_port_25_is_nobodys_when_the_services_stop(running: Machine) -> None:
    running.stop()
    port = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 25)))"
    wait_until(lambda: running.python(port).strip() != "0", "port 25 is closed")
