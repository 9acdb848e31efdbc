"""Whatever aliases and .forward files say, and in whatever circles: everybody at an end of the ways gets the mail.

The ways are walked with the real Expander and a real queue, child after child; the little agent
here only knows who has a .forward.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.core.route import LOCAL, Route
from sendmail_py.formats.batch import HandBack, Report
from sendmail_py.host.alias_files import AliasFiles
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.expansion import Decision, Expander
from sendmail_py.services.messages import Message
from sendmail_py.spool import directories
from sendmail_py.spool.layout import ACTIVE, INCOMING, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import envelope_for

USERS = ["ann", "bob", "cid", "dan"]
LISTS = ["l1", "l2", "l3"]
AWAY = ["x@far.example", "y@far.example"]
names = st.sampled_from(USERS + LISTS + AWAY)
ways = st.lists(names, min_size=1, max_size=4, unique=True)
aliases = st.dictionaries(st.sampled_from(USERS + LISTS), ways, max_size=6)
forwards = st.dictionaries(st.sampled_from(USERS), ways, max_size=3)


class Walk:
    """One message on all its ways."""

    def __init__(self, top: Path, aliases: dict[str, list[str]], forwards: dict[str, list[str]]) -> None:
        directories.create(f"{top}/queue", os.getuid(), os.getgid())
        self.store = Store(f"{top}/queue")
        (top / "aliases").write_text("".join(f"{name}: {', '.join(to)}\n" for name, to in aliases.items()))
        values = {"myhostname": "here", "mydestination": "here", "myorigin": "here"}
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        self.expander = Expander(config, self.store, Routing(config), AliasFiles([f"{top}/aliases"], print))
        self.forwards = forwards
        self.reached: Counter[str] = Counter()
        self.passes = 0

    def run(self, envelope: Envelope) -> None:
        """Bring a message into the queue and walk until nothing is left of it."""
        path = self.store.write(envelope, [b"\nx\n"], durable=False)
        self.store.commit(path, envelope.queue_id, durable=False)
        waiting = [envelope.queue_id]
        while waiting:
            self.passes += 1
            assert self.passes < 500, "it goes in circles"
            waiting += self._pass(waiting.pop())

    def _pass(self, queue_id: str) -> list[str]:
        self.store.move(queue_id, INCOMING, ACTIVE)
        message = Message(queue_id, read_message(self.store.path(ACTIVE, queue_id)), -1, 0)
        mailboxes = set()
        for index, recipient in enumerate(message.envelope.recipients):
            decision = self.expander.decide(message.envelope, recipient)
            if isinstance(decision, Route) and decision.transport == LOCAL:
                if (key := decision.destination()) in mailboxes:
                    continue  # one mailbox gets one copy of a message
                mailboxes.add(key)
                decision = self._agent(message.envelope, decision)
            self._take(message, index, decision)
        for child in message.unreleased:
            self.store.move(child, TMP, INCOMING)
        self.store.remove(ACTIVE, queue_id)
        return message.unreleased

    def _agent(self, envelope: Envelope, route: Route) -> Decision:
        if route.target or route.nexthop not in self.forwards:
            return route
        descriptor = os.memfd_create("forward")
        os.write(descriptor, "".join(f"{to}\n" for to in self.forwards[route.nexthop]).encode())
        return self.expander.handed_back(envelope, route, Report(0, 0, None, HandBack.FORWARD, 1000, descriptor))

    def _take(self, message: Message, index: int, decision: Decision) -> None:
        if isinstance(decision, Route):
            self.reached[decision.nexthop if decision.transport == LOCAL else str(decision.address)] += 1
        elif isinstance(decision, DeliveryResult):
            assert decision.outcome is Outcome.DELIVERED, decision
        else:
            result = self.expander.expand(message, [index], decision).result
            assert result.outcome is Outcome.DELIVERED, result


def ends(start: list[str], aliases: dict[str, list[str]], forwards: dict[str, list[str]]) -> set[str]:
    """Return the names that can be reached and lead no further; a name with an alias is a user only within it."""
    seen: set[str] = set()
    found: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        is_user = name in aliases.get(name, [name])
        todo += aliases.get(name, []) + (forwards.get(name, []) if is_user else [])
        if is_user and name not in forwards:
            found.add(name)
    return found


@given(start=ways, aliases=aliases, forwards=forwards)
@settings(max_examples=60)
def test_every_end_of_every_way_is_reached_and_the_walk_ends(
    start: list[str], aliases: dict[str, list[str]], forwards: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as top:
        walk = Walk(Path(top), aliases, forwards)
        walk.run(envelope_for(*(name if "@" in name else f"{name}@here" for name in start)))
    assert walk.reached, "nobody got it"
    missing = ends(start, aliases, forwards) - walk.reached.keys()
    assert not missing, f"{missing} got nothing; {walk.reached}"


@given(start=ways, aliases=aliases)
@settings(max_examples=40)
def test_who_has_no_alias_gets_one_copy_as_a_recipient_and_else_one_from_each_list_at_most(
    start: list[str], aliases: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as top:
        walk = Walk(Path(top), aliases, {})
        walk.run(envelope_for(*(name if "@" in name else f"{name}@here" for name in start)))
    for name in ends(start, aliases, {}):
        assert 1 <= walk.reached[name] <= (1 if name in start and name not in aliases else len(start)), walk.reached
