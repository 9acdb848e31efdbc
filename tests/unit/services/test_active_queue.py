"""The active queue: whatever happens in whatever order, each recipient is handed out until he is answered for."""

from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sendmail_py.core.address import Address
from sendmail_py.core.result import DeliveryResult, Scope, deferred, delivered, failed
from sendmail_py.core.route import LOCAL, SMTP, Route
from sendmail_py.routing.concurrency import Policy
from sendmail_py.routing.destination_limits import parse
from sendmail_py.services.active_queue import ActiveQueue, Policies
from sendmail_py.services.destination import BATCH_MESSAGES, BATCH_RECIPIENTS, Work, verdict
from sendmail_py.services.messages import Entry, Message
from tests.unit.conftest import envelope_for

NEXTHOPS = ["a.example", "b.example", "c.example"]
routes = st.builds(Route, st.sampled_from([LOCAL, SMTP]), st.sampled_from(NEXTHOPS), st.just(Address("u")))


def queue_of(concurrency: int = 20, recipients: int = 50, **more: float) -> ActiveQueue:
    """Return a queue whose destinations begin with all the connections that they may have."""
    policy = Policy(concurrency, recipients, initial=concurrency or 1000, **more)  # type: ignore[arg-type]
    return ActiveQueue(Policies(policy))


def message(number: int = 0) -> Message:
    return Message(f"M{number}", envelope_for("bob@here"), -1, 0)


def to(nexthop: str, transport: str = SMTP, recipients: int = 1) -> list[tuple[int, Route]]:
    return [(n, Route(transport, nexthop, Address("u"))) for n in range(recipients)]


def pick(queue: ActiveQueue, transport: str = SMTP) -> Work:
    work = queue.pick(transport)
    assert work is not None
    return work


class AnyOrder(RuleBasedStateMachine):
    """Messages come, batches go out, are put back, end, or are lost, and at some time all is drained."""

    def __init__(self) -> None:
        super().__init__()
        self.out: list[Work] = []
        self.open: Counter[tuple[str, int]] = Counter()  # recipients who still need an answer
        self.waiting: defaultdict[str, int] = defaultdict(int)
        self.messages: dict[str, Message] = {}

    @initialize(concurrency=st.integers(0, 3), recipients=st.integers(0, 3))
    def begin(self, concurrency: int, recipients: int) -> None:
        self.queue = queue_of(concurrency, recipients)
        self.limit = concurrency
        self.recipients = recipients

    @rule(routed=st.lists(routes, min_size=1, max_size=8))
    def a_message_comes(self, routed: list[Route]) -> None:
        new = message(len(self.messages))
        self.messages[new.queue_id] = new
        self.queue.add(new, list(enumerate(routed)))
        self.open.update((new.queue_id, n) for n in range(len(routed)))

    @rule(transport=st.sampled_from([LOCAL, SMTP]))
    def a_batch_goes_out(self, transport: str) -> None:
        is_offered = transport in self.queue.transports()
        work = self.queue.pick(transport)
        assert is_offered or work is None
        if work is None:
            return
        self.out.append(work)
        assert 0 < len(work.entries) <= BATCH_MESSAGES
        for entry in work.entries:
            assert {route.destination() for route in entry.routes} == {work.destination.key()}
            assert len(entry.indexes) == len(entry.routes)
            assert transport == LOCAL or not self.recipients or len(entry.indexes) <= self.recipients

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_batch_ends(self, data: st.DataObject) -> None:
        work = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        for entry in work.entries:
            if data.draw(st.booleans()):
                self.queue.add_again(entry)
            else:
                self._answer(entry)
        self.queue.ended(work)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_batch_is_put_back(self, data: st.DataObject) -> None:
        self.queue.put_back(self.out.pop(data.draw(st.integers(0, len(self.out) - 1))))

    @rule()
    def all_is_drained(self) -> None:
        for entry in self.queue.drain():
            self._answer(entry)
        assert self.queue.transports() == []

    def _answer(self, entry: Entry) -> None:
        entry.message.waiting -= 1
        for index in entry.indexes:
            key = (entry.message.queue_id, index)
            assert self.open[key] == 1
            del self.open[key]

    @invariant()
    def no_destination_has_more_batches_than_its_limit(self) -> None:
        running = Counter((work.destination.transport, work.destination.nexthop) for work in self.out)
        for (transport, _), count in running.items():
            assert count <= 1 or (transport == SMTP and (not self.limit or count <= self.limit))

    @invariant()
    def what_is_not_out_and_not_answered_for_can_be_had_once_batches_end(self) -> None:
        if self.open and not self.out:
            assert self.queue.transports()

    def teardown(self) -> None:
        """Hand out and end everything: each recipient comes exactly once more, and then nothing is left."""
        if not hasattr(self, "queue"):
            return
        while self.out or self.queue.transports():
            for transport in self.queue.transports():
                while work := self.queue.pick(transport):
                    self.out.append(work)
            work = self.out.pop(0)
            for entry in work.entries:
                self._answer(entry)
            self.queue.ended(work)
        assert not self.open
        assert all(one.waiting == 0 for one in self.messages.values())
        assert self.queue._destinations == {}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25)


