"""mailctl import of what distributions ship and of what public set-ups use: every line is accounted for, and it works.

foreign_configs/ has the settings of real hosts, written anew: names and addresses are examples. What
Debian's package ships is read from the package where it is unpacked.
"""

import contextlib
import io
import json
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl import import_
from sendmail_py.core.complaints import complaints
from sendmail_py.host import configuration
from sendmail_py.services.whole_config import check_config
from tests.conftest import needs
from tests.integration.instance import Instance
from tests.servers.postfix import POSTFIX

CONFIGS = Path(__file__).parent / "foreign_configs"
DEBIAN = POSTFIX / "usr/share/postfix"
# What the answers to the questions of Debian's package set, beside what it always sets.
ALWAYS = {
    "smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated defer_unauth_destination",
    "myhostname": "host.example.org",
    "alias_maps": "hash:/etc/aliases",
    "alias_database": "hash:/etc/aliases",
    "mydestination": "$myhostname, example.org, host.example.org, localhost.example.org, localhost",
    "relayhost": "",
    "mynetworks": "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128",
    "mailbox_size_limit": "0",
    "recipient_delimiter": "+",
    "inet_protocols": "all",
}
TYPES = {
    "Internet Site": {"inet_interfaces": "all"},
    "Internet with smarthost": {"inet_interfaces": "all", "relayhost": "smtp.example.net"},
    "Satellite system": {"inet_interfaces": "loopback-only", "relayhost": "smtp.example.net"},
    "Local only": {"inet_interfaces": "loopback-only", "default_transport": "error", "relay_transport": "error"},
    "No configuration": {},
}
# Names that hosts make up for their master.cf, and old ones of Postfix's.
OTHERS_OWN = {
    "mua_sender_restrictions",
    "submission_smtpd_tls_mandatory_protocols",
    "smtps_smtpd_tls_mandatory_protocols",
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("import") / "i") as instance:
        instance.fresh = (instance.path / "main.cf").read_bytes()
        yield instance


def said(path):
    """Count the lines that say something, in the simplest way there is."""
    return [line for line in path.read_text().splitlines() if line.strip() and line[0] not in "# \t"]


def taken_over(instance, kind, path):
    """Import a file; returns what was said of each of its lines. What is written starts, by its check."""
    (instance.path / "main.cf").write_bytes(instance.fresh)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert import_.main([kind, str(path), "--json"], str(instance.path)) == 0
    found = json.loads(printed.getvalue())
    lines = found["lines"]
    assert len(lines) == len(said(path)) == sum(found["counts"].values())
    assert [line["line"] for line in lines] == sorted({line["line"] for line in lines})
    assert all(line["words"] for line in lines)
    config, odd = configuration.load(str(instance.path))
    check_config(config)  # as a start does
    assert odd == [] == complaints(config.settings)
    assert {name: config.text(name).split() for name in found["settings"]} == {
        name: value.split() for name, value in found["settings"].items()
    }
    return {line["text"].partition("=")[0].strip(): line for line in lines}


def refused(lines):
    return {name: line["words"] for name, line in lines.items() if line["verdict"] == "refused"}


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.cf")) - {CONFIGS / "el9.cf"}), ids=lambda path: path.stem)
def test_what_public_hosts_have_is_taken_over_and_the_rest_named(instance, path):
    lines = taken_over(instance, "postfix", path)
    kept = [line for line in lines.values() if line["verdict"] in ("honoured", "changed")]
    assert len(kept) >= len(lines) / 3
    assert {name for name, line in lines.items() if "no parameter of Postfix's" in line["words"]} <= OTHERS_OWN


def test_el_9_as_it_is_shipped_loses_nothing(instance):
    lines = taken_over(instance, "postfix", CONFIGS / "el9.cf")
    assert set(refused(lines)) <= {"smtpd_tls_cert_file", "smtpd_tls_key_file"}  # where these files are not there
    assert lines["debugger_command"]["verdict"] == "ignored"
    assert lines["smtp_tls_CAfile"]["verdict"] == lines["inet_interfaces"]["verdict"] == "honoured"


