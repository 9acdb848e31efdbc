"""The settings of submission ports: their defaults, and what submission_options changes."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.errors import ConfigError
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.smtpd_kinds import SMTP, SUBMISSION, SUBMISSIONS, config_of, parse_options
from sendmail_py.services.smtpd_rules import smtpd_rules


def config(**settings: str) -> Config:
    return Config({name: Setting(value, "main.cf:7") for name, value in settings.items()})


def test_submission_takes_nobodys_mail_in_clear_and_relays_for_nobody_else_whatever_port_25_does() -> None:
    main = config(
        smtpd_tls_security_level="none",
        smtpd_relay_restrictions="permit_mynetworks, reject",
        smtpd_client_restrictions="reject_rbl_client x.test",
    )
    for kind in (SUBMISSION, SUBMISSIONS):
        own = config_of(kind, main)
        assert own.smtpd_tls_security_level == "encrypt"
        assert own.smtpd_relay_restrictions == ["permit_sasl_authenticated", "reject"]
        assert own.smtpd_client_restrictions == []
        assert own.syslog_name == f"sendmail-py/{kind}"
    assert config_of(SMTP, main) is main


def test_options_are_written_as_in_master_cf() -> None:
    text = "-o smtpd_timeout=10s  -o { smtpd_relay_restrictions = permit_mynetworks, reject } -o smtpd_banner="
    assert parse_options(text) == {
        "smtpd_timeout": "10s",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_banner": "",
    }
    assert parse_options("-o {local_header_rewrite_clients = inline:{a=b}}") == {
        "local_header_rewrite_clients": "inline:{a=b}"
    }


def test_an_option_may_use_other_parameters() -> None:
    own = config_of(SUBMISSION, config(myhostname="a.test", submission_options="-o {smtpd_banner=$myhostname here}"))
    assert own.smtpd_banner == "a.test here"


POSTFIX_HAS = """
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=yes
  -o local_header_rewrite_clients=static:all
  -o smtpd_reject_unlisted_recipient=no
  -o smtpd_client_restrictions=$mua_client_restrictions
  -o smtpd_helo_restrictions=
  -o smtpd_sender_restrictions=
  -o smtpd_relay_restrictions=
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
  -o milter_macro_daemon_name=ORIGINATING
"""


def test_what_stands_in_postfixs_master_cf_may_be_copied() -> None:
    own = config_of(SUBMISSION, config(submission_options=POSTFIX_HAS))
    own.validate()
    rules = smtpd_rules(own, Routing(own))
    assert own.syslog_name == "postfix/submission" and own.milter_macro_daemon_name == "ORIGINATING"
    assert "192.0.2.1" in rules.completed and "2001:db8::1" in rules.completed
    assert [word for word, _ in rules.restrictions.lists["recipient"]] == ["permit_sasl_authenticated", "reject"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("smtpd_timeout=1s", "-o name=value"),
        ("-o smtpd_timeout", "smtpd_timeout: name=value expected"),
        ("-o { smtpd_timeout = 1s", "a brace is not closed"),
        ("-o smtpd_no_such_thing=1", "smtpd_no_such_thing: there is no such parameter"),
        ("-o queue_directory=/x", "queue_directory counts for the whole"),
        ("-o smtpd_client_message_rate_limit=1", "smtpd_client_message_rate_limit counts for the whole"),
        ("-o smtpd_policy_service_timeout=1s", "smtpd_policy_service_timeout counts for the whole"),
        ("-o submission_options=x", "submission_options counts for the whole"),
    ],
)
def test_options_that_cannot_be_followed_are_an_error_that_says_where(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"main.cf:7, submission_options: ") as error:
        config_of(SUBMISSION, config(submission_options=text))
    assert why in str(error.value)
