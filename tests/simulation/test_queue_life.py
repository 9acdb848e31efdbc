"""Days of queue life, simulated: whatever hosts do, mail ends once, limits hold, and nobody starves.

SIMULATIONS=1000 makes so many of each kind (make soak).
"""

import os
import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sendmail_py.routing.concurrency import Feedback, Policy
from sendmail_py.routing.destination_limits import Limit
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.active_queue import Policies
from tests.simulation.simulator import BEGIN, Host, Simulation

COUNT = int(os.environ.get("SIMULATIONS", "15"))
DAY = 86400.0
SCHEDULE = Schedule(300, 4000, 5 * DAY, 2 * DAY)

# A failure is shown as it was found: to shrink days of life takes hours.
PATIENT = settings(max_examples=COUNT, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
hosts = st.builds(
    Host,
    st.just(""),
    mail_host=st.sampled_from(["", "mx1.big.example", "mx2.big.example", "mx.other.example"]),
    up=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    later=st.sampled_from([0.0, 0.3, 1.0]),
    no=st.sampled_from([0.0, 0.2]),
    seconds=st.sampled_from([0.05, 2.0, 300.0]),
)
limits = st.builds(
    Limit,
    st.sampled_from([("big.example",), ("h0.example", "other.example"), ("example",)]),
    st.integers(0, 3),
    st.sampled_from([0.0, 1.5, 20.0]),
)
feedbacks = st.builds(Feedback, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
policies = st.builds(
    Policies,
    st.builds(
        Policy,
        concurrency=st.integers(0, 6),
        recipients=st.integers(0, 3),
        initial=st.integers(1, 6),
        rate_delay=st.sampled_from([0.0, 0.0, 3.0]),
        positive=feedbacks,
        negative=feedbacks,
        cohorts=st.integers(0, 2),
    ),
    limits=st.lists(limits, max_size=2),
)


@PATIENT
@given(st.integers(0, 2**32), st.lists(hosts, min_size=1, max_size=6), policies, st.integers(1, 12), st.data())
def test_every_message_ends_once_and_no_limit_is_ever_exceeded(
    seed: int, world: list[Host], limits: Policies, slots: int, data: st.DataObject
) -> None:
    chance = random.Random(seed)
    for n, host in enumerate(world):
        host.name = f"h{n}.example"
    lost = data.draw(st.sampled_from([0.0, 0.05]))
    active_limit = data.draw(st.sampled_from([1, 3, 30]))
    it = Simulation(chance, world, limits, SCHEDULE, slots, active_limit, recipient_limit=10, lost=lost)
    names = [host.name for host in world]

    def write() -> None:
        count = chance.choice([1, 1, 1, 2, 20])
        it.submit([chance.choice(names) for _ in range(count)], is_bounce=chance.random() < 0.1)

    for _ in range(30):
        it.at(BEGIN + chance.uniform(0, 2 * DAY) * chance.choice([0, 0, 1]), write)
    for _ in range(4):
        it.at(BEGIN + chance.uniform(0, 3 * DAY), chance.choice([it.flush, it.reload]))
    for _ in range(3):
        it.at(BEGIN + chance.uniform(0, DAY), it.hold)
    it.run(BEGIN + 30 * DAY)
    it.check_ends()
    it.check_rates()
    for life in it.lives.values():
        assert life.is_held or life.attempts or all(outcome == "bounced" for outcome in life.outcomes.values())


@PATIENT
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([0.0, 1.0]))
def test_a_quick_destination_does_not_feel_those_that_are_slow_or_dead(seed: int, others: int, up: float) -> None:
    chance = random.Random(seed)
    slow = [Host(f"slow{n}.example", up=up, seconds=600, timeout=300) for n in range(others)]
    it = Simulation(chance, [*slow, Host("quick.example")], Policies(), SCHEDULE, slots=160, active_limit=1000)
    for n in range(300):
        it.at(BEGIN + n, lambda: it.submit([chance.choice(slow).name]))
    quick = []
    for n in range(20):
        it.at(BEGIN + 20 * n, lambda: quick.append(it.submit(["quick.example"])))
    it.run(BEGIN + 420)
    for queue_id in quick:
        assert it.lives[queue_id].outcomes == {0: "delivered"}


@PATIENT
@given(st.integers(0, 2**32), st.integers(1000, 3000))
def test_a_great_message_delays_a_small_one_by_no_more_than_a_transaction_or_two(seed: int, recipients: int) -> None:
    it = Simulation(random.Random(seed), [Host("relay.example", seconds=5)], Policies(), SCHEDULE)
    it.submit(["relay.example"] * recipients)
    small: list[str] = []
    it.at(BEGIN + 7, lambda: small.append(it.submit(["relay.example"])))
    it.run(BEGIN + 20)
    assert it.lives[small[0]].outcomes == {0: "delivered"}
    it.run(BEGIN + DAY)
    it.check_ends()


def test_a_great_queue_of_retries_leaves_room_for_new_mail() -> None:
    dead = Host("dead.example", up=0.0)
    it = Simulation(random.Random(1), [dead, Host("quick.example")], Policies(), SCHEDULE, active_limit=20)
    for _ in range(2000):
        it.submit(["dead.example"])
    it.run(BEGIN + 3600)
    new: list[str] = []
    it.at(BEGIN + 3600, it.flush)
    it.at(BEGIN + 3601, lambda: new.append(it.submit(["quick.example"])))
    it.run(BEGIN + 3603)
    assert it.lives[new[0]].outcomes == {0: "delivered"}


@pytest.mark.parametrize("minutes", [5, 30, 90])
def test_a_host_that_was_away_gets_its_mail_soon_after_it_is_back(minutes: int) -> None:
    host = Host("away.example", up=0.0)
    it = Simulation(random.Random(2), [host], Policies(), SCHEDULE)
    for _ in range(30):
        it.submit(["away.example"])
    it.at(BEGIN + minutes * 60, lambda: setattr(host, "up", 1.0))
    it.run(BEGIN + DAY)
    it.check_ends()
    assert all(life.outcomes == {0: "delivered"} for life in it.lives.values())
    assert it.longest_wait < minutes * 60 + 4000 + 300
