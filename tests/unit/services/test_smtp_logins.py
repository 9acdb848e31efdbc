"""With which login to go where: keys, senders, what cannot be read, and what was refused before."""

import asyncio

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.result import Outcome, deferred
from sendmail_py.delivery.smtp_opening import LoginFailure, LoginRefused
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


def test_without_smtp_sasl_auth_enable_nobody_logs_in(tmp_path):
    off = logins(tmp_path, "smtp.test me:secret", smtp_sasl_auth_enable="no")
    assert off.find("[smtp.test]", "smtp.test", ALICE) is None


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


def refuse(some, host, login):
    """Have a host refuse a login."""

    async def session():
        async with some.turn(host, login):
            raise LoginRefused(deferred("4.7.8", "wrong"))

    with pytest.raises(LoginRefused):
        asyncio.run(session())


def test_a_login_that_was_refused_is_not_tried_there_again_until_it_changes(tmp_path):
    some = logins(tmp_path, "smtp.test me:wrong\nother.test me:wrong")
    refuse(some, "smtp.test", Login("me", "wrong"))
    with pytest.raises(LoginFailure) as caught:
        some.find("[smtp.test]", "smtp.test", ALICE)
    assert caught.value.result.status == "4.7.8"
    assert some.find("[other.test]", "other.test", ALICE) == Login("me", "wrong")
    (tmp_path / "passwords").write_text("smtp.test me:right-now")
    assert some.find("[smtp.test]", "smtp.test", ALICE) == Login("me", "right-now")


@pytest.mark.parametrize(("is_right", "tried"), [(False, 1), (True, 10)])
def test_a_login_that_may_be_wrong_is_tried_by_one_session_at_a_time(is_right, tried, tmp_path):
    some = logins(tmp_path, "smtp.test me:secret")
    under_way, most_at_first, tries = 0, 0, 0

    async def session():
        nonlocal under_way, most_at_first, tries
        async with some.turn("smtp.test", Login("me", "secret")):
            tries += 1
            under_way += 1
            if tries == 1:
                await asyncio.sleep(0.05)
                most_at_first = under_way
            under_way -= 1
            if not is_right:
                raise LoginRefused(deferred("4.7.8", "wrong"))

    async def sessions():
        return await asyncio.gather(*(session() for _ in range(10)), return_exceptions=True)

    ends = asyncio.run(sessions())
    assert (most_at_first, tries) == (1, tried)
    assert [isinstance(end, LoginFailure) for end in ends] == [not is_right] * 10
