"""The active queue: whatever happens in whatever order, each recipient is handed out until he is answered for."""

from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sendmail_py.core.address import Address
from sendmail_py.core.route import LOCAL, SMTP, Route
from sendmail_py.services.active_queue import BATCH_MESSAGES, BATCH_RECIPIENTS, ActiveQueue, Entry, Message, Work
from tests.unit.conftest import envelope_for

NEXTHOPS = ["a.example", "b.example", "c.example"]
routes = st.builds(Route, st.sampled_from([LOCAL, SMTP]), st.sampled_from(NEXTHOPS), st.just(Address("u")))


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
        self.queue = ActiveQueue(concurrency, recipients)
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
        assert (work is not None) == is_offered
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
        self.queue.ended(work.destination)

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
            self.queue.ended(work.destination)
        assert not self.open
        assert all(one.waiting == 0 for one in self.messages.values())
        assert self.queue._destinations == {}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25)


def test_destinations_take_turns_whatever_the_length_of_their_queues() -> None:
    queue = ActiveQueue(concurrency=20)
    for n in range(500):
        queue.add(message(n), to("busy.example"))
    queue.add(message(500), to("quiet.example"))
    assert [pick(queue).destination.nexthop for _ in range(2)] == ["busy.example", "quiet.example"]


def test_a_destination_at_its_limit_leaves_the_turn_to_others_and_comes_back_when_a_batch_ends() -> None:
    queue = ActiveQueue(concurrency=2)
    for n in range(100):
        queue.add(message(n), to("busy.example"))
    first, _ = pick(queue), pick(queue)
    assert queue.pick(SMTP) is None
    queue.add(message(100), to("other.example"))
    assert pick(queue).destination.nexthop == "other.example"
    queue.ended(first.destination)
    assert pick(queue).destination.nexthop == "busy.example"


def test_what_is_put_back_goes_out_again_first_and_in_its_order() -> None:
    queue = ActiveQueue(concurrency=1)
    for n in range(BATCH_MESSAGES + 5):
        queue.add(message(n), to("one.example"))
    work = pick(queue)
    queue.put_back(work)
    again = pick(queue)
    assert again.entries == work.entries
    queue.ended(again.destination)
    assert [entry.message.queue_id for entry in pick(queue).entries] == [f"M{n}" for n in range(50, 55)]


def test_a_mailbox_is_written_by_one_batch_at_a_time_with_one_copy_for_all_its_names() -> None:
    queue = ActiveQueue()
    queue.add(message(), to("bob", LOCAL, recipients=1000))
    queue.add(message(1), to("bob", LOCAL))
    work = pick(queue, LOCAL)
    assert [len(entry.indexes) for entry in work.entries] == [1000]
    assert queue.pick(LOCAL) is None
    queue.ended(work.destination)
    assert [entry.message.queue_id for entry in pick(queue, LOCAL).entries] == ["M1"]


def test_many_recipients_of_one_destination_go_out_in_transactions_of_the_limit() -> None:
    queue = ActiveQueue(concurrency=1, recipients=50)
    one = message()
    queue.add(one, to("a.example", recipients=120))
    assert one.waiting == 3
    assert [len(entry.indexes) for entry in pick(queue).entries] == [50, 50, 20]


def test_a_batch_holds_no_more_recipients_than_an_agent_is_given_at_once() -> None:
    queue = ActiveQueue(concurrency=1, recipients=200)
    for n in range(10):
        queue.add(message(n), to("a.example", recipients=200))
    assert sum(len(entry.indexes) for entry in pick(queue).entries) <= BATCH_RECIPIENTS


def test_several_connections_to_one_host_share_what_waits() -> None:
    queue = ActiveQueue(concurrency=20)
    for n in range(10):
        queue.add(message(n), to("a.example"))
    assert [len(pick(queue).entries) for _ in range(4)] == [2, 1, 1, 1]


@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_limit_of_0_is_no_limit(limit: int) -> None:
    queue = ActiveQueue(concurrency=limit, recipients=limit)
    for n in range(300):
        queue.add(message(n), to("a.example"))
    batches = 0
    while queue.pick(SMTP):
        batches += 1
    assert batches > 20 and queue.transports() == []


def test_a_batch_that_is_out_while_all_is_drained_ends_as_any_other() -> None:
    queue = ActiveQueue(concurrency=1)
    for n in range(BATCH_MESSAGES + 1):
        queue.add(message(n), to("a.example"))
    work = pick(queue)
    assert [entry.message.queue_id for entry in queue.drain()] == ["M50"]
    queue.add(message(99), to("a.example"))
    assert queue.pick(SMTP) is None
    queue.ended(work.destination)
    assert [entry.message.queue_id for entry in pick(queue).entries] == ["M99"]


def test_extensions_of_one_user_are_deliveries_of_their_own_in_one_batch() -> None:
    queue = ActiveQueue()
    names = ["", "one", "two", "one"]
    queue.add(message(), [(n, Route(LOCAL, "bob", Address("u"), extension=name)) for n, name in enumerate(names)])
    assert [entry.indexes for entry in pick(queue, LOCAL).entries] == [[0], [1, 3], [2]]


def test_a_transport_may_have_limits_of_its_own() -> None:
    queue = ActiveQueue()
    queue.configure(20, 50, {"lmtp": (1, 2)})
    queue.add(message(), to("unix:/store", "lmtp", 5))
    sizes = []
    while work := queue.pick("lmtp"):
        assert queue.pick("lmtp") is None
        sizes += [len(entry.indexes) for entry in work.entries]
        queue.ended(work.destination)
    assert sizes == [2, 2, 1]
    queue.add(message(), to("a.example", SMTP, 60))
    assert [len(entry.indexes) for entry in pick(queue).entries] == [50]
