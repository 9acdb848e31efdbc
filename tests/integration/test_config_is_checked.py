"""main.cf is judged as a whole before it is written, and where it is bad all the same, one clear line says so."""

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
        ("smtpd_recipient_restrictions=permit_mynetwork", "permit_mynetwork"),
        ("header_checks=nosuch:/etc/x", "header_checks: "),
        ("luser_relay=a b <", "luser_relay"),
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
