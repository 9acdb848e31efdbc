"""Counting clients: what one may do, and who counts as one."""

import os

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.shared_counts import SharedCounts, create, forget_process
from sendmail_py.host.syslog import Log
from sendmail_py.protocol.commands import Verb
from sendmail_py.protocol.reply import Reply
from sendmail_py.protocol.server_commands import Plain, Refused
from sendmail_py.protocol.server_replies import reply
from sendmail_py.routing.networks import Networks
from sendmail_py.routing.restriction_scene import Client
from sendmail_py.services.smtpd_limits import Rates, key_of
from sendmail_py.services.smtpd_load import Load
from sendmail_py.services.smtpd_log import Tally

STRANGER = Client("mail.a.test", "192.0.2.1")
FRIEND = Client("localhost", "127.0.0.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def rates(clock: Clock, **settings: object) -> Rates:
    config = Config({name: Setting(str(value), "x") for name, value in {"myhostname": "here.test", **settings}.items()})
    memory = create()
    try:
        forget_process(memory, 0)
        counts = SharedCounts(memory, 0)
    finally:
        os.close(memory)
    return Rates(config, Networks(["127.0.0.0/8"]), Log("x", "x", "mail", 2), clock, counts)


def code(answer: Reply | None) -> int:
    return answer.code if answer else 0


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8::1", False),
        ("::c000:201", "192.0.2.1", False),
    ],
)
def test_an_ipv6_client_is_its_64(address: str, other: str, is_same: bool) -> None:
    assert (key_of(address) == key_of(other)) is is_same
    assert len(key_of(address)) == 16


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


def test_the_time_unit_of_rates_is_the_administrators() -> None:
    clock = Clock()
    counts = rates(clock, smtpd_client_connection_rate_limit=1, anvil_rate_time_unit="10s")
    assert [code(counts.opened(STRANGER)) for _ in range(2)] == [0, 421]
    clock.now += 10
    assert code(counts.opened(STRANGER)) == 0


def test_stress_lasts_longer_than_its_cause() -> None:
    clock = Clock()
    counts = rates(clock, smtpd_connection_limit=10)
    for _ in range(9):
        counts.opened(FRIEND)
    assert not counts.is_stressed()
    counts.opened(FRIEND)
    assert counts.is_stressed()
    for _ in range(10):
        counts.closed(FRIEND)
    clock.now += 999
    assert counts.is_stressed()
    clock.now += 2
    assert not counts.is_stressed()


def test_a_busy_process_wants_another_and_a_calm_one_may_go() -> None:
    load = Load(0.0, 0.0)
    spent = 0.3
    load.note(0.5, spent)
    assert not load.is_busy()
    for second in range(1, 4):
        spent += 0.9
        load.note(float(second), spent)
        assert load.is_busy() and not load.is_calm()
    for second in range(4, 20):
        load.note(float(second), spent)
    assert load.is_calm() and not load.is_busy()


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
    tally.count(Refused(no, Verb.MAIL), no)
    tally.count(Refused(no), no)
    assert str(tally) == " mail=0/1 data=0/2 rset=1 noop=1/2 unknown=0/1 commands=2/7"
