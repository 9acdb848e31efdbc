"""With which login to go where: keys, senders, what cannot be read, and what was refused before."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.result import Outcome, deferred
from sendmail_py.delivery.smtp_opening import LoginFailure
from sendmail_py.delivery.smtp_stream import SessionError
from sendmail_py.protocol.sasl import Login
from sendmail_py.services.smtp_logins import Logins

ALICE = Address.parse("alice+lists@example.org")
NOBODY = Address.parse("")


class Log:
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def warning(self, text):
        self.lines.append(text)


def logins(tmp_path, text, log=None, **settings):
    path = tmp_path / "passwords"
    path.write_text(text)
    path.chmod(0o600)
    values = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": f"hash:{path}"} | settings
    return Logins(Config({name: Setting(value, "test") for name, value in values.items()}), log or Log())


@pytest.mark.parametrize(
    ("nexthop", "host", "key"),
    [
        ("[smtp.test]:587", "smtp.test", "[smtp.test]:587"),
        ("[smtp.test]:587", "smtp.test", "smtp.test"),
        ("[smtp.test]:587", "smtp.test", "[smtp.test]"),
        ("example.test", "mx1.example.test", "example.test"),
        ("example.test", "mx1.example.test", "mx1.example.test"),
    ],
)
def test_a_login_stands_under_the_destination_or_the_host(nexthop, host, key, tmp_path):
    assert logins(tmp_path, f"{key} me:secret").find(nexthop, host, ALICE) == Login("me", "secret")


@pytest.mark.parametrize("key", ["other.test", "[smtp.test]:25", "test", "alice+lists@example.org", "@example.org"])
def test_another_key_is_no_login(key, tmp_path):
    assert logins(tmp_path, f"{key} me:secret").find("[smtp.test]:587", "smtp.test", ALICE) is None


@pytest.mark.parametrize("key", ["alice+lists@example.org", "alice@example.org", "@example.org"])
def test_the_senders_own_login_comes_first(key, tmp_path):
    by_sender = logins(tmp_path, f"smtp.test me:secret\n{key} hers:secret", smtp_sender_dependent_authentication="yes")
    assert by_sender.find("[smtp.test]", "smtp.test", ALICE) == Login("hers", "secret")
    assert by_sender.find("[smtp.test]", "smtp.test", NOBODY) == Login("me", "secret")
    assert by_sender.find("[smtp.test]", "smtp.test", Address.parse("bob@example.net")) == Login("me", "secret")


def test_without_smtp_sasl_auth_enable_nobody_logs_in_and_the_log_says_so(tmp_path):
    log = Log()
    off = logins(tmp_path, "smtp.test me:secret", log, smtp_sasl_auth_enable="no")
    assert off.find("[smtp.test]", "smtp.test", ALICE) is None
    assert log.lines == ["smtp_sasl_password_maps is set, but smtp_sasl_auth_enable = no: nobody logs in anywhere"]


def test_passwords_that_cannot_be_read_defer(tmp_path):
    log = Log()
    some = logins(tmp_path, "smtp.test me:secret", log)
    (tmp_path / "passwords").unlink()
    with pytest.raises(SessionError) as caught:
        some.find("[smtp.test]", "smtp.test", ALICE)
    result = caught.value.result
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")
    assert result.reason == f"smtp_sasl_password_maps: {tmp_path}/passwords: No such file or directory"
    assert log.lines == [result.reason]


def test_a_login_that_was_refused_is_not_tried_there_again_until_it_changes(tmp_path):
    some = logins(tmp_path, "smtp.test me:wrong\nother.test me:wrong")
    some.refused("smtp.test", Login("me", "wrong"), deferred("4.7.8", "wrong"))
    with pytest.raises(LoginFailure) as caught:
        some.find("[smtp.test]", "smtp.test", ALICE)
    assert caught.value.result.status == "4.7.8"
    assert some.find("[other.test]", "other.test", ALICE) == Login("me", "wrong")
    (tmp_path / "passwords").write_text("smtp.test me:right-now")
    assert some.find("[smtp.test]", "smtp.test", ALICE) == Login("me", "right-now")
