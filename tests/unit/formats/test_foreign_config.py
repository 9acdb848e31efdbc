"""Configurations of other mail systems: what each line becomes, and that none is forgotten."""

from collections.abc import Callable

import pytest

from sendmail_py.formats.foreign_clients import from_msmtp, from_ssmtp
from sendmail_py.formats.foreign_config import CHANGED, HONOURED, IGNORED, REFUSED, Import
from sendmail_py.formats.foreign_postfix import from_postfix
from sendmail_py.formats.logical_lines import logical_lines

DEBIAN = """\
# See /usr/share/postfix/main.cf.dist for a commented, more complete version
myorigin = /etc/mailname
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 3.6
smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file=/etc/ssl/private/ssl-cert-snakeoil.key
smtpd_tls_security_level=may
smtp_tls_CApath=/etc/ssl/certs
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mail.example.org
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = $myhostname, mail.example.org, localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
smtpd_use_tls = yes
content_filter = smtp:[127.0.0.1]:10025
sites = a.example,
  b.example
relay_domains = $sites
nonsense = 1
no equals sign
"""


def verdicts(found: Import) -> dict[str, str]:
    return {row.text.partition("=")[0].split()[0]: row.verdict for row in found.rows}


def test_every_line_of_postfixs_main_cf_has_one_verdict() -> None:
    found = from_postfix(DEBIAN)
    assert [row.number for row in found.rows] == [number for number, _ in logical_lines(DEBIAN)]
    seen = verdicts(found)
    assert seen["biff"] == seen["compatibility_level"] == seen["alias_database"] == seen["readme_directory"] == IGNORED
    assert seen["smtp_tls_session_cache_database"] == seen["nonsense"] == IGNORED
    assert seen["content_filter"] == seen["no"] == REFUSED
    assert seen["smtpd_use_tls"] == IGNORED  # smtpd_tls_security_level counts
    assert seen["relay_domains"] == seen["sites"] == seen["recipient_delimiter"] == HONOURED
    assert found.settings["mydestination"] == "$myhostname, mail.example.org, localhost"
    assert all(row.words for row in found.rows)


@pytest.mark.parametrize(
    ("line", "verdict", "settings"),
    [
        ("smtpd_use_tls = yes", CHANGED, {"smtpd_tls_security_level": "may"}),
        ("smtp_enforce_tls = YES", CHANGED, {"smtp_tls_security_level": "encrypt"}),
        (
            "smtpd_sasl_path = private/auth",
            CHANGED,
            {"smtpd_sasl_path": "/var/spool/postfix/private/auth"},
        ),
        (
            "mailbox_transport = lmtp:unix:private/dovecot-lmtp",
            CHANGED,
            {"mailbox_transport": "lmtp:unix:/var/spool/postfix/private/dovecot-lmtp"},
        ),
        (
            "local_recipient_maps = proxy:unix:passwd.byname $alias_maps",
            HONOURED,
            {"local_recipient_maps": "proxy:unix:passwd.byname $alias_maps"},
        ),
        (
            "smtpd_banner = $myhostname ESMTP $mail_name ($mail_version)",
            CHANGED,
            {"smtpd_banner": "$myhostname ESMTP sendmail-py"},
        ),
        ("smtpd_milters = local:/run/x/sock", HONOURED, {"smtpd_milters": "local:/run/x/sock"}),
        ("unknown_local_recipient_reject_code = 550", IGNORED, {}),
        ("unknown_local_recipient_reject_code = 450", REFUSED, {}),
        ("tls_ssl_options = NO_COMPRESSION, NO_RENEGOTIATION", IGNORED, {}),
        ("tls_ssl_options = NO_TICKET", REFUSED, {}),
        ("postscreen_greet_wait = 3s", IGNORED, {}),
        ("postscreen_dnsbl_sites = zen.spamhaus.org*3", REFUSED, {}),
        ("mua_sender_restrictions = reject", IGNORED, {}),
    ],
)
def test_what_has_another_name_or_is_so_anyway_is_no_refusal(line: str, verdict: str, settings: dict[str, str]) -> None:
    found = from_postfix(line + "\n")
    assert [row.verdict for row in found.rows] == [verdict]
    assert found.settings == settings


def test_the_name_of_the_mail_system_stands_where_it_is_used() -> None:
    found = from_postfix("smtpd_banner = $myhostname ${mail_name}\nmail_name = Mail Host\n")
    assert found.settings == {"smtpd_banner": "$myhostname Mail Host"}
    assert [row.verdict for row in found.rows] == [CHANGED, IGNORED]


