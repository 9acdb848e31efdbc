"""Real smarthosts that want TLS and a login, with the certificate and the password right and wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import LOG, Machine, wait_until
from smarthosts import AUTHORITY, DOMAIN, DOVECOT_HOST, PASSWORD, POSTFIX_HOST, TOKEN_PORT, Smarthosts

from tests.conftest import needs
from tests.servers.oauth_server import CLIENT, SECRET, USER
from tests.servers.postfix import MASTER

pytestmark = pytest.mark.real("dovecot")
PASSWORDS = "/etc/sendmail-py/sasl_passwd"
NEEDED = [MASTER, Path("/usr/lib/dovecot/submission")]


@pytest.fixture(scope="module")
def smarthosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Smarthosts]:
    """A machine with our services and two smarthosts; what is sent is tried once, and again when it is flushed."""
    needs(*NEEDED)
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
                smtp_log_tls_feature_status="yes",
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
    machine.configure(smtp_tls_security_level="secure", smtp_tls_CAfile=AUTHORITY, smtp_sasl_mechanism_filter="")
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


def both_log_in(smarthosts: Smarthosts, machine: Machine, host: str, mechanism: str, user: str, password: str) -> None:
    """Send a message by msmtp and one by us; both arrive, and the server has logged both logins."""
    machine.path("/etc/msmtprc").write_text(
        f"account default\nhost {host}\nport 587\ntls on\ntls_trust_file {AUTHORITY}\nauth {mechanism.lower()}\n"
        f'user {user}\npassword "{password}"\nfrom bob@host.example.org\n'
    )
    text = f"by {mechanism} to {host}"
    message = f"Subject: {text}\n\n{text}, from msmtp\n".encode()
    machine.run("msmtp", "-C", "/etc/msmtprc", "alice@smarthost.test", input=message)
    send(machine, f"{text}, from us", f"[{host}]:587", smtp_sasl_mechanism_filter=mechanism)
    for whose in ("from msmtp", "from us"):
        smarthosts.message(f"{text}, {whose}")
    by_postfix, by_dovecot = f"sasl_method={mechanism}, sasl_username={user}", f"user=<{user}>, method={mechanism}"
    how = by_postfix if host == POSTFIX_HOST else by_dovecot
    wait_until(lambda: smarthosts.logs().count(how) >= 2, how)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("host", [POSTFIX_HOST, DOVECOT_HOST])
def test_each_mechanism_is_taken_from_us_as_from_msmtp(
    smarthosts: Smarthosts, machine: Machine, host: str, mechanism: str
) -> None:
    both_log_in(smarthosts, machine, host, mechanism, "relay", PASSWORD)


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


def write_token_login(machine: Machine) -> str:
    """Log in at the token server as an application, for both smarthosts; returns an access token for msmtp."""
    machine.path("/var/lib/secret").write_text(SECRET)
    url = f"http://127.0.0.1:{TOKEN_PORT}/token"
    words = ["oauth", "login", "ours", USER, "--client-credentials", "--client-id", CLIENT, "--token-url", url]
    machine.run("mailctl", *words, "--client-secret-file", "/var/lib/secret")
    lines = [f"{host} {USER}:oauth:ours" for host in (POSTFIX_HOST, DOVECOT_HOST)]
    machine.path(PASSWORDS).write_text("\n".join(lines) + "\n")
    form = f"grant_type=client_credentials&client_id={CLIENT}&client_secret={SECRET}"
    answer = machine.run("curl", "-sS", "-d", form, url).stdout
    return str(json.loads(answer)["access_token"])


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("host", [POSTFIX_HOST, DOVECOT_HOST])
def test_a_token_is_taken_from_us_as_from_msmtp(
    smarthosts: Smarthosts, machine: Machine, host: str, mechanism: str
) -> None:
    token = write_token_login(machine)
    both_log_in(smarthosts, machine, host, mechanism, USER, token)


@pytest.mark.parametrize(("host", "mechanism"), [(POSTFIX_HOST, "XOAUTH2"), (DOVECOT_HOST, "OAUTHBEARER")])
def test_a_token_that_the_server_refuses_is_replaced_within_the_session(
    smarthosts: Smarthosts, machine: Machine, host: str, mechanism: str
) -> None:
    write_token_login(machine)
    machine.script('sed -i \'s/"obtained_at": [0-9]*/"obtained_at": 1/\' /var/lib/sendmail-py/oauth/ours+*.json')
    machine.run("curl", "-sS", "-d", "do=end_access", f"http://127.0.0.1:{TOKEN_PORT}/admin")
    text = f"replaced for {mechanism} at {host}"
    send(machine, text, f"[{host}]:587", smtp_sasl_mechanism_filter=mechanism)
    smarthosts.message(text)
    assert "status=deferred" not in machine.log()


def test_one_command_configures_the_systems_instance(smarthosts: Smarthosts, machine: Machine) -> None:
    write_token_login(machine)
    machine.script(f"rm {PASSWORDS}")
    url = f"http://127.0.0.1:{TOKEN_PORT}/token"
    words = ["oauth", "login", "ours", USER, "--client-credentials", "--client-id", CLIENT, "--token-url", url]
    machine.run("mailctl", *words, "--client-secret-file", "/var/lib/secret", "--configure", f"[{POSTFIX_HOST}]:587")
    assert machine.script(f"stat -c '%a %U' {PASSWORDS}") == "600 sendmail-py-net\n"
    machine.run("mailctl", "reload")
    machine.submit("bob", "alice@smarthost.test", text="all by one command")
    assert f"(Authenticated sender: {USER})" in smarthosts.message("all by one command")


def test_nobody_but_the_smtp_client_sees_the_tokens(smarthosts: Smarthosts, machine: Machine) -> None:
    token = write_token_login(machine)
    seen = machine.script(
        "stat -c '%a %U:%G %n' /var/lib/sendmail-py /var/lib/sendmail-py/oauth/ /var/lib/sendmail-py/oauth/*.json"
    )
    assert [line.rpartition(" ")[0] for line in seen.splitlines()] == [
        "711 sendmail-py:sendmail-py",
        "700 sendmail-py-net:sendmail-py-net",
        "600 sendmail-py-net:sendmail-py-net",
    ]
    for user in ("www-data", "sendmail-py", "alice", "nobody"):
        for command in ("ls /var/lib/sendmail-py/oauth", "cat /var/lib/sendmail-py/oauth/ours+user@example.org.json"):
            assert "Permission denied" in machine.script(f"{command} 2>&1 || true", user=user), (user, command)
    assert token not in machine.log() + smarthosts.machine.script("grep -rs tok /var/spool/sendmail-py || true")


def test_postfix_takes_mail_from_a_host_that_shows_its_certificate(smarthosts: Smarthosts, machine: Machine) -> None:
    machine.path(PASSWORDS).write_text("elsewhere.test relay:secret\n")
    send(machine, "without a certificate", f"[{POSTFIX_HOST}]:590")
    machine.wait_for_log("No client certificate presented")
    machine.path("/etc/ours.pem").write_bytes(smarthosts.certificate("host.example.org"))
    machine.path("/etc/ours.pem").chmod(0o600)  # root's, whom the SMTP client is not
    send(machine, "with a certificate", f"[{POSTFIX_HOST}]:590", smtp_tls_chain_files="/etc/ours.pem")
    smarthosts.message("with a certificate")
    assert f"relay={POSTFIX_HOST}[127.0.0.2]:590" in machine.wait_for_log("tls=secure, dsn=2.0.0, status=sent")
    machine.configure(smtp_tls_chain_files="")


def test_a_domain_with_a_policy_gets_its_mail_under_it_and_without_its_host_as_well(
    smarthosts: Smarthosts, machine: Machine
) -> None:
    by_mx = {"smtp_permit_loopback_mx": "yes", "smtp_tls_security_level": "may", "smtp_sasl_auth_enable": "no"}
    file = f"/var/lib/sendmail-py/sts/{DOMAIN}.json"
    with smarthosts.policy_host(f"version: STSv1\nmode: enforce\nmx: {POSTFIX_HOST}\nmax_age: 86400\n"):
        send(machine, "under a policy", "", **by_mx)
        smarthosts.message("under a policy")
        assert machine.script(f"stat -c '%a %U:%G' {file}") == "600 sendmail-py-net:sendmail-py-net\n"
        assert f"MTA-STS: policy of {DOMAIN}: mode enforce, max_age 86400, mx {POSTFIX_HOST} (id 1)" in machine.log()
        assert b"authenticated, as MTA-STS wants it" in machine.run("mailctl", "tls-probe", DOMAIN).stdout
    machine.script(f"sed -i 's/{POSTFIX_HOST}/other.test/' {file}")  # as if the policy named another host
    machine.run("mailctl", "reload")
    machine.submit("bob", f"alice@{DOMAIN}", text="to a host that the policy does not name")
    text = f"status=deferred (MTA-STS: the policy of {DOMAIN} does not name host {POSTFIX_HOST}: other.test)"
    wait_until(lambda: text in machine.log(), text)
    machine.script(f"sed -i 's/other.test/{POSTFIX_HOST}/' {file}")
    machine.run("mailctl", "reload")
    machine.run("mailctl", "flush")
    smarthosts.message("to a host that the policy does not name")
    assert f"Verified TLS connection established to {POSTFIX_HOST}[127.0.0.2]:25" in machine.log()
    assert "Untrusted TLS" not in machine.log()
    machine.configure(smtp_sasl_auth_enable="yes", smtp_permit_loopback_mx="no")
