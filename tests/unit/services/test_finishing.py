"""The end of a pass against a real queue, also when any step of it fails once."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope
from sendmail_py.core.result import DeliveryResult, deferred, delivered, failed
from sendmail_py.formats.queue_reader import read_history
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.finishing import Ended, Finisher
from sendmail_py.services.messages import Message
from sendmail_py.services.notices import STOPPING, WITHDRAWN
from sendmail_py.services.reports import Written
from sendmail_py.spool import message_file
from sendmail_py.spool.layout import ACTIVE, DEFERRED, INCOMING, MAILDROP, TMP
from sendmail_py.spool.message_file import read_head, read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"
SENT, LATER, NEVER = delivered("ok"), deferred("4.4.1", "timed out"), failed("5.1.1", "unknown user")
STEPS = ("write", "mark", "moved", "sync_incoming", "set_due", "move", "remove", "remove_original")


class Recorded(Store):
    """A real queue that writes down each change made to it, and can fail once instead."""

    def __init__(self, top: str, fails_at: int = -1) -> None:
        super().__init__(top)
        self.steps: list[str] = []
        self.fails_at = fails_at
        remove = self.recorded("remove_original", self.originals.remove)
        self.originals.remove = remove  # type: ignore[method-assign]

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        return self.recorded(name, method) if name in (*STEPS, "sync") else method

    def recorded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **how: Any) -> Any:
            self.steps.append(name)
            if len(self.steps) - 1 == self.fails_at:
                raise OSError(28, "No space left on device")
            return method(*args, **how)

        return recorded


def finisher(store: Store, lifetime: float = 432000) -> Finisher:
    values = {"myhostname": "mx.example.org", "myorigin": "example.org"}
    config = Config({name: Setting(text, "test") for name, text in values.items()})
    return Finisher(config, store, Schedule(300, 4000, lifetime, lifetime))


def ended_pass(envelope: Envelope, *results: DeliveryResult) -> Message:
    message = Message(envelope.queue_id, envelope, -1, 0)
    message.results = dict(enumerate(results))
    return message


@pytest.fixture
def original(store: Store) -> Callable[[Envelope], Path]:
    """Return a function that gives a message an original in maildrop/."""

    def make(envelope: Envelope) -> Path:
        path = Path(f"{store.top}/{MAILDROP}/original")
        path.write_bytes(b"mail")
        envelope.maildrop = "original", path.stat().st_ino, path.stat().st_ctime_ns
        return path

    return make


def contents(store: Store) -> dict[str, list[str]]:
    found = {state: sorted(q for q, _ in store.entries(state)) for state in (TMP, INCOMING, ACTIVE, DEFERRED)}
    return {state: ids for state, ids in found.items() if ids}


def test_a_message_delivered_to_all_is_removed_after_its_original(
    store: Store, put: PutMessage, original: Callable[[Envelope], Path]
) -> None:
    e = put("a@x", state=ACTIVE)
    path = original(e)
    recorded = Recorded(store.top)
    message = ended_pass(e, SENT)
    assert Finisher.is_simple(message)
    ended = finisher(recorded).remove(message)
    assert recorded.steps == ["remove_original", "remove"]
    assert (ended.error, ended.due, ended.lines) == (None, None, [f"{ID}: removed"])
    assert contents(store) == {} and not path.exists()


def test_a_message_deferred_is_moved_and_durable_before_its_original_goes(
    store: Store, put: PutMessage, original: Callable[[Envelope], Path]
) -> None:
    e = put("b@x", "a@x", state=ACTIVE)
    path = original(e)
    recorded = Recorded(store.top)
    ended = finisher(recorded).end_passes([ended_pass(e, LATER, SENT)])[0]
    assert recorded.steps == ["mark", "set_due", "move", "sync", "remove_original"]
    assert contents(store) == {DEFERRED: [ID]} and not path.exists() and ended.due is not None
    descriptor = store.open(DEFERRED, ID)
    try:
        again = read_head(descriptor)
        rows = read_history(message_file.read_history(descriptor, again))
    finally:
        os.close(descriptor)
    assert [r.mark for r in again.recipients] == [" ", "x"]
    told = [(str(row[1]), row[2], row[3], row[5]) for row in rows]
    assert told == [("a@x", "sent", "2.0.0", SENT.reason), ("b@x", "deferred", "4.4.1", "timed out")]
    assert os.stat(store.path(DEFERRED, ID)).st_mtime == pytest.approx(ended.due)


def test_a_failure_is_marked_only_after_its_bounce_is_written_and_released_only_after_the_mark(
    store: Store, put: PutMessage
) -> None:
    e = put("a@x", "b@x", state=ACTIVE)
    recorded = Recorded(store.top)
    ended = finisher(recorded).end_passes([ended_pass(e, NEVER, SENT)])[0]
    assert recorded.steps == ["write", "mark", "moved", "move", "sync_incoming", "remove"]
    (bounce,) = ended.children
    assert contents(store) == {INCOMING: [bounce]}
    report = read_message(store.path(INCOMING, bounce))
    assert not report.sender and [str(r.forward_path) for r in report.recipients] == ["alice@example.org"]
    assert report.parent == (ID, e.recipients[0].offset)
    text = Path(store.path(INCOMING, bounce)).read_bytes()
    assert b"unknown user" in text and b"a@x" in text and b"rfc822;b@x" not in text.replace(b" ", b"")


def test_all_that_fails_in_one_pass_is_reported_in_one_bounce(store: Store, put: PutMessage) -> None:
    ended = finisher(store).end_passes([ended_pass(put("a@x", "b@x", state=ACTIVE), NEVER, NEVER)])[0]
    assert len(ended.children) == 1


def test_the_null_sender_gets_no_bounce_and_the_log_says_so(store: Store, put: PutMessage) -> None:
    ended = finisher(store).end_passes([ended_pass(put("a@x", state=ACTIVE, sender=""), NEVER)])[0]
    assert contents(store) == {} and "undeliverable bounce dropped" in ended.lines[0]


@pytest.mark.parametrize(
    ("notify", "is_reported"), [(("NEVER",), False), (("SUCCESS", "DELAY"), False), (("FAILURE",), True), ((), True)]
)
def test_a_sender_who_asked_for_no_report_of_failures_gets_none(
    store: Store, put: PutMessage, notify: tuple[str, ...], is_reported: bool
) -> None:
    e = put("a@x", state=ACTIVE)
    e.recipients[0].notify = notify
    ended = finisher(store).end_passes([ended_pass(e, NEVER)])[0]
    assert bool(ended.children) == is_reported and not ended.error


@pytest.mark.parametrize(("results", "at_once"), [((SENT, STOPPING), True), ((LATER, STOPPING), False)])
def test_what_a_stop_left_undone_is_due_at_the_next_start(
    store: Store, put: PutMessage, results: tuple[DeliveryResult, ...], at_once: bool
) -> None:
    ended = finisher(store).end_passes([ended_pass(put("a@x", "b@x", state=ACTIVE), *results)])[0]
    assert ended.due is not None and (ended.due <= time.time()) == at_once


def test_a_stop_makes_no_recipient_expire(store: Store, put: PutMessage) -> None:
    e = put("a@x", "b@x", state=ACTIVE)
    e.arrived_at = 1_000_000
    message = ended_pass(e, NEVER, STOPPING)
    message.attempted = True
    finisher(store).end_passes([message])
    assert [r.mark for r in read_message(store.path(DEFERRED, ID)).recipients] == ["-", " "]


@pytest.mark.parametrize("attempted", [False, True])
def test_a_message_expires_only_after_an_attempt(store: Store, put: PutMessage, attempted: bool) -> None:
    e = put("a@x", state=ACTIVE)
    e.arrived_at = 1_000_000
    message = ended_pass(e, LATER)
    message.attempted = attempted
    ended = finisher(store).end_passes([message])[0]
    assert (DEFERRED in contents(store)) != attempted
    assert any("status=expired" in line for line in ended.lines) == attempted
    if attempted:
        assert b"timed out (message expired)" in Path(store.path(INCOMING, ended.children[0])).read_bytes()


@pytest.mark.parametrize(
    "results",
    [(NEVER, SENT, LATER), (NEVER, SENT, NEVER), (SENT, SENT, LATER)],
    ids=["all three ends", "failed and sent", "sent and deferred"],
)
def test_whatever_step_fails_once_the_pass_ends_as_it_would_have_and_nothing_is_done_twice(
    store: Store, put: PutMessage, original: Callable[[Envelope], Path], results: tuple[DeliveryResult, ...]
) -> None:
    step, failures = 0, 0
    while True:
        e = put("a@x", "b@x", "c@x", state=ACTIVE)
        path = original(e)
        recorded = Recorded(store.top, fails_at=step)
        message = ended_pass(e, *results)
        first = finisher(recorded).end_passes([message])[0]
        last: Ended = first if first.error is None else finisher(recorded).end_passes([message])[0]
        failures += first.error is not None
        assert last.error is None
        stays = LATER in results
        bounced = contents(store).get(INCOMING, [])
        assert contents(store).get(DEFERRED, []) == ([ID] if stays else []) and (last.due is not None) == stays
        assert len(bounced) == (NEVER in results) and sorted(set(first.children + last.children)) == bounced
        assert set(contents(store)) <= {DEFERRED, INCOMING}
        if stays:
            again = read_message(store.path(DEFERRED, ID))
            marks = {SENT: "x", LATER: " ", NEVER: "-"}
            assert [r.mark for r in again.recipients] == [marks[result] for result in results]
            assert Path(store.path(DEFERRED, ID)).read_bytes().count(b'deferred 4.4.1 relay=none "timed out"\n') == 1
        else:
            assert not path.exists()
        if len(recorded.steps) <= step:
            break
        for state, ids in contents(store).items():
            for queue_id in ids:
                store.remove(state, queue_id)
        step += 1
    assert failures >= 3


def test_passes_that_end_together_are_all_moved_before_the_first_is_made_durable(store: Store, put: PutMessage) -> None:
    recorded = Recorded(store.top)
    messages = []
    for number in range(3):
        envelope = put("a@x", state=ACTIVE, queue_id=f"{ID}{number}")
        messages.append(Message(envelope.queue_id, envelope, -1, 0))
        messages[-1].results = {0: LATER}
    all_ended = finisher(recorded).end_passes(messages)
    assert [ended.error for ended in all_ended] == [None] * 3
    assert [step for step in recorded.steps if step in ("move", "sync")] == ["move"] * 3 + ["sync"] * 3
    assert contents(store) == {DEFERRED: [f"{ID}{number}" for number in range(3)]}


def test_what_an_administrator_has_stopped_is_not_returned_however_old_it_is(store: Store, put: PutMessage) -> None:
    message = ended_pass(put("a@x", "b@y", state=ACTIVE), LATER, WITHDRAWN)
    message.attempted = True
    (ended,) = finisher(store, lifetime=-1).end_passes([message])
    assert ended.due is not None and store.has(DEFERRED, ID)  # where it is parked or removed then
    assert [str(r.forward_path) for r in read_message(store.path(DEFERRED, ID)).pending()] == ["b@y"]


@pytest.mark.parametrize(("other", "is_gone"), [(WITHDRAWN, True), (LATER, False)])
def test_what_is_deleted_before_its_pass_began_goes_at_once(
    store: Store, put: PutMessage, other: DeliveryResult, is_gone: bool
) -> None:
    message = ended_pass(put("a@x", "b@y", state=ACTIVE), WITHDRAWN, other)
    message.wish = "delete"
    (ended,) = finisher(store).end_passes([message])
    assert store.find(ID) == (None if is_gone else DEFERRED)
    assert (ended.lines == [f"{ID}: removed by the administrator"]) is is_gone


@pytest.mark.parametrize("results", [(SENT,), (SENT, LATER), (SENT, NEVER), (WITHDRAWN,)])
def test_a_message_whose_file_somebody_removed_ends_with_a_warning(
    store: Store, put: PutMessage, results: tuple[DeliveryResult, ...]
) -> None:
    message = ended_pass(put(*("a@x", "b@x")[: len(results)], state=ACTIVE), *results)
    os.unlink(store.path(ACTIVE, ID))
    end = finisher(store)
    ended = end.remove(message) if Finisher.is_simple(message) else end.end_passes([message])[0]
    waited = sum(result in (LATER, WITHDRAWN) for result in results)
    what = f"somebody has taken it out of active/; {waited} of its recipients still waited"
    assert (ended.error, ended.due, ended.children) == (None, None, [])
    assert ended.lines[-1] == f"warning: {ID}: {what}" and contents(store) == {}


@pytest.mark.parametrize(("results", "stays"), [((SENT, SENT), False), ((SENT, LATER), True)])
def test_its_original_stays_only_where_somebody_still_waits(
    store: Store, put: PutMessage, original: Callable[[Envelope], Path], results: list[DeliveryResult], stays: bool
) -> None:
    e = put("a@x", "b@x", state=ACTIVE)
    path = original(e)
    os.unlink(store.path(ACTIVE, ID))
    (ended,) = finisher(store).end_passes([ended_pass(e, *results)])
    assert (ended.error, path.exists()) == (None, stays)
    assert ("tried again at the next start" in ended.lines[-1]) == stays


def test_children_of_a_message_without_file_are_released(store: Store, put: PutMessage) -> None:
    message = ended_pass(put("a@x", state=ACTIVE), NEVER)
    recorded = Recorded(store.top, fails_at=2)  # the release, after report and marks
    (first,) = finisher(recorded).end_passes([message])
    assert first.error is not None and len(message.unreleased) == 1
    os.unlink(store.path(ACTIVE, ID))
    (ended,) = finisher(store).end_passes([message])
    assert ended.error is None and contents(store) == {INCOMING: ended.children}


def test_a_queue_that_is_away_as_a_whole_is_waited_for(store: Store, put: PutMessage) -> None:
    message = ended_pass(put("a@x", state=ACTIVE), LATER)
    os.rename(store.top, f"{store.top}.away")
    (ended,) = finisher(store).end_passes([message])
    assert isinstance(ended.error, FileNotFoundError)
    os.rename(f"{store.top}.away", store.top)
    (ended,) = finisher(store).end_passes([message])
    assert ended.error is None and contents(store) == {DEFERRED: [ID]}


def test_a_defect_of_ours_keeps_one_message_and_ends_the_others(
    store: Store, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = ended_pass(put("a@x", state=ACTIVE), NEVER)
    sound = ended_pass(put("a@x", state=ACTIVE, queue_id=f"{ID}0"), LATER)
    end = finisher(store)

    def write(message: Message, *words: object) -> Written:
        if message is faulty:
            raise UnicodeError("a sender that cannot be written")
        return Written()

    with monkeypatch.context() as patched:
        patched.setattr(end.reporter, "write", write)
        first, second = end.end_passes([faulty, sound])
    assert "internal error: UnicodeError" in str(first.error) and second.error is None
    assert contents(store) == {ACTIVE: [ID], DEFERRED: [f"{ID}0"]}
    (ended,) = end.end_passes([faulty])
    assert ended.error is None and contents(store) == {INCOMING: ended.children, DEFERRED: [f"{ID}0"]}


def test_what_a_deleted_message_has_become_goes_with_it_but_who_failed_before_is_reported(
    store: Store, put: PutMessage
) -> None:
    e = put("list@x", "b@x", state=ACTIVE)
    message = ended_pass(e, SENT, NEVER)
    child = envelope_for("carol@y", queue_id=f"{ID}88")
    child.parent = ID, e.recipients[0].offset
    store.write(child, [b"\nhi\n"], durable=True)
    message.unreleased, message.wish = [f"{ID}88"], "delete"
    (ended,) = finisher(store).end_passes([message])
    assert ended.error is None and ended.lines[0] == f"{ID}88: removed by the administrator"
    assert len(ended.children) == 1 and contents(store) == {INCOMING: ended.children}
    assert ended.children != [f"{ID}88"]
