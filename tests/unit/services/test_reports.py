"""Who is told what at the end of a pass: reports of success, of sendmail -v and of -bv, against a real queue."""

import json
import os
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope, Mark
from sendmail_py.core.errors import ConfigError
from sendmail_py.core.result import DeliveryResult, Handover, deferred, delivered, failed
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.finishing import Ended, Finisher
from sendmail_py.services.messages import Message
from sendmail_py.services.notices import QUEUE_ONLY, STOPPING, check_notices, without_success
from sendmail_py.services.reports import Reporter
from sendmail_py.services.withheld import Withheld
from sendmail_py.spool.layout import ACTIVE, DEFERRED, INCOMING, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.recovery import recover_children
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"
SENT, LATER, NEVER = delivered("ok", relay="local"), deferred("4.4.1", "timed out"), failed("5.1.1", "unknown user")
RELAYED = replace(SENT, handover=Handover.RELAYED)
ENTRUSTED = replace(SENT, handover=Handover.ENTRUSTED)
EXPANDED = replace(SENT, handover=Handover.EXPANDED)


def config(**settings: str) -> Config:
    values = {"myhostname": "mx.example.org", "myorigin": "example.org"} | settings
    return Config({name: Setting(text, "test") for name, text in values.items()})


def finisher(store: Store, **settings: str) -> Finisher:
    """Return a finisher for which nothing is too old."""
    values = {"data_directory": os.path.dirname(store.top)} | settings
    return Finisher(config(**values), store, Schedule(300, 4000, 1e12, 1e12))


def rewritten(store: Store, e: Envelope) -> Envelope:
    """Write the changed head of a message in active/ again, so that the file says what the envelope says."""
    store.write(e, [b"Subject: x\n\nhello\n"], durable=False)
    os.rename(f"{store.top}/{TMP}/{ID}", store.path(ACTIVE, ID))
    return read_message(store.path(ACTIVE, ID))