def test_destinations_take_turns_whatever_the_length_of_their_queues() -> None:
    queue = queue_of(concurrency=20)
    for n in range(500):
        queue.add(message(n), to("busy.example"))
    queue.add(message(500), to("quiet.example"))
    assert [pick(queue).destination.nexthop for _ in range(2)] == ["busy.example", "quiet.example"]


def test_a_destination_at_its_limit_leaves_the_turn_to_others_and_comes_back_when_a_batch_ends() -> None:
    queue = queue_of(concurrency=2)
    for n in range(100):
        queue.add(message(n), to("busy.example"))
    first, _ = pick(queue), pick(queue)
    assert queue.pick(SMTP) is None
    queue.add(message(100), to("other.example"))
    assert pick(queue).destination.nexthop == "other.example"
    queue.ended(first)
    assert pick(queue).destination.nexthop == "busy.example"


def test_what_is_put_back_goes_out_again_first_and_in_its_order() -> None:
    queue = queue_of(concurrency=1)
    for n in range(BATCH_MESSAGES + 5):
        queue.add(message(n), to("one.example"))
    work = pick(queue)
    queue.put_back(work)
    again = pick(queue)
    assert again.entries == work.entries
    queue.ended(again)
    assert [entry.message.queue_id for entry in pick(queue).entries] == [f"M{n}" for n in range(50, 55)]


def test_a_mailbox_is_written_by_one_batch_at_a_time_with_one_copy_for_all_its_names() -> None:
    queue = queue_of()
    queue.add(message(), to("bob", LOCAL, recipients=1000))
    queue.add(message(1), to("bob", LOCAL))
    work = pick(queue, LOCAL)
    assert [len(entry.indexes) for entry in work.entries] == [1000]
    assert queue.pick(LOCAL) is None
    queue.ended(work)
    assert [entry.message.queue_id for entry in pick(queue, LOCAL).entries] == ["M1"]


def test_many_recipients_of_one_destination_go_out_in_transactions_of_the_limit() -> None:
    queue = queue_of(concurrency=1, recipients=50)
    one = message()
    queue.add(one, to("a.example", recipients=120))
    assert one.waiting == 3
    sizes = []
    while work := queue.pick(SMTP):
        sizes += [len(entry.indexes) for entry in work.entries]
        queue.ended(work)
    assert sizes == [50, 50, 20]


def test_a_batch_holds_no_more_recipients_than_an_agent_is_given_at_once() -> None:
    queue = queue_of(concurrency=1, recipients=200)
    for n in range(10):
        queue.add(message(n), to("a.example", recipients=200))
    assert sum(len(entry.indexes) for entry in pick(queue).entries) <= BATCH_RECIPIENTS