MSMTP = """\
defaults
auth           on
tls            on
tls_trust_file /etc/ssl/certs/ca-certificates.crt
logfile        ~/.msmtp.log

account        work
host           smtp.work.example
port           587
from           me@work.example
user           me
password       "s3cret word"

account        other
host           smtp.other.example
user           you

account default : work
"""


def test_the_default_account_of_msmtp_is_taken_over_and_others_are_refused() -> None:
    found = from_msmtp(MSMTP)
    assert found.settings == {
        "myorigin": "work.example",
        "relayhost": "[smtp.work.example]:587",
        "smtp_tls_security_level": "secure",
        "smtp_sasl_auth_enable": "yes",
    }
    assert found.login == "me:s3cret word"
    assert len(found.rows) == len([line for line in MSMTP.splitlines() if line.strip()])
    refused = [row.text for row in found.rows if row.verdict == REFUSED]
    assert refused == ["account other", "host smtp.other.example", "user you"]
    assert not any("s3cret" in row.text + row.words for row in found.rows)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("tls on\ntls_starttls off", {"relayhost": "[h]:465", "smtp_tls_wrappermode": "yes"}),
        ("tls on\ntls_certcheck off", {"relayhost": "[h]:25", "smtp_tls_security_level": "encrypt"}),
        ("tls off", {"smtp_tls_security_level": "none"}),
        ("tls on\ntls_fingerprint 00:11", {"smtp_tls_security_level": "fingerprint"}),
    ],
)
def test_several_lines_about_tls_become_one_level(lines: str, expected: dict[str, str]) -> None:
    found = from_msmtp(f"account default\nhost h\n{lines}\n")
    assert expected.items() <= found.settings.items()


def test_an_ssmtp_conf_becomes_a_relayhost_with_a_login_and_an_alias_of_root() -> None:
    found = from_ssmtp(
        "# comment\nroot=admin@example.org\nmailhub=smtp.example.org:587\nrewriteDomain=example.org\nUseSTARTTLS=YES\n"
        "AuthUser=me\nAuthPass=s3cret\nAuthMethod=LOGIN\nFromLineOverride=YES\nStrange=1\n"
    )
    assert found.settings == {
        "myorigin": "example.org",
        "smtp_sasl_mechanism_filter": "login",
        "relayhost": "[smtp.example.org]:587",
        "smtp_tls_security_level": "encrypt",
        "smtp_sasl_auth_enable": "yes",
    }
    assert (found.login, found.root) == ("me:s3cret", "admin@example.org")
    assert [row.verdict for row in found.rows if row.text == "Strange=1"] == [REFUSED]
    assert not any("s3cret" in row.text for row in found.rows)


def test_without_a_server_nothing_is_sent_anywhere() -> None:
    assert from_msmtp("defaults\ntls on\n").settings == {} == from_ssmtp("FromLineOverride=YES\n").settings


@pytest.mark.parametrize(
    ("read", "text", "relayhost"),
    [
        (from_postfix, "relayhost = [a\nmyhostname = x.example\nrelayhost = [b]:25\n", "[b]:25"),
        (from_msmtp, "defaults\nhost a\naccount default\nhost b\n", "[b]:25"),
        (from_ssmtp, "Mailhub=a\nroot=x\nmailhub=b\n", "[b]:25"),
    ],
)
def test_of_a_setting_that_stands_twice_the_last_one_counts_and_the_first_is_not_called_honoured(
    read: Callable[[str], Import], text: str, relayhost: str
) -> None:
    found = read(text)
    assert found.settings["relayhost"] == relayhost
    last = max(number for number, line in enumerate(text.splitlines(), 1) if line.endswith(("[b]:25", " b", "=b")))
    (row,) = (row for row in found.rows if row.verdict == IGNORED)
    assert row.words == f"line {last} says it again, and the last one counts" and row.text.endswith("a")


@pytest.mark.parametrize("side", ["smtp", "smtpd"])
def test_tls_that_was_enforced_stays_so_in_any_order(side: str) -> None:
    lines = [f"{side}_enforce_tls = yes", f"{side}_use_tls = yes"]
    for ordered in (lines, lines[::-1]):
        found = from_postfix("\n".join(ordered))
        assert found.settings == {f"{side}_tls_security_level": "encrypt"}
        assert sorted(row.verdict for row in found.rows) == [CHANGED, IGNORED]