def end(store: Store, e: Envelope, *results: DeliveryResult, **settings: str) -> Ended:
    """End a pass with these results, as passes does it."""
    message = Message(ID, e, -1, 0, attempted=True)
    message.results = {i: result for i, result in enumerate(results) if e.recipients[i].mark == Mark.PENDING}
    f = finisher(store, **settings)
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
    """Put a message of five hours ago into active/, with flags (report=True); notify= is for the first recipient."""
    e = put(*to, state=ACTIVE, sender=sender)
    e.arrived_at -= 5 * 3600 * 1_000_000
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
    assert [line.partition(": ")[2].rpartition(": ")[0] for line in ended.lines if "notification" in line] == [
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


# --- delay warnings ------------------------------------------------------------------------------

WARNING = "Delayed Mail (still being retried)"
LATE = {"delay_warning_time": "4h"}  # the message is older


def again(store: Store) -> Envelope:
    """Bring the message back into active/."""
    store.move(ID, DEFERRED, ACTIVE)
    return read_message(store.path(ACTIVE, ID))


def test_the_sender_is_told_of_a_delay_once_and_the_queue_file_remembers_it(store: Store, put: PutMessage) -> None:
    ended = end(store, asking(store, put, "a@x", "b@x"), LATER, SENT, **LATE)
    assert reports(store) == [(WARNING, [("a@x", "delayed")])]
    assert ended.lines[1] == f"{ID}: sender delay notification: {ended.children[0]}"
    e = again(store)
    assert e.delay_warned
    end(store, e, LATER, **LATE)
    assert len(reports(store)) == 1


@pytest.mark.parametrize(
    ("settings", "notify", "result", "sender"),
    [
        ({}, (), LATER, "alice@example.org"),
        ({"delay_warning_time": "40000d"}, (), LATER, "alice@example.org"),
        (LATE, ("NEVER",), LATER, "alice@example.org"),
        (LATE, ("FAILURE", "SUCCESS"), LATER, "alice@example.org"),
        (LATE, (), STOPPING, "alice@example.org"),
        (LATE, (), QUEUE_ONLY, "alice@example.org"),
        (LATE, (), LATER, ""),
        (LATE, (), LATER, "double-bounce@example.org"),
    ],
)
def test_a_delay_is_not_told(
    store: Store,
    put: PutMessage,
    settings: dict[str, str],
    notify: tuple[str, ...],
    result: DeliveryResult,
    sender: str,
) -> None:
    ended = end(store, asking(store, put, "a@x", notify=notify, sender=sender), result, **settings)
    assert ended.children == [] and ended.due is not None
    assert not again(store).delay_warned


def test_who_asks_for_delay_alone_hears_of_that_and_not_of_failure(store: Store, put: PutMessage) -> None:
    e = asking(store, put, "a@x", "b@x", notify=("DELAY",))
    e.recipients[1].notify = ("DELAY",)
    end(store, rewritten(store, e), LATER, NEVER, **LATE)
    assert reports(store) == [(WARNING, [("a@x", "delayed")])]


@pytest.mark.parametrize(
    ("settings", "notify", "told"),
    [
        ({"confirm_delay_cleared": "yes"}, (), True),
        ({"confirm_delay_cleared": "yes"}, ("DELAY",), True),
        ({"confirm_delay_cleared": "yes"}, ("FAILURE",), False),
        ({}, (), False),
    ],
)
def test_who_was_warned_can_be_told_of_the_end_of_the_delay(
    store: Store, put: PutMessage, settings: dict[str, str], notify: tuple[str, ...], told: bool
) -> None:
    ended = end(store, asking(store, put, "a@x", notify=notify, delay_warned=True), SENT, **settings)
    assert reports(store) == ([(SUCCESS, [("a@x", "delivered")])] if told else [])
    assert ended.lines[-1] == f"{ID}: removed"


def test_who_was_not_warned_is_not_told_of_an_end(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x"), SENT, confirm_delay_cleared="yes")
    assert reports(store) == []


# --- expired by the administrator ----------------------------------------------------------------


def test_what_the_administrator_has_expired_bounces_after_its_next_attempt(store: Store, put: PutMessage) -> None:
    ended = end(store, asking(store, put, "a@x", "b@x", expire=True), LATER, SENT, **LATE)
    assert reports(store) == [(BOUNCE, [("a@x", "failed")])]
    assert f"{ID}: from=<alice@example.org>, status=force-expired, returned to sender" in ended.lines
    assert ended.due is None


def test_what_is_expired_waits_when_a_stop_came_before_its_attempt(store: Store, put: PutMessage) -> None:
    end(store, asking(store, put, "a@x", expire=True), STOPPING)
    assert reports(store) == [] and again(store).expire


# --- the postmaster ------------------------------------------------------------------------------


def notices(store: Store) -> list[tuple[str, str, str]]:
    """Return sender, recipient and subject of every report, sorted."""
    found = []
    for queue_id, _ in store.entries(INCOMING):
        e = read_message(store.path(INCOMING, queue_id))
        message = message_from_bytes(Path(store.path(INCOMING, queue_id)).read_bytes()[e.content_offset :])
        assert message["To"] == str(e.recipients[0].forward_path)
        found.append((str(e.sender), message["To"], message["Subject"]))
    return sorted(found)


DOUBLE = "double-bounce@example.org"
COPY = "Postmaster Copy: Undelivered Mail"


def test_a_bounce_that_cannot_be_delivered_is_dropped_with_a_line_in_the_log(store: Store, put: PutMessage) -> None:
    ended = end(store, asking(store, put, "a@x", sender=""), NEVER)
    assert ended.lines == [f"{ID}: undeliverable bounce dropped: its sender is the null sender", f"{ID}: removed"]
    assert notices(store) == []


@pytest.mark.parametrize("classes", ["2bounce", "bounce", "bounce, 2bounce"])
def test_the_postmaster_can_have_the_bounces_that_cannot_be_delivered(
    store: Store, put: PutMessage, classes: str
) -> None:
    settings = {"notify_classes": classes, "2bounce_notice_recipient": "root"}
    ended = end(store, asking(store, put, "a@x", sender=""), NEVER, **settings)
    assert notices(store) == [(DOUBLE, "root@example.org", COPY)]
    assert ended.lines[1] == f"{ID}: postmaster non-delivery notification: {ended.children[0]}"


def test_what_the_postmaster_does_not_get_ends_there(store: Store, put: PutMessage) -> None:
    settings = {"notify_classes": "bounce 2bounce delay"} | LATE
    ended = end(store, asking(store, put, "a@x", "b@x", sender=DOUBLE), NEVER, LATER, **settings)
    assert ended.lines == [f"{ID}: undeliverable postmaster notification discarded"]
    assert notices(store) == []


def test_the_postmaster_can_have_copies_with_the_header_alone(store: Store, put: PutMessage) -> None:
    settings = {"notify_classes": "bounce, delay", "bounce_notice_recipient": "ops@far.example"} | LATE
    end(store, asking(store, put, "a@x", "b@x"), NEVER, LATER, **settings)
    assert notices(store) == [
        ("", "alice@example.org", WARNING),
        ("", "alice@example.org", BOUNCE),
        (DOUBLE, "ops@far.example", COPY),
        (DOUBLE, "postmaster@example.org", "Postmaster Warning: Delayed Mail"),
    ]
    bodies = [Path(store.path(INCOMING, queue_id)).read_text() for queue_id, _ in store.entries(INCOMING)]
    assert sum("\nhello\n" in text for text in bodies) == 1


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"notify_classes": "bounces"},
            "test: notify_classes: bounces: bounce, 2bounce, delay, software, data, policy, protocol, resource "
            "expected",
        ),
        ({"bounce_notice_recipient": ""}, "test: bounce_notice_recipient: an address expected"),
    ],
)
def test_a_class_or_an_address_that_is_none_is_an_error_at_start(settings: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^{fault}$"):
        check_notices(config(**settings))


# --- storms --------------------------------------------------------------------------------------


def test_beyond_the_limit_reports_are_withheld_and_one_digest_tells_the_postmaster(
    store: Store, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(f"{os.path.dirname(store.top)}/withheld-reports")
    durable: list[int] = []  # how many lines each fsync of the list has made so

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            durable.append(len(path.read_bytes().splitlines()))

    real_fsync = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    settings = {"report_rate_limit": "2", "data_directory": os.path.dirname(store.top)}
    f = finisher(store, **settings)
    reporter = Reporter(config(**settings), store, withheld=Withheld(config(**settings)))
    f.reporter = reporter
    lines = []
    for number in range(5):
        e = put(f"a{number}@x", state=ACTIVE, queue_id=f"{ID}{number}")
        message = Message(e.queue_id, read_message(store.path(ACTIVE, e.queue_id)), -1, 0, attempted=True)
        message.results = {0: NEVER}
        lines += f.end_passes([message])[0].lines
    assert len(notices(store)) == 2 and list(store.entries(ACTIVE)) == [] and durable == [1, 2, 3]
    assert next(line for line in lines if "withheld" in line) == (
        f"warning: {ID}2: report to <alice@example.org> withheld: it has had report_rate_limit = 2 in an hour"
    )
    assert reporter.send_digest() == ("", "")  # the hour is not over
    for row in (rows := reporter.withheld.rows()):
        row[0] = str(int(row[0]) - 3601)
    path.write_text("".join(json.dumps([int(row[0]), *row[1:]]) + "\n" for row in rows) + '[1, "torn')
    queue_id, error = reporter.send_digest()
    e = read_message(store.path(INCOMING, queue_id))
    digest = message_from_bytes(Path(store.path(INCOMING, queue_id)).read_bytes()[e.content_offset :])
    assert (error, str(e.sender), digest["To"]) == ("", DOUBLE, "postmaster@example.org")
    assert digest["Subject"] == "3 delivery reports were withheld"
    assert digest.get_payload().count("> bounced 5.1.1 unknown user\n") == 3
    assert not path.exists() and reporter.send_digest() == ("", "")


def test_a_report_that_cannot_be_noted_is_sent(store: Store, put: PutMessage) -> None:
    settings = {"report_rate_limit": "1", "data_directory": "/nonexistent"}
    f = finisher(store, **settings)
    for number in range(2):
        e = put("a@x", state=ACTIVE, queue_id=f"{ID}{number}")
        message = Message(e.queue_id, read_message(store.path(ACTIVE, e.queue_id)), -1, 0, attempted=True)
        message.results = {0: NEVER}
        f.end_passes([message])
    assert len(notices(store)) == 2


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
    assert [what for _, what in recover_children(store)] == ["discarded"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store, "moved", crash)
        finisher(store).end_passes([message])
    assert [what for _, what in recover_children(store)] == ["released"]
    assert len(reports(store)) == 1


@pytest.mark.parametrize(
    ("ret", "limit", "last_part"),
    [
        ("", "50000", "message/rfc822"),
        ("FULL", "50000", "message/rfc822"),
        ("HDRS", "50000", "text/rfc822-headers"),
        ("", "18", "message/rfc822"),
        ("", "17", "text/rfc822-headers"),
        ("FULL", "17", "text/rfc822-headers"),
    ],
)
def test_a_bounce_has_the_message_unless_only_its_header_is_wanted_or_it_is_too_large(
    store: Store, put: PutMessage, ret: str, limit: str, last_part: str
) -> None:
    e = put("a@x", state=ACTIVE, content=b"Subject: x\n\nhello\n")
    e.ret = ret
    end(store, e, NEVER, bounce_size_limit=limit)
    ((queue_id, _),) = list(store.entries(INCOMING))
    report = read_message(store.path(INCOMING, queue_id))
    message: Any = message_from_bytes(Path(store.path(INCOMING, queue_id)).read_bytes()[report.content_offset :])
    part = message.get_payload()[-1]
    assert part.get_content_type() == last_part and "Subject: x" in part.as_string()
    assert ("hello" in part.as_string()) == (last_part == "message/rfc822")