def test_several_connections_to_one_host_share_what_waits() -> None:
    queue = queue_of(concurrency=20)
    for n in range(10):
        queue.add(message(n), to("a.example"))
    assert [len(pick(queue).entries) for _ in range(4)] == [2, 1, 1, 1]


@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_limit_of_0_is_no_limit(limit: int) -> None:
    queue = queue_of(concurrency=limit, recipients=limit)
    for n in range(300):
        queue.add(message(n), to("a.example"))
    batches = 0
    while queue.pick(SMTP):
        batches += 1
    assert batches > 20 and queue.transports() == []


def test_a_batch_that_is_out_while_all_is_drained_ends_as_any_other() -> None:
    queue = queue_of(concurrency=1)
    for n in range(BATCH_MESSAGES + 1):
        queue.add(message(n), to("a.example"))
    work = pick(queue)
    assert [entry.message.queue_id for entry in queue.drain()] == ["M50"]
    queue.add(message(99), to("a.example"))
    assert queue.pick(SMTP) is None
    queue.ended(work)
    assert [entry.message.queue_id for entry in pick(queue).entries] == ["M99"]


def test_extensions_of_one_user_are_deliveries_of_their_own_in_one_batch() -> None:
    queue = queue_of()
    names = ["", "one", "two", "one"]
    queue.add(message(), [(n, Route(LOCAL, "bob", Address("u"), extension=name)) for n, name in enumerate(names)])
    assert [entry.indexes for entry in pick(queue, LOCAL).entries] == [[0], [1, 3], [2]]


def test_a_transport_may_have_limits_of_its_own() -> None:
    queue = ActiveQueue(Policies(Policy(20, 50), {"lmtp": Policy(1, 2)}))
    queue.add(message(), to("unix:/store", "lmtp", 5))
    sizes = []
    while work := queue.pick("lmtp"):
        assert queue.pick("lmtp") is None
        sizes += [len(entry.indexes) for entry in work.entries]
        queue.ended(work)
    assert sizes == [2, 2, 1]
    queue.add(message(), to("a.example", SMTP, 60))
    assert [len(entry.indexes) for entry in pick(queue).entries] == [50]


# --- fairness between messages ------------------------------------------------------------------


def test_a_message_with_50000_recipients_lets_one_with_a_single_recipient_go_next() -> None:
    queue = queue_of(concurrency=4)
    queue.add(message(0), to("relay.example", recipients=50_000))
    first = [pick(queue) for _ in range(4)]
    queue.add(message(1), to("relay.example"))
    queue.ended(first[0], True)
    ids = [entry.message.queue_id for entry in pick(queue).entries]
    queue.ended(first[1], True)
    assert "M1" in ids + [entry.message.queue_id for entry in pick(queue).entries]


def test_a_message_with_many_recipients_gets_its_share_however_many_small_ones_come() -> None:
    queue = queue_of(concurrency=1)
    queue.add(message(0), to("relay.example", recipients=500))
    served = 0
    for n in range(1, 200):
        queue.add(message(n), to("relay.example"))
        work = pick(queue)
        served += sum(entry.message.queue_id == "M0" for entry in work.entries)
        queue.ended(work, True)
    assert served == 10


def test_when_agents_are_nearly_busy_what_is_left_is_for_destinations_with_nothing_under_way() -> None:
    queue = queue_of()
    for n in range(100):
        queue.add(message(n), to("slow.example"))
    assert pick(queue).destination.nexthop == "slow.example"
    assert queue.pick(SMTP, is_scarce=True) is None
    queue.add(message(100), to("quick.example"))
    work = queue.pick(SMTP, is_scarce=True)
    assert work is not None and work.destination.nexthop == "quick.example"
    assert pick(queue).destination.nexthop == "slow.example"


