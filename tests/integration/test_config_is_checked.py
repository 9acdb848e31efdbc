"""main.cf is judged as a whole before it is written, and where it is bad all the same, one clear line says so."""

import json
import re
import subprocess

import pytest

from tests.integration.instance import Instance
from tests.servers.ports import free_port

BAD_HOST = "mail..example.org"  # looking such a name up is an error of its own kind
SAID = f"inet_interfaces: {BAD_HOST}: an address or the name of a host expected"


@pytest.fixture
def instance(tmp_path):
    with Instance(tmp_path / "i") as instance:
        yield instance


def refused(instance, *changes, option="-e"):
    """Return the one line that a change is refused with; main.cf stays as it was."""
    before = (instance.path / "main.cf").read_bytes()
    done = instance.mailctl("config", option, *changes)
    assert done.returncode != 0 and done.stderr.count(b"\n") == 1, done
    assert (instance.path / "main.cf").read_bytes() == before
    return done.stderr.decode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"inet_interfaces={BAD_HOST}", SAID),
        ("smtp_tls_security_level=strong", "smtp_tls_security_level: "),
        ("smtpd_port=25, nonsense", "a port between 1 and 65535 expected"),
        ("mynetworks=10.0.0.0/99", "mynetworks: "),
        ("smtpd_hard_error_limit=0", "smtpd_hard_error_limit: at least 1 expected"),
        ("smtpd_timeout=0s", "smtpd_timeout: at least 1 expected"),
        ("smtpd_recipient_restrictions=permit_mynetwork", "permit_mynetwork"),
        ("header_checks=nosuch:/etc/x", "header_checks: "),
        ("luser_relay=a b <", "luser_relay"),
        ("relayhost=[mx.example.com", "relayhost: bad nexthop: [mx.example.com"),
        ("relayhost=mx.example.com:smtps:1", "relayhost: bad nexthop: "),
        ("default_transport=smpt:[mx.example.com]", "default_transport: "),
        ("virtual_transport=maildrop", "virtual_transport: "),
        ("myhostname=host example.org", "myhostname = host example.org: the name of a host or domain expected"),
        ("myorigin=alice@example.org", "myorigin = alice@example.org: the name of a host or domain expected"),
        ("mydomain=example..org", "mydomain = example..org: the name of a host or domain expected"),
        ("queue_directory=queue", "queue_directory = queue: an absolute path expected"),
        ("maillog_file=maillog", "maillog_file = maillog: an absolute path expected"),
        ("syslog_facility=post", "syslog_facility = post: one of kern, user, mail, "),
        ("resolver_nameservers=127.0.0.1:dns", "resolver_nameservers: not a name server: 127.0.0.1:dns"),
        ("smtp_sasl_auth_enable=yes", "smtp_sasl_auth_enable needs smtp_sasl_password_maps"),
    ],
)
def test_what_would_not_load_is_refused_in_one_line(instance, change, said):
    assert said in refused(instance, change)


def test_removing_what_another_parameter_needs_is_refused(instance):
    maps = f"texthash:{instance.path}/passwords"
    instance.mailctl("config", "-e", "smtp_sasl_auth_enable=yes", f"smtp_sasl_password_maps={maps}", check=True)
    assert "smtp_sasl_auth_enable needs" in refused(instance, "smtp_sasl_password_maps", option="-X")


def test_what_goes_together_is_written_together_and_loads(instance):
    instance.start()
    maps = f"texthash:{instance.path}/passwords"
    done = instance.mailctl("config", "-e", "smtp_sasl_auth_enable=yes", f"smtp_sasl_password_maps={maps}", check=True)
    assert done.stderr == b""
    assert instance.reload().returncode == 0


def test_faults_that_are_there_already_are_mended_one_by_one(instance):
    instance.configure(smtp_tls_security_level="strong", smtpd_port="nonsense", mynetworks="10.0.0.0/99")
    assert "mynetworks" in refused(instance, "mynetworks=10.0.0.0/98")
    for change in ("mynetworks=10.0.0.0/8", "smtpd_port="):
        done = instance.mailctl("config", "-e", change, check=True)
        assert b"warning: main.cf cannot be used yet: smtp_tls_security_level: " in done.stderr
    assert instance.mailctl("config", "-e", "smtp_tls_security_level=may", check=True).stderr == b""
    instance.start()


