"""Expansion against a real queue: children first, then the mark, and nothing left of what did not succeed."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope, Mark, Recipient
from sendmail_py.core.result import DeliveryResult, Handover, Outcome
from sendmail_py.core.route import LOCAL, SMTP, Route
from sendmail_py.host.alias_files import AliasFiles
from sendmail_py.host.syslog import Log
from sendmail_py.routing.expand import Final
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.active_queue import ActiveQueue
from sendmail_py.services.child_messages import Expanded, Plan
from sendmail_py.services.decisions import Decisions
from sendmail_py.services.expansion import Expander
from sendmail_py.services.messages import Message
from sendmail_py.spool import atomic
from sendmail_py.spool.layout import ACTIVE, INCOMING, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.recovery import recover_children
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"
Make = Callable[..., Expander]


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    """Return a function that makes an Expander with these aliases."""

    def expander(aliases: str = "", limit: int = 1000, queue: Store | None = None) -> Expander:
        (tmp_path / "aliases").write_text(aliases)
        values = {
            "myhostname": "mx.here",
            "mydomain": "here",
            "myorigin": "mx.here",
            "expansion_recipient_limit": str(limit),
        }
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        files = AliasFiles([f"{tmp_path}/aliases"], print)
        return Expander(config, queue or store, Routing(config), files)

    return expander


def decide(expander: Expander, envelope: Envelope) -> object:
    return expander.decide(envelope, envelope.recipients[0])


def expanded(expander: Expander, envelope: Envelope) -> tuple[Message, Expanded]:
    plan = decide(expander, envelope)
    assert isinstance(plan, Plan)
    message = Message(ID, envelope, -1, 0)
    return message, expander.expand(message, [0], plan)


def ids(store: Store, state: str) -> list[str]:
    return sorted(queue_id for queue_id, _ in store.entries(state))


def test_a_name_without_an_alias_stays_as_it_is(make: Make) -> None:
    envelope = envelope_for("Bob@mx.here")
    assert decide(make(), envelope) == Route(LOCAL, "bob", envelope.recipients[0].forward_path)


def test_an_alias_for_one_address_is_a_route_and_needs_no_child(make: Make, store: Store) -> None:
    route = decide(make("bob: carol@far.example\n"), envelope_for("bob@mx.here"))
    assert isinstance(route, Route) and route.destination() == (SMTP, "far.example", -1, "")
    route = decide(make("bob: robert\n"), envelope_for("bob@mx.here"))
    assert isinstance(route, Route) and route.destination() == (LOCAL, "robert", -1, "")


def test_an_alias_that_applied_already_does_not_apply_again(make: Make) -> None:
    envelope = envelope_for("bob@mx.here")
    envelope.visited = ("bob",)
    route = decide(make("bob: bob, carol\n"), envelope)
    assert isinstance(route, Route) and route.destination() == (LOCAL, "bob", -1, "")


def test_a_discarded_or_empty_alias_is_a_delivery(make: Make) -> None:
    result = decide(make("bob: /dev/null\n"), envelope_for("bob@mx.here"))
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DELIVERED


def test_aliases_that_cannot_be_read_or_are_faulty_defer(make: Make, tmp_path: Path) -> None:
    result = decide(make('bob: "unclosed\n'), envelope_for("bob@mx.here"))
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED
    expander = make()
    (tmp_path / "aliases").unlink()
    (tmp_path / "aliases").mkdir()
    result = decide(expander, envelope_for("bob@mx.here"))
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED


def test_children_hold_the_content_the_sender_and_what_is_known_of_the_recipient(
    make: Make, store: Store, put: PutMessage
) -> None:
    e = put("list@mx.here", state=ACTIVE, content=b"Subject: x\n\nhi\n")
    e.envid, e.ret, e.recipients[0].notify = "QQ3", "HDRS", ("FAILURE",)
    message, done = expanded(make("list: bob, carol@far.example\n"), e)
    assert (done.result.outcome, done.result.reason) == (Outcome.DELIVERED, f"expanded into {ID}88")
    assert message.unreleased == [f"{ID}88"] == ids(store, TMP) and ids(store, INCOMING) == []
    child = read_message(store.path(TMP, f"{ID}88"))
    data = Path(store.path(TMP, f"{ID}88")).read_bytes()
    assert data[child.content_offset :] == b"Subject: x\n\nhi\n"
    rows = [(str(r.forward_path), r.original, r.notify) for r in child.recipients]
    original = "rfc822;list@mx.here"
    assert rows == [("bob@mx.here", original, ("FAILURE",)), ("carol@far.example", original, ("FAILURE",))]
    assert (child.sender, child.parent, child.envid, child.ret) == (
        e.sender,
        (ID, e.recipients[0].offset),
        "QQ3",
        "HDRS",
    )
    assert read_message(store.path(ACTIVE, ID)).recipients[0].mark == "x"


def test_a_user_who_is_in_his_own_alias_is_not_expanded_again(make: Make, store: Store, put: PutMessage) -> None:
    message, _ = expanded(make("bob: bob, carol\n"), put("bob@mx.here", state=ACTIVE))
    assert read_message(store.path(TMP, message.unreleased[0])).visited == ("bob",)


def test_who_is_a_recipient_of_the_message_gets_no_second_copy_from_a_list(
    make: Make, store: Store, put: PutMessage
) -> None:
    e = put("list@mx.here", "Bob@localhost", "x@FAR.example", "dave@mx.here", "erin@mx.here", state=ACTIVE)
    e.recipients[4].mark = Mark.FAILED
    aliases = "list: bob, carol, x@far.example, X@far.example, \\dave, erin\ndave: frank\n"
    message, _ = expanded(make(aliases), e)
    child = read_message(store.path(TMP, message.unreleased[0]))
    # X is another mailbox to who has it; dave's alias takes his copy elsewhere; erin's has failed
    assert [r.forward_path.local_part for r in child.recipients] == ["carol", "X", "dave", "erin"]


def test_a_list_of_nobody_else_is_done_without_a_child(make: Make, put: PutMessage) -> None:
    e = put("list@mx.here", "bob@mx.here", "carol@mx.here", state=ACTIVE)
    message, done = expanded(make("list: bob, carol\n"), e)
    assert (message.unreleased, done.result.outcome) == ([], Outcome.DELIVERED)
    assert [r.mark for r in e.recipients] == [Mark.DELIVERED, Mark.PENDING, Mark.PENDING]


def test_a_long_list_becomes_children_of_the_limit_each_address_once(make: Make, store: Store, put: PutMessage) -> None:
    people = [f"u{n}@far.example" for n in range(25)]
    message, _ = expanded(
        make("list: " + ", ".join(people + people) + "\n", limit=10), put("list@mx.here", state=ACTIVE)
    )
    children = [read_message(store.path(TMP, queue_id)) for queue_id in message.unreleased]
    assert [len(child.recipients) for child in children] == [10, 10, 5]
    assert [str(r.forward_path) for child in children for r in child.recipients] == people


def test_a_list_that_breaks_in_the_middle_defers_as_a_whole_and_leaves_no_child(
    make: Make, store: Store, put: PutMessage, tmp_path: Path
) -> None:
    include = tmp_path / "members"
    include.write_text("".join(f"u{n}@far.example\n" for n in range(25)) + '"unclosed\n')
    e = put("list@mx.here", state=ACTIVE)
    message, done = expanded(make(f"list: :include:{include}\n", limit=10), e)
    assert done.result.outcome is Outcome.DEFERRED and "line 26" in done.result.reason
    assert message.unreleased == [] and ids(store, TMP) == [] and e.recipients[0].mark == " "


def test_an_include_file_whose_owner_names_a_path_that_is_none_defers_the_list_and_ends_nobody(
    make: Make, store: Store, put: PutMessage, tmp_path: Path
) -> None:
    include = tmp_path / "members"
    include.write_text("a@far.example\n:include:/x\0y\n")
    expander = make(f"list: :include:{include}\n")
    decision = decide(expander, envelope_for("list@mx.here"))
    assert isinstance(decision, DeliveryResult)
    assert (decision.outcome, decision.status) == (Outcome.DEFERRED, "4.3.5") and "null byte" in decision.reason
    include.write_text("a@far.example\nb@far.example\nc@far.example\n:include:/x\0y\n")
    message, done = expanded(expander, put("list@mx.here", state=ACTIVE))
    assert done.result.outcome is Outcome.DEFERRED and message.unreleased == [] and ids(store, TMP) == []


def test_a_defect_of_ours_defers_an_expansion_and_leaves_no_child(make: Make, store: Store, put: PutMessage) -> None:
    def finals() -> Iterator[Final | DeliveryResult]:
        yield from (Final(Address(f"u{number}", "far.example")) for number in range(3))
        raise RecursionError("maximum recursion depth exceeded")

    e = put("list@mx.here", state=ACTIVE)
    done = make(limit=2).expand(Message(ID, e, -1, 0), [0], Plan(finals()))
    assert done.result.outcome is Outcome.DEFERRED and "RecursionError" in done.result.reason
    assert ids(store, TMP) == [] and e.recipients[0].mark == " "


def test_a_defect_of_ours_defers_the_one_recipient_whom_it_concerns(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = Config({name: Setting("example.org", "test") for name in ("myhostname", "myorigin")})
    decisions = Decisions(config, store, Log("x", "qmgr", "mail", 2), ActiveQueue(), Address("double-bounce"))
    e = envelope_for("a@far.example", "b@far.example")
    decide = decisions.expander.decide

    def faulty(envelope: Envelope, recipient: Recipient) -> object:
        return {}["no such key"] if recipient is e.recipients[0] else decide(envelope, recipient)

    monkeypatch.setattr(decisions.expander, "decide", faulty)
    first, second = (decisions.first(Message(ID, e, -1, 0), recipient, INCOMING) for recipient in e.recipients)
    assert isinstance(first, DeliveryResult) and (first.status, first.reason) == ("4.3.0", "internal error: KeyError")
    assert isinstance(second, Route)
    assert f"error: {ID}: internal error: KeyError: 'no such key'" in capfd.readouterr().err


@pytest.mark.parametrize("marked", [0, 1, 2])
def test_a_crash_among_the_marks_of_two_who_are_one_mailbox_doubles_nothing(
    make: Make, store: Store, put: PutMessage, monkeypatch: pytest.MonkeyPatch, marked: int
) -> None:
    """The children answer for the one whom they name: while he waits they are made again, for him and whoever waits."""
    message = Message(ID, put("bob@mx.here", "bob@here", state=ACTIVE), -1, 0)
    left, overwrite = iter(range(marked)), atomic.overwrite

    def crashing(descriptor: int, data: bytes, offset: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        overwrite(descriptor, data, offset)

    plan = Plan(iter([Final(Address("carol", "far.example"))]))
    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(atomic, "overwrite", crashing)
        make().expand(message, [0, 1], plan)
    released = [what for _, what in recover_children(store)]
    waits = len(read_message(store.path(ACTIVE, ID)).pending())
    assert (released, waits) == [(["discarded"], 2), (["discarded"], 1), (["released"], 0)][marked]


class FullOnce(Store):
    """A real queue without room for one message, or for one mark."""

    def __init__(self, top: str, left: int, full_at_mark: bool) -> None:
        super().__init__(top)
        self.left = left
        self.full_at_mark = full_at_mark

    def write(self, envelope: Envelope, content: Iterable[bytes], durable: bool) -> str:
        """Write a message, or fail."""
        self.left -= 1
        if self.left == 0:
            raise OSError(28, os.strerror(28))
        return super().write(envelope, content, durable)

    def mark(
        self, state: str, queue_id: str, marks: list[tuple[Recipient, str]], history: bytes = b"", durable: bool = False
    ) -> OSError | None:
        """Write marks, or fail once."""
        if self.full_at_mark:
            self.full_at_mark = False
            raise OSError(5, os.strerror(5))
        return super().mark(state, queue_id, marks, history, durable)


@pytest.mark.parametrize(
    ("left", "full_at_mark", "status"), [(1, False, "4.3.1"), (3, False, "4.3.1"), (9, True, "4.3.0")]
)
def test_a_disk_that_fails_once_leaves_no_child_and_the_next_pass_makes_the_same_ones(
    make: Make, store: Store, put: PutMessage, left: int, full_at_mark: bool, status: str
) -> None:
    e = put("list@mx.here", state=ACTIVE)
    aliases = "list: " + ", ".join(f"u{n}@far.example" for n in range(25)) + "\n"
    expander = make(aliases, limit=10, queue=FullOnce(store.top, left, full_at_mark))
    message, done = expanded(expander, e)
    assert (done.result.outcome, done.result.status) == (Outcome.DEFERRED, status)
    assert ids(store, TMP) == [] and message.unreleased == [] and e.recipients[0].mark == " "
    message, done = expanded(expander, e)
    assert done.result.outcome is Outcome.DELIVERED
    assert message.unreleased == ids(store, TMP) == [f"{ID}88", f"{ID}89", f"{ID}8A"]


# --- what children tell the sender ---------------------------------------------------------------

LISTS = "plain: a@x, b@x\nowned: a@x, b@x\nowner-owned: carol@x\n"


def child_of(store: Store, make: Make, put: PutMessage, name: str, **flags: object) -> tuple[Envelope, DeliveryResult]:
    """Expand an alias of LISTS for a message with flags; returns its child and the result."""
    envelope = put(f"{name}@mx.here", state=ACTIVE)
    for flag, value in flags.items():
        setattr(envelope, flag, value)
    envelope.recipients[0].notify = ("SUCCESS", "FAILURE")
    message, done = expanded(make(LISTS), envelope)
    (child,) = message.unreleased
    return read_message(store.path(TMP, child)), done.result


def test_the_members_of_an_alias_report_to_the_sender_but_for_success(
    store: Store, make: Make, put: PutMessage
) -> None:
    child, result = child_of(store, make, put, "plain", report=True)
    assert (child.report, child.verify, str(child.sender)) == (True, False, "alice@example.org")
    assert {r.notify for r in child.recipients} == {("FAILURE",)}
    assert result.handover is Handover.EXPANDED


def test_a_list_with_an_owner_is_a_delivery_and_its_members_report_to_the_owner(
    store: Store, make: Make, put: PutMessage
) -> None:
    child, result = child_of(store, make, put, "owned", report=True)
    assert (child.report, child.verify) == (False, False)
    assert str(child.sender) != "alice@example.org"
    assert result.handover is Handover.FINAL


def test_a_report_that_was_written_is_not_asked_for_again(store: Store, make: Make, put: PutMessage) -> None:
    assert not child_of(store, make, put, "plain", report=True, reported=True)[0].report


@pytest.mark.parametrize("name", ["plain", "owned"])
def test_what_comes_of_a_verification_is_a_verification_for_the_same_sender(
    store: Store, make: Make, put: PutMessage, name: str
) -> None:
    child, result = child_of(store, make, put, name, verify=True)
    assert (child.verify, str(child.sender)) == (True, "alice@example.org")
    assert result.handover is Handover.EXPANDED