def test_a_destination_whose_deliveries_have_all_ended_is_among_those_with_nothing_under_way() -> None:
    queue = queue_of(concurrency=2)
    for n in range(100):
        queue.add(message(n), to("a.example"))
    queue.ended(pick(queue), True)
    assert queue.pick(SMTP, is_scarce=True) is not None


# --- dead destinations ----------------------------------------------------------------------------

FAILED = deferred("4.4.1", "connect to mx.example[192.0.2.1]:25: Connection timed out", Scope.HOST)


def killed(queue: ActiveQueue, nexthop: str = "dead.example") -> list[Entry]:
    """Have a destination fail until it is dead; returns what is given up."""
    for n in range(100):
        queue.add(message(n), to(nexthop))
    while True:
        work = pick(queue)
        given_up = queue.ended(work, FAILED)
        if work.destination.dead:
            return given_up


def test_a_dead_destination_gives_up_what_waits_with_its_own_reason_and_takes_no_more() -> None:
    queue = ActiveQueue()
    left = killed(queue)
    assert 0 < len(left) < 100
    why = queue.suspended(to("dead.example")[0][1])
    assert why is not None and why.status == "4.4.1"
    assert why.reason.startswith("delivery temporarily suspended: connect to mx.example")
    assert queue.suspended(to("other.example")[0][1]) is None
    assert queue.pick(SMTP) is None


def test_a_dead_destination_is_tried_again_after_its_pause_and_not_before() -> None:
    queue = ActiveQueue(Policies(pause_of_dead=300))
    queue.tick(1000)
    killed(queue)
    assert queue.next_tick() == 1300
    queue.tick(1299)
    assert queue.suspended(to("dead.example")[0][1])
    queue.tick(1300)
    assert queue.suspended(to("dead.example")[0][1]) is None
    queue.add(message(), to("dead.example"))
    assert pick(queue).destination.nexthop == "dead.example"


def test_whoever_asks_for_attempts_now_gets_them() -> None:
    queue = ActiveQueue()
    killed(queue)
    queue.revive_all()
    assert queue.suspended(to("dead.example")[0][1]) is None
    queue.tick(10**6)  # the old alarm finds another life


def test_a_late_success_brings_a_destination_back_to_life() -> None:
    queue = ActiveQueue()
    for n in range(100):
        queue.add(message(n), to("a.example"))
    slow = pick(queue)
    while not slow.destination.dead:
        queue.ended(pick(queue), FAILED)
    assert queue.ended(slow, True) == []
    assert queue.suspended(to("a.example")[0][1]) is None


def test_what_a_message_meets_says_nothing_of_the_host() -> None:
    queue = ActiveQueue()
    for n in range(400):
        queue.add(message(n), to("a.example"))
    for _ in range(20):
        assert queue.ended(pick(queue), None) == []


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (delivered("250 ok"), True),
        (deferred("4.2.2", "full", Scope.RECIPIENT), True),
        (failed("5.1.2", "no such domain", Scope.HOST), True),
        (FAILED, FAILED),
        (None, None),
    ],
)
def test_a_batch_speaks_for_its_host(result: DeliveryResult | None, says: DeliveryResult | bool | None) -> None:
    queue = ActiveQueue()
    one = message()
    queue.add(one, to("a.example"))
    work = pick(queue)
    if result:
        one.results[0] = result
    assert verdict(work) == says
    queue.add(message(1), to("bob", LOCAL))
    assert verdict(pick(queue, LOCAL)) is None


# --- pauses and limits of providers ----------------------------------------------------------------


def test_a_rate_delay_parts_the_messages_to_one_destination_and_to_no_other() -> None:
    queue = ActiveQueue(Policies(Policy(rate_delay=5)))
    for n in range(3):
        queue.add(message(n), to("a.example"))
    queue.add(message(3), to("b.example"))
    first, other = pick(queue), pick(queue)
    assert len(first.entries) == 1 and other.destination.nexthop == "b.example"
    queue.ended(first, True)
    assert queue.pick(SMTP) is None and queue.next_tick() == 5
    queue.tick(5)
    assert len(pick(queue).entries) == 1


