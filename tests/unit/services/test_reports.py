"""Who is told what at the end of a pass: reports of success, of sendmail -v and of -bv, against a real queue."""

import os
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope, Mark
from sendmail_py.core.result import DeliveryResult, Handover, deferred, delivered, failed
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.active_queue import Message
from sendmail_py.services.finishing import Ended, Finisher
from sendmail_py.services.reports import QUEUE_ONLY, STOPPING, without_success
from sendmail_py.spool.layout import ACTIVE, DEFERRED, INCOMING, TMP
from sendmail_py.spool.store import Store, read_message
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"
SENT, LATER, NEVER = delivered("ok", relay="local"), deferred("4.4.1", "timed out"), failed("5.1.1", "unknown user")
RELAYED = replace(SENT, handover=Handover.RELAYED)
ENTRUSTED = replace(SENT, handover=Handover.ENTRUSTED)
EXPANDED = replace(SENT, handover=Handover.EXPANDED)


def finisher(store: Store, lifetime: float = 432000) -> Finisher:
    config = Config({"myhostname": Setting("mx.example.org", "test"), "myorigin": Setting("example.org", "test")})
    return Finisher(config, store, Schedule(300, 4000, lifetime, lifetime))


def rewritten(store: Store, e: Envelope) -> Envelope:
    """Write the changed head of a message in active/ again, so that the file says what the envelope says."""
    store.write(e, [b"Subject: x\n\nhello\n"], durable=False)
    os.rename(f"{store.top}/{TMP}/{ID}", store.path(ACTIVE, ID))
    return read_message(store.path(ACTIVE, ID))


def end(store: Store, e: Envelope, *results: DeliveryResult) -> Ended:
    """End a pass with these results, as passes does it."""
    message = Message(ID, e, -1, 0, attempted=True)
    message.results = {i: result for i, result in enumerate(results) if e.recipients[i].mark == Mark.PENDING}
    f = finisher(store)
    ended = f.remove(message) if f.is_simple(message) else f.end_passes([message])[0]
    assert ended.error is None
    return ended


