"""How long answers to logins wait: for whom, how long, and until when."""

import os
from collections.abc import Iterator

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.shared_counts import SharedCounts, create, forget_process
from sendmail_py.routing.networks import Networks
from sendmail_py.routing.restriction_scene import Client
from sendmail_py.services.smtpd_auth_delays import AuthDelays

A, B, WEBMAIL = Client("a", "192.0.2.1"), Client("b", "192.0.2.2"), Client("w", "127.0.0.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create()
    for slot in (0, 1):
        forget_process(descriptor, slot)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def delays(clock: Clock, memory: int) -> AuthDelays:
    config = Config({"smtpd_auth_failure_delay_limit": Setting("10s", "main.cf:1")})
    return AuthDelays(config, Networks(["127.0.0.0/8"]), clock, SharedCounts(memory, 0))


def test_who_does_nothing_wrong_waits_for_nothing(delays: AuthDelays) -> None:
    assert delays.succeeded(A, "alice") == delays.pause(B, "") == 0


def test_each_failure_of_a_client_doubles_its_time_up_to_the_limit(delays: AuthDelays) -> None:
    assert [delays.failed(A, f"user{n}") for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert delays.succeeded(A, "alice") == 10
    assert delays.pause(B, "alice") == 0


def test_an_account_is_guarded_against_many_clients(delays: AuthDelays) -> None:
    for number in range(5):
        delays.failed(Client("x", f"198.51.100.{number}"), "alice")
    assert delays.pause(B, "alice") == 10 and delays.pause(B, "bob") == 0


def test_a_client_that_has_logged_in_lately_does_not_wait_for_the_failures_of_others(delays: AuthDelays) -> None:
    delays.succeeded(A, "alice")
    for _ in range(5):
        delays.failed(B, "alice")
    assert delays.succeeded(A, "alice") == 0 and delays.succeeded(Client("c", "192.0.2.3"), "alice") == 10


def test_an_ipv6_network_is_one_client(delays: AuthDelays) -> None:
    delays.failed(Client("x", "2001:db8::1"), "")
    assert delays.failed(Client("x", "2001:db8::2"), "") == 2
    assert delays.failed(Client("x", "2001:db8:0:1::1"), "") == 1


def test_a_client_without_limits_waits_for_the_account_alone(delays: AuthDelays) -> None:
    assert [delays.failed(WEBMAIL, user) for user in ("alice", "bob", "alice", "")] == [1, 1, 2, 0]


def test_failures_are_forgotten_ten_to_twenty_minutes_after_they_were(delays: AuthDelays, clock: Clock) -> None:
    delays.failed(A, "alice")
    clock.now += 600
    assert delays.failed(A, "alice") == 2
    clock.now += 600
    assert delays.failed(A, "alice") == 2
    clock.now += 1200
    assert delays.pause(A, "alice") == 0 and delays.failed(A, "alice") == 1


def test_all_processes_count_together(delays: AuthDelays, clock: Clock, memory: int) -> None:
    other = AuthDelays(Config({}), Networks([]), clock, SharedCounts(memory, 1))
    assert [each.failed(A, "alice") for each in (delays, other, delays)] == [1, 2, 4]
    delays.succeeded(B, "bob")
    for _ in range(3):
        other.failed(A, "bob")
    assert other.pause(B, "bob") == 0