def limited(*lines: str) -> ActiveQueue:
    return ActiveQueue(Policies(limits=parse(" ".join(lines).split())))


def known(queue: ActiveQueue, nexthop: str, *hosts: str) -> None:
    """Answer the question for the mail hosts of a destination, which must be the next choice."""
    work = pick(queue)
    assert work.destination.nexthop == nexthop and work.entries == []
    queue.found_hosts(work, hosts)
    queue.ended(work)


def test_a_destination_is_held_to_the_limit_of_its_mail_hosts_together_with_others() -> None:
    queue = limited("google.com concurrency=2")
    for n, nexthop in enumerate(["one.example", "two.example", "three.example", "free.example"]):
        queue.add(message(n), to(nexthop))
    for nexthop in ("one.example", "two.example", "three.example"):
        known(queue, nexthop, "ASPMX.l.google.com", "alt1.aspmx.l.google.com")
    known(queue, "free.example", "mx.free.example")
    out = []
    while work := queue.pick(SMTP):
        out.append(work)
    assert [work.destination.nexthop for work in out] == ["one.example", "two.example", "free.example"]
    queue.ended(out[0], True)
    assert pick(queue).destination.nexthop == "three.example"


def test_the_mail_hosts_of_a_destination_are_asked_for_once_in_an_hour() -> None:
    queue = limited("google.com concurrency=2")
    queue.add(message(), to("one.example"))
    known(queue, "one.example", "mx.google.com")
    queue.ended(pick(queue), True)
    queue.tick(3599)
    queue.add(message(1), to("one.example"))
    work = pick(queue)
    assert work.entries
    queue.ended(work, True)
    queue.tick(3600)
    queue.add(message(2), to("one.example"))
    known(queue, "one.example")


def test_without_an_answer_the_question_is_asked_again() -> None:
    queue = limited("google.com concurrency=2")
    queue.add(message(), to("one.example"))
    queue.ended(pick(queue))
    known(queue, "one.example")


def test_a_rate_of_a_provider_lets_one_message_go_in_each_of_its_pauses() -> None:
    queue = limited("a.example rate=30/min")
    for n in range(5):
        queue.add(message(n), to("a.example"))
    known(queue, "a.example")
    times = []
    for now in range(10):
        queue.tick(now)
        while work := queue.pick(SMTP):
            times += [now] * len(work.entries)
            queue.ended(work, True)
    assert times == [0, 2, 4, 6, 8]


def test_who_waits_for_two_limits_keeps_no_room_of_the_one_while_the_other_is_full() -> None:
    queue = limited("a.example concurrency=1", "wide.example concurrency=1")
    for n, nexthop in enumerate(["a.example", "a.example", "b.example"]):
        queue.add(message(n), to(nexthop))
    known(queue, "a.example", "mx.a.example")
    known(queue, "b.example", "mx.wide.example")
    both = pick(queue), pick(queue)
    assert [work.destination.nexthop for work in both] == ["a.example", "b.example"]
    queue.ended(both[0], True)
    assert pick(queue).destination.nexthop == "a.example"


def test_limits_changed_by_a_reload_count_what_is_under_way() -> None:
    queue = limited("a.example concurrency=3")
    for n in range(30):
        queue.add(message(n), to("a.example"))
    known(queue, "a.example")
    out = [pick(queue) for _ in range(3)]
    assert queue.pick(SMTP) is None
    queue.configure(Policies(limits=parse(["a.example", "concurrency=2"])))
    assert queue.pick(SMTP) is None
    queue.ended(out.pop(), True)
    assert queue.pick(SMTP) is None
    queue.ended(out.pop(), True)
    assert pick(queue).entries
    queue.configure(Policies())
    assert pick(queue).entries