def test_a_nexthop_that_can_be_none_is_mended_as_it_was_made(instance):
    instance.configure(relayhost="[mx.example.com")
    done = instance.mailctl("config", "-e", "mydestination=localhost", check=True)
    said = b"mailctl config: warning: main.cf cannot be used yet: relayhost: bad nexthop: [mx.example.com\n"
    assert done.stderr == said
    assert instance.mailctl("config", "-e", "relayhost=[mx.example.com]", check=True).stderr == b""
    instance.start()


def test_a_line_that_is_no_setting_and_a_name_that_is_none_are_told_at_a_reload_as_at_a_start(instance):
    with open(instance.path / "main.cf", "a") as file:
        file.write("relayhost [mx.example.com]\nmynetwork = 10.0.0.0/8\n")
    lines = len((instance.path / "main.cf").read_text().splitlines())
    instance.start()
    done = instance.reload()
    assert done.returncode == 0
    for said in (instance.output(), done.stderr.decode()):
        assert f"main.cf:{lines - 1}: `name = value` expected: relayhost [mx.example.com]" in said
        assert f"main.cf:{lines}: warning: unknown parameter mynetwork (did you mean mynetworks?)" in said


def test_without_a_file_that_the_environment_names_nothing_starts_and_no_reload_is_taken(instance):
    """Mail would go to the world directly, where the file has the smarthost."""
    secret = instance.path / "relayhost"
    instance.environment["SENDMAILPY_relayhost_FILE"] = str(secret)
    said = f"environment SENDMAILPY_relayhost_FILE: {secret}: No such file or directory"
    assert instance.start(check=False).returncode == 78 and said in instance.output()
    assert instance.submit(b"Subject: x\n\nx\n", "friend@far.example") == 0  # what is submitted is kept
    secret.write_text("[127.0.0.1]:1\n")
    instance.start()
    secret.unlink()
    assert instance.reload().returncode == 78
    assert f"reload refused, the old configuration stays: {said}" in instance.log()
    status = instance.mailctl("status", "--json", check=True).stdout
    assert said in json.loads(status)["refused_reload"]


def test_a_log_file_that_cannot_be_opened_is_named_and_check_knows_the_repair(instance):
    path = instance.path / "log" / "maillog"
    instance.configure(maillog_file=path)
    assert instance.start(check=False).returncode != 0
    assert f"maillog_file {path}: No such file or directory" in instance.output()
    checked = instance.mailctl("check").stdout.decode()
    assert f"maillog_file = {path}: there is no directory" in " ".join(checked.split())
    subprocess.run(re.search("repair: (install .*)", checked)[1], shell=True, check=True)
    instance.start()


def test_a_bad_host_that_somebody_wrote_into_main_cf_is_one_line_everywhere(instance):
    instance.start()
    instance.configure(inet_interfaces=BAD_HOST, smtpd_port=free_port())
    done = instance.reload()
    assert done.returncode != 0 and done.stderr.count(b"\n") == 1 and SAID in done.stderr.decode()
    checked = instance.mailctl("check").stdout.decode()
    assert SAID in " ".join(checked.split()) and f"mailctl -c {instance.path} config" in checked
    instance.stop()
    assert instance.start(check=False).returncode != 0
    assert instance.output().count(SAID) == 1
    assert "Traceback" not in instance.output() + instance.log() + checked


def test_a_name_that_nobody_knows_stops_no_start_and_check_names_it(instance):
    """The name server may only be late: the ports that can be had are served."""
    instance.configure(inet_interfaces="nobody.invalid, 127.0.0.1", smtpd_port=free_port())
    instance.start()
    assert "Traceback" not in instance.output() + instance.log()
    assert "inet_interfaces: nobody.invalid: " in " ".join(instance.mailctl("check").stdout.decode().split())
