"""The line of messages that are to be made anew."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.result import Outcome
from sendmail_py.host.syslog import Log
from sendmail_py.services.messages import Message
from sendmail_py.services.notices import WITHDRAWN
from sendmail_py.services.pool import Pool
from sendmail_py.services.requeues import Requeues
from sendmail_py.spool.layout import ACTIVE
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage


class Jobs:
    """A pool that does its jobs when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.jobs.append((job, done))

    def finish(self, count: int = 1000) -> None:
        for _ in range(count):
            if self.jobs:
                job, done = self.jobs.pop(0)
                done(job())


@pytest.fixture
def made(store: Store, put: PutMessage) -> tuple[Requeues, Jobs, list[Message], list[Message]]:
    """Return the line with twenty messages in it, its threads, the messages, and those that ended."""
    jobs, ended = Jobs(), list[Message]()
    config = Config({name: Setting("example.org", "test") for name in ("myhostname", "myorigin")})
    line = Requeues(cast(Pool, jobs), store, Log("x", "x", "mail", 2), ended.append, lambda text: None)
    line.configure(config)
    messages = []
    for number in range(20):
        envelope = put("a@x", "b@y", state=ACTIVE, queue_id=f"0123456789AB{number:02}")
        messages.append(Message(envelope.queue_id, read_message(store.path(ACTIVE, envelope.queue_id)), -1, 0))
        line.add(messages[-1])
    return line, jobs, messages, ended


Made = tuple[Requeues, Jobs, list[Message], list[Message]]


def test_a_few_are_under_way_at_a_time_and_all_end(made: Made) -> None:
    _, jobs, messages, ended = made
    assert len(jobs.jobs) < len(messages)
    jobs.finish()
    assert ended == messages
    assert all(m.unreleased and m.results[1].outcome is Outcome.DELIVERED for m in messages)


@pytest.mark.parametrize("wish", ["hold", "delete"])
def test_what_is_parked_or_deleted_while_it_waits_is_not_made_anew(made: Made, wish: str) -> None:
    _, jobs, messages, ended = made
    messages[-1].wish = wish
    jobs.finish()
    assert messages[-1] in ended and messages[-1].results == {0: WITHDRAWN, 1: WITHDRAWN}
    assert messages[-1].unreleased == []


def test_after_a_stop_no_more_begin_and_what_waited_is_as_it_was(made: Made) -> None:
    line, jobs, messages, ended = made
    begun = len(jobs.jobs)
    line.clear()
    jobs.finish()
    assert ended == messages[:begun] and messages[-1].results == {}