@pytest.mark.parametrize("kind", TYPES)
def test_each_kind_of_debians_package_loses_nothing(instance, tmp_path, kind):
    needs(DEBIAN)
    text = (DEBIAN / "main.cf.debian").read_text()
    if kind != "No configuration":
        (tmp_path / "mailname").write_text("example.org\n")  # as /etc/mailname, which this host may not have
        settings = ALWAYS | TYPES[kind] | {"myorigin": str(tmp_path / "mailname")}
        text += (DEBIAN / "main.cf.tls").read_text() + "".join(f"{n} = {v}\n" for n, v in settings.items())
    (tmp_path / "main.cf").write_text(text)
    lines = taken_over(instance, "postfix", tmp_path / "main.cf")
    assert set(refused(lines)) <= {"smtpd_tls_cert_file", "smtpd_tls_key_file"}
    assert all(lines[name]["verdict"] == "honoured" for name in {**TYPES[kind]})


def test_the_commented_main_cf_that_postfix_ships_loses_nothing(instance):
    needs(DEBIAN)
    assert refused(taken_over(instance, "postfix", DEBIAN / "main.cf.dist")) == {}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*msmtprc")), ids=lambda path: path.name)
def test_what_users_of_msmtp_have(instance, path):
    lines = taken_over(instance, "msmtp", path)
    assert len(refused(lines)) <= 1


EXAMPLES = sorted(Path("/usr/share/doc/msmtp/examples").glob("msmtprc-*.example"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_of_msmtp(instance, path):
    taken_over(instance, "msmtp", path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.ssmtp.conf")), ids=lambda path: path.name)
def test_what_users_of_ssmtp_have(instance, path):
    assert refused(taken_over(instance, "ssmtp", path)) == {}


def test_only_the_restriction_that_is_not_known_is_left_out(instance, tmp_path):
    words = "permit_mynetworks, reject_strangely, check_client_access ldap:/x, reject_unauth_destination"
    (tmp_path / "main.cf").write_text(f"smtpd_client_restrictions = {words}\n")
    line = taken_over(instance, "postfix", tmp_path / "main.cf")["smtpd_client_restrictions"]
    assert line["verdict"] == "changed"
    assert "without reject_strangely: no such restriction" in line["words"]
    assert "without check_client_access ldap:/x: table type ldap is not supported" in line["words"]
    shown = instance.mailctl("config", "-h", "smtpd_client_restrictions").stdout
    assert shown == b"permit_mynetworks reject_unauth_destination\n"


def test_who_may_relay_is_left_to_the_default_where_a_word_that_refuses_is_not_known(instance, tmp_path):
    text = "smtpd_relay_restrictions = permit_mynetworks, reject_strangers\n"
    (tmp_path / "main.cf").write_text(text)
    assert set(refused(taken_over(instance, "postfix", tmp_path / "main.cf"))) == {"smtpd_relay_restrictions"}
    shown = instance.mailctl("config", "-h", "smtpd_relay_restrictions").stdout
    assert b"unauth_destination" in shown


def test_what_files_of_networks_and_domains_say_is_put_into_main_cf(instance, tmp_path):
    (tmp_path / "networks").write_text("# ours\n192.0.2.0/24\n198.51.100.0/24 # and theirs\n")
    text = f"mynetworks = 127.0.0.0/8 {tmp_path}/networks\nmydestination = {tmp_path}/absent\n"
    (tmp_path / "main.cf").write_text(text)
    lines = taken_over(instance, "postfix", tmp_path / "main.cf")
    assert lines["mynetworks"]["verdict"] == "changed"
    assert instance.mailctl("config", "-h", "mynetworks").stdout == b"127.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24\n"
    assert refused(lines) == {"mydestination": f"{tmp_path}/absent: No such file or directory"}
