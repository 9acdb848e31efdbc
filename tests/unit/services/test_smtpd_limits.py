"""Counting clients: what one may do, and who counts as one."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.syslog import Log
from sendmail_py.protocol.commands import Verb
from sendmail_py.protocol.reply import Reply
from sendmail_py.protocol.server_commands import Plain, Refused
from sendmail_py.protocol.server_replies import reply
from sendmail_py.routing.networks import Networks
from sendmail_py.routing.restriction_scene import Client
from sendmail_py.services.smtpd_limits import Rates, key_of
from sendmail_py.services.smtpd_log import Tally

STRANGER = Client("mail.a.test", "192.0.2.1")
FRIEND = Client("localhost", "127.0.0.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def rates(clock: Clock, **settings: object) -> Rates:
    config = Config({name: Setting(str(value), "x") for name, value in {"myhostname": "here.test", **settings}.items()})
    return Rates(config, Networks(["127.0.0.0/8"]), Log("x", "x", "mail", 2), clock)


def code(answer: Reply | None) -> int:
    return answer.code if answer else 0


@pytest.mark.parametrize(
    ("address", "key"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8:0:1::1", "2001:db8:0:1::/64")],
)
def test_an_ipv6_client_is_its_64(address: str, key: str) -> None:
    assert key_of(address) == key


def test_a_place_is_free_again_when_a_connection_ends() -> None:
    counts = rates(Clock(), smtpd_client_connection_count_limit=1)
    assert [code(counts.opened(STRANGER)) for _ in range(2)] == [0, 421]
    counts.closed(STRANGER)
    counts.closed(STRANGER)
    assert code(counts.opened(STRANGER)) == 0


def test_friends_have_no_limit_but_that_of_all_connections() -> None:
    counts = rates(Clock(), smtpd_client_connection_count_limit=1, smtpd_connection_limit=3)
    assert [code(counts.opened(FRIEND)) for _ in range(4)] == [0, 0, 0, 421]


def test_a_rate_is_counted_by_the_minute() -> None:
    clock = Clock()
    counts = rates(clock, smtpd_client_message_rate_limit=2, smtpd_client_recipient_rate_limit=1)
    assert [code(counts.message(STRANGER)) for _ in range(3)] == [0, 0, 450]
    assert code(counts.message(Client("other", "192.0.2.2"))) == 0
    assert [code(counts.recipient(STRANGER)) for _ in range(2)] == [0, 450]
    clock.now += 60
    assert code(counts.message(STRANGER)) == 0


def test_the_tally_says_what_was_answered_well_and_what_was_not() -> None:
    tally = Tally()
    ok, no = reply(250, "2.0.0", "Ok"), reply(550, "5.0.0", "no")
    for verb, answer in (
        (Verb.RSET, ok),
        (Verb.NOOP, ok),
        (Verb.NOOP, no),
        (Verb.DATA, ok),
        (Verb.DOT, no),
        (Verb.DATA, no),
    ):
        tally.count(Plain(verb, ok), answer)
    tally.count(Refused(no), no)
    assert str(tally) == " data=0/2 rset=1 noop=1/2 unknown=0/1 commands=2/6"