def reports(store: Store) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the subject, and recipient and action of each row, of every report that was released."""
    found = []
    for queue_id, _ in sorted(store.entries(INCOMING)):
        e = read_message(store.path(INCOMING, queue_id))
        message: Any = message_from_bytes(Path(store.path(INCOMING, queue_id)).read_bytes()[e.content_offset :])
        assert not e.sender and [str(r.forward_path) for r in e.recipients] == ["alice@example.org"]
        _, *rows = message.get_payload(1).get_payload()
        found.append((message["Subject"], [(row["Final-Recipient"].partition("; ")[2], row["Action"]) for row in rows]))
    return found


BOUNCE, SUCCESS, ASKED = (
    "Undelivered Mail Returned to Sender",
    "Successful Mail Delivery Report",
    "Mail Delivery Status Report",
)


def asking(store: Store, put: PutMessage, *to: str, sender: str = "alice@example.org", **flags: object) -> Envelope:
    """Put a message into active/ with flags such as report=True; notify= is for the first recipient."""
    e = put(*to, state=ACTIVE, sender=sender)
    e.recipients[0].notify = flags.pop("notify", ())  # type: ignore[assignment]
    for name, value in flags.items():
        setattr(e, name, value)
    return rewritten(store, e)


# --- NOTIFY=SUCCESS ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        (SENT, [("a@x", "delivered")]),
        (RELAYED, [("a@x", "relayed")]),
        (EXPANDED, [("a@x", "expanded")]),
        (ENTRUSTED, None),
    ],
)
def test_who_asks_for_success_is_told_unless_the_next_host_does_it(
    store: Store, put: PutMessage, result: DeliveryResult, rows: list[tuple[str, str]] | None
) -> None:
    e = asking(store, put, "a@x", "b@x", notify=("SUCCESS", "FAILURE"))
    end(store, e, result, SENT)
    assert reports(store) == ([(SUCCESS, rows)] if rows else [])
    assert list(store.entries(ACTIVE)) == [] and list(store.entries(TMP)) == []


def test_success_in_two_passes_is_two_reports_of_different_names(store: Store, put: PutMessage) -> None:
    e = asking(store, put, "a@x", "b@x", notify=("SUCCESS",))
    e.recipients[1].notify = ("SUCCESS",)
    e = rewritten(store, e)
    end(store, e, SENT, LATER)
    store.move(ID, DEFERRED, ACTIVE)
    end(store, read_message(store.path(ACTIVE, ID)), SENT, SENT)
    assert reports(store) == [(SUCCESS, [("a@x", "delivered")]), (SUCCESS, [("b@x", "delivered")])]


def test_a_failure_and_a_success_in_one_pass_are_a_bounce_and_a_report(store: Store, put: PutMessage) -> None:
    e = asking(store, put, "a@x", "b@x", notify=("SUCCESS",))
    ended = end(store, e, SENT, NEVER)
    assert sorted(reports(store)) == [(SUCCESS, [("a@x", "delivered")]), (BOUNCE, [("b@x", "failed")])]
    assert len(ended.children) == 2
    assert [line.partition(": ")[2].rpartition(": ")[0] for line in ended.lines][:2] == [
        "sender non-delivery notification",
        "sender delivery status notification",
    ]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ((), ()),
        (("SUCCESS",), ("NEVER",)),
        (("SUCCESS", "DELAY"), ("DELAY",)),
        (("NEVER",), ("NEVER",)),
        (("FAILURE",), ("FAILURE",)),
    ],
)
def test_the_members_of_an_expansion_are_asked_for_everything_but_success(
    asked: tuple[str, ...], left: tuple[str, ...]
) -> None:
    assert without_success(asked) == left


# --- sendmail -v ---------------------------------------------------------------------------------


def test_v_reports_the_first_pass_of_every_recipient_and_bounces_too(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", "b@x", "c@x", "d@x", report=True), SENT, NEVER, LATER, RELAYED)
    rows = [("a@x", "delivered"), ("b@x", "failed"), ("c@x", "delayed"), ("d@x", "relayed")]
    assert sorted(reports(store)) == [(ASKED, rows), (BOUNCE, [("b@x", "failed")])]


def test_v_reports_once(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", "b@x", report=True), SENT, LATER)
    again = read_message(store.path(DEFERRED, ID))
    assert (again.report, again.reported) == (True, True)
    store.move(ID, DEFERRED, ACTIVE)
    end(store, again, SENT, SENT)
    assert len(reports(store)) == 1


def test_v_reports_also_who_wants_to_hear_nothing(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", report=True, notify=("NEVER",)), NEVER)
    assert reports(store) == [(ASKED, [("a@x", "failed")])]


@pytest.mark.parametrize("untried", [QUEUE_ONLY, STOPPING])
def test_v_waits_for_a_pass_in_which_something_was_tried(
    store: Store, put: PutMessage, untried: DeliveryResult
) -> None:
    end(store, asking(store, put, "a@x", report=True), untried)
    again = read_message(store.path(DEFERRED, ID))
    assert reports(store) == [] and not again.reported
    store.move(ID, DEFERRED, ACTIVE)
    end(store, again, SENT)
    assert reports(store) == [(ASKED, [("a@x", "delivered")])]


def test_v_leaves_an_expansion_to_the_reports_of_its_members(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", "b@x", report=True), EXPANDED, SENT)
    assert reports(store) == [(ASKED, [("b@x", "delivered")])]


def test_v_with_success_is_one_report(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", "b@x", report=True, notify=("SUCCESS",)), EXPANDED, SENT)
    assert reports(store) == [(ASKED, [("a@x", "expanded"), ("b@x", "delivered")])]


@pytest.mark.parametrize("flag", ["report", "verify"])
def test_the_null_sender_gets_no_report_and_the_log_says_so(store: Store, put: PutMessage, flag: str) -> None:
    ended = end(store, asking(store, put, "a@x", sender="", **{flag: True}), SENT)
    assert reports(store) == []
    assert ended.lines == [f"{ID}: no delivery report: its sender is the null sender", f"{ID}: removed"]


def test_the_address_that_was_tried_is_reported_with_the_one_it_came_from(store: Store, put: PutMessage) -> None:
    message = Message(ID, asking(store, put, "a@x", report=True), -1, 0, attempted=True)
    message.results = {0: SENT}
    message.addresses = {0: Address("bob", "far.example")}
    (child,) = finisher(store).end_passes([message])[0].children
    text = Path(store.path(INCOMING, child)).read_text()
    assert "Final-Recipient: rfc822; bob@far.example\nOriginal-Recipient: rfc822; a@x\n" in text


# --- sendmail -bv --------------------------------------------------------------------------------


def test_bv_tries_everybody_once_and_bounces_nothing(store: Store, put: PutMessage) -> None:
    ended = end(store, asking(store, put, "a@x", "b@x", "c@x", verify=True), SENT, NEVER, LATER)
    rows = [("a@x", "deliverable"), ("b@x", "undeliverable"), ("c@x", "undeliverable")]
    assert reports(store) == [(ASKED, rows)]
    assert ended.due is None and [s for s in (ACTIVE, DEFERRED, TMP) if list(store.entries(s))] == []


def test_bv_goes_on_after_a_stop_with_who_was_not_tried(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", "b@x", verify=True), SENT, STOPPING)
    assert reports(store) == [(ASKED, [("a@x", "deliverable")])]
    store.move(ID, DEFERRED, ACTIVE)
    end(store, read_message(store.path(ACTIVE, ID)), SENT, NEVER)
    assert reports(store)[1:] == [(ASKED, [("b@x", "undeliverable")])]


def test_bv_of_what_expands_says_nothing_for_its_members_do(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", verify=True), EXPANDED)
    assert reports(store) == []


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [{"report": True}, {"verify": True}, {"notify": ("SUCCESS",)}])
def test_a_report_whose_box_is_not_set_is_written_again_after_a_crash_and_one_whose_box_is_set_is_released(
    store: Store, put: PutMessage, flags: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    message = Message(ID, asking(store, put, "a@x", **flags), -1, 0, attempted=True)
    message.results = {0: SENT}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store, "mark", crash)
        finisher(store).end_passes([message])
    assert [what for _, what in store.recover_children()] == ["discarded"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store, "moved", crash)
        finisher(store).end_passes([message])
    assert [what for _, what in store.recover_children()] == ["released"]
    assert len(reports(store)) == 1
