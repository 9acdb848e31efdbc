"""Real smarthosts that want TLS and a login, with the certificate and the password right and wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import LOG, Machine
from smarthosts import AUTHORITY, DOVECOT_HOST, PASSWORD, POSTFIX, POSTFIX_HOST, Smarthosts

pytestmark = pytest.mark.real("dovecot")
PASSWORDS = "/etc/sendmail-py/sasl_passwd"
NEEDED = [POSTFIX / "usr/lib/postfix/sbin/master", Path("/usr/lib/dovecot/submission")]


@pytest.fixture(scope="module")
def smarthosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Smarthosts]:
    """A machine with our services and two smarthosts; what is sent is tried once, and again when it is flushed."""
    missing = [str(path) for path in NEEDED if not path.exists()]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"needs {', '.join(missing)} (`make test-deps`)"
        )
    with Machine() as machine:
        machine.install()
        machine.script("for user in alice bob; do useradd --create-home --user-group $user; done")
        machine.set_up(maildrop_scan_delay="2s")
        with Smarthosts(machine, tmp_path_factory.mktemp("authority")) as servers:
            machine.configure(
                mydestination="",
                resolver_nameservers="127.0.0.1:5300",
                smtp_tls_security_level="secure",
                smtp_tls_CAfile=AUTHORITY,
                smtp_tls_loglevel=1,
                smtp_sasl_password_maps=f"texthash:{PASSWORDS}",
                smtp_sasl_auth_enable="yes",
            )
            write_passwords(machine, PASSWORD)
            machine.start()
            yield servers
            machine.stop()


def write_passwords(machine: Machine, password: str, mode: str = "600", owner: str = "sendmail-py-net") -> None:
    lines = [f"{host} relay:{password}" for host in (POSTFIX_HOST, f"[{DOVECOT_HOST}]:587", DOVECOT_HOST)]
    machine.path(PASSWORDS).write_text("\n".join(lines) + "\n")
    machine.script(f"chown {owner} {PASSWORDS}; chmod {mode} {PASSWORDS}")


@pytest.fixture
def machine(smarthosts: Smarthosts) -> Machine:
    """The machine, with the right password and an empty log."""
    machine = smarthosts.machine
    machine.path(LOG).write_text("")
    write_passwords(machine, PASSWORD)
    machine.configure(smtp_tls_security_level="secure", smtp_tls_CAfile=AUTHORITY)
    return machine


def send(machine: Machine, text: str, relayhost: str, **settings: object) -> None:
    machine.configure(relayhost=relayhost, **settings)
    machine.run("mailctl", "reload")
    machine.submit("bob", "alice@smarthost.test", text=text)


@pytest.mark.parametrize(
    ("port", "how"),
    [(587, "STARTTLS"), (588, "AUTH LOGIN"), (465, "TLS from the first octet")],
)
def test_postfix_takes_mail_after_a_login(smarthosts: Smarthosts, machine: Machine, port: int, how: str) -> None:
    send(machine, f"to Postfix by {how}", f"[{POSTFIX_HOST}]:{port}")
    message = smarthosts.message(f"to Postfix by {how}")
    assert "(Authenticated sender: relay)" in message and "with ESMTPSA" in message
    assert f"Verified TLS connection established to {POSTFIX_HOST}[127.0.0.2]:{port}: TLSv1.3" in machine.log()
    assert PASSWORD not in machine.log()


@pytest.mark.parametrize(("port", "how"), [(587, "STARTTLS"), (465, "TLS from the first octet")])
def test_dovecot_takes_mail_after_a_login(smarthosts: Smarthosts, machine: Machine, port: int, how: str) -> None:
    send(machine, f"to Dovecot by {how}", f"[{DOVECOT_HOST}]:{port}")
    assert f"by {DOVECOT_HOST} with ESMTPSA" in smarthosts.message(f"to Dovecot by {how}")
    assert f"Verified TLS connection established to {DOVECOT_HOST}[127.0.0.3]:{port}: TLSv1.3" in machine.log()


@pytest.mark.parametrize("host", [POSTFIX_HOST, DOVECOT_HOST])
def test_a_wrong_password_leaves_the_mail_waiting_until_it_is_right(
    smarthosts: Smarthosts, machine: Machine, host: str
) -> None:
    write_passwords(machine, "not the password")
    send(machine, f"with the wrong password for {host}", f"[{host}]:587")
    line = machine.wait_for_log(f"status=deferred (SASL authentication failed; server {host}")
    assert "said: 535 5.7.8" in line and "dsn=4.7.8" in line
    assert "not the password" not in machine.log()
    write_passwords(machine, PASSWORD)
    machine.run("mailctl", "flush")
    smarthosts.message(f"with the wrong password for {host}")


def test_without_a_login_the_servers_really_take_nothing(smarthosts: Smarthosts, machine: Machine) -> None:
    machine.path(PASSWORDS).write_text("elsewhere.test relay:secret\n")
    send(machine, "nobody has logged in", f"[{POSTFIX_HOST}]:587")
    machine.wait_for_log("Access denied")


def test_a_server_that_lost_its_tls_gets_neither_mail_nor_password(smarthosts: Smarthosts, machine: Machine) -> None:
    send(machine, "where TLS is off", f"[{POSTFIX_HOST}]:589")
    machine.wait_for_log(f"status=deferred (TLS is required, but was not offered by host {POSTFIX_HOST}[127.0.0.2])")
    assert "where TLS is off" not in smarthosts.logs()


def test_authorities_that_do_not_know_the_certificate_leave_the_mail_waiting(
    smarthosts: Smarthosts, machine: Machine
) -> None:
    send(machine, "signed by a stranger", f"[{DOVECOT_HOST}]:587", smtp_tls_CAfile="")
    machine.wait_for_log("status=deferred (Server certificate not trusted: unable to get local issuer certificate")


def test_passwords_that_are_not_the_smtp_clients_leave_the_mail_waiting(
    smarthosts: Smarthosts, machine: Machine
) -> None:
    write_passwords(machine, PASSWORD, owner="root")
    send(machine, "unreadable passwords", f"[{POSTFIX_HOST}]:587")
    machine.wait_for_log(f"status=deferred (smtp_sasl_password_maps: {PASSWORDS}: Permission denied")
    assert f"warning: smtp_sasl_password_maps: {PASSWORDS} should belong to sendmail-py-net" in machine.log()


def test_passwords_that_others_can_read_are_a_warning(smarthosts: Smarthosts, machine: Machine) -> None:
    write_passwords(machine, PASSWORD, mode="644", owner="root")
    send(machine, "everybody's passwords", f"[{POSTFIX_HOST}]:587")
    smarthosts.message("everybody's passwords")
    assert "mode is 0644" in machine.log()


def test_neither_the_queue_nor_the_configuration_tells_the_password(smarthosts: Smarthosts, machine: Machine) -> None:
    write_passwords(machine, "never to be seen")
    send(machine, "what is written down", f"[{POSTFIX_HOST}]:587")
    machine.wait_for_log("user relay")
    for command in (
        "mailctl config",
        "mailctl config -j",
        "mailq",
        "grep -rs seen /var/spool/sendmail-py /var/lib/sendmail-py",
    ):
        assert "never to be seen" not in machine.script(f"{command} || true")
