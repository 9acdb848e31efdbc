"""The children of an expansion: grouped by sender and rights, marked where a .forward sends them away."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import MAILBOX, Envelope
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.core.route import LOCAL, SMTP, Route
from sendmail_py.formats.batch import HandBack, Report
from sendmail_py.host.alias_files import AliasFiles
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.child_messages import Plan
from sendmail_py.services.expansion import Decision, Expander
from sendmail_py.services.messages import Message
from sendmail_py.spool.layout import ACTIVE, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"
CONTENT = b"Subject: x\n\nhi\n"
Make = Callable[..., Expander]


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    """Return a function that makes an Expander with these aliases and settings."""

    def expander(aliases: str = "", **settings: str) -> Expander:
        (tmp_path / "aliases").write_text(aliases)
        values = {"myhostname": "here", "mydestination": "here", "myorigin": "here", **settings}
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        return Expander(config, store, Routing(config), AliasFiles([f"{tmp_path}/aliases"], print))

    return expander


def forward(lines: str, uid: int = 1000) -> Report:
    """Return what an agent hands back for a user with this .forward."""
    descriptor = os.memfd_create("forward")
    os.write(descriptor, lines.encode())
    return Report(0, 0, None, HandBack.FORWARD, uid, descriptor)


def handed_back(expander: Expander, envelope: Envelope, report: Report, name: str = "bob") -> Decision:
    route = Route(LOCAL, name, envelope.recipients[0].forward_path)
    return expander.handed_back(envelope, route, report)


def children(expander: Expander, store: Store, envelope: Envelope, plan: Decision) -> dict[str, Envelope]:
    """Write the children of a plan; returns them by their recipients, as text."""
    assert isinstance(plan, Plan), plan
    message = Message(ID, envelope, -1, 0)
    result = expander.expand(message, list(range(len(envelope.recipients))), plan).result
    assert result.outcome is Outcome.DELIVERED, result
    found = [read_message(store.path(TMP, name)) for name in message.unreleased]
    return {" ".join(r.target + str(r.forward_path) for r in child.recipients): child for child in found}


def content(store: Store, child: Envelope) -> bytes:
    return Path(store.path(TMP, child.queue_id)).read_bytes()[child.content_offset :]


# --- lists with owners, programs and files ------------------------------------------------------


def test_members_of_lists_with_different_owners_are_in_different_messages(
    make: Make, store: Store, put: PutMessage
) -> None:
    aliases = "all: carol, l@here, dan@far.example\nl: bob, eve@far.example\nowner-l: alice\n"
    e = put("all@here", state=ACTIVE, content=CONTENT)
    e.recipients[0].notify, e.envid, e.ret = ("FAILURE",), "X", "HDRS"
    expander = make(aliases)
    found = children(expander, store, e, expander.decide(e, e.recipients[0]))
    assert found.keys() == {"carol@here dan@far.example", "bob@here eve@far.example"}
    of_list, rest = found["bob@here eve@far.example"], found["carol@here dan@far.example"]
    assert (str(of_list.sender), of_list.recipients[0].notify, of_list.envid, of_list.ret) == (
        "owner-l@here",
        (),
        "",
        "",
    )
    assert (rest.sender, rest.recipients[0].notify, rest.envid, rest.ret) == (e.sender, ("FAILURE",), "X", "HDRS")


def test_the_null_sender_stays_the_null_sender_so_that_nobody_gets_reports_of_reports(
    make: Make, store: Store, put: PutMessage
) -> None:
    e = put("l@here", state=ACTIVE, sender="")
    expander = make("l: bob, carol\nowner-l: alice\n")
    (child,) = children(expander, store, e, expander.decide(e, e.recipients[0])).values()
    assert str(child.sender) == "" and len(child.recipients) == 2


def test_a_list_of_one_with_an_owner_needs_a_message_of_its_own(make: Make, store: Store, put: PutMessage) -> None:
    e = put("l@here", state=ACTIVE)
    expander = make("l: bob@far.example\nowner-l: alice\n")
    (child,) = children(expander, store, e, expander.decide(e, e.recipients[0])).values()
    assert str(child.sender) == "owner-l@here"
    assert expander.decide(envelope_for("l@here", sender=""), envelope_for("l@here").recipients[0]) == Route(
        SMTP, "far.example", child.recipients[0].forward_path
    )


def test_programs_and_files_keep_the_address_they_came_from(make: Make, store: Store, put: PutMessage) -> None:
    e = put("prog@here", state=ACTIVE)
    expander = make('prog: "|p -x, y", /var/log/f, \\bob\n')
    found = children(expander, store, e, expander.decide(e, e.recipients[0]))
    (child,) = found.values()
    assert [(r.target, str(r.forward_path), r.original) for r in child.recipients] == [
        ("|p -x, y", "prog@here", "rfc822;prog@here"),
        ("/var/log/f", "prog@here", "rfc822;prog@here"),
        (MAILBOX, "bob@here", "rfc822;prog@here"),
    ]
    routes = [expander.decide(child, r) for r in child.recipients]
    assert [(r.nexthop, r.uid, r.target) for r in routes if isinstance(r, Route)] == [
        ("|p -x, y", -1, "|p -x, y"),
        ("/var/log/f", -1, "/var/log/f"),
        ("bob", -1, MAILBOX),
    ]


def test_one_program_is_a_route_and_needs_no_child(make: Make) -> None:
    e = envelope_for("Prog+x@here")
    route = make('prog: "|p"\n', recipient_delimiter="+").decide(e, e.recipients[0])
    assert route == Route(LOCAL, "|p", e.recipients[0].forward_path, -1, "|p", "x")


def test_a_target_with_the_rights_of_root_is_never_used(make: Make) -> None:
    e = envelope_for("bob@here")
    e.recipients[0].target, e.controlling_uid = "|id", 0
    result = make().decide(e, e.recipients[0])
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED


# --- what agents hand back ------------------------------------------------------------------------


def test_what_a_forward_sends_away_is_marked_and_what_stays_is_not(make: Make, store: Store, put: PutMessage) -> None:
    e = put("Bob@here", state=ACTIVE, content=CONTENT)
    expander = make()
    plan = handed_back(expander, e, forward("\\bob\ncarol\ndan@far.example\n|p\n"))
    found = children(expander, store, e, plan)
    assert found.keys() == {"\\bob@here carol@here", "dan@far.example", "|pBob@here"}
    away = found["dan@far.example"]
    assert content(store, away) == b"Delivered-To: Bob@here\n" + CONTENT
    assert away.size == len(CONTENT) + len(b"Delivered-To: Bob@here\n")
    assert content(store, found["\\bob@here carol@here"]) == CONTENT == content(store, found["|pBob@here"])
    assert all("~bob" in child.visited for child in found.values())
    assert (found["|pBob@here"].controlling_uid, away.controlling_uid) == (1000, -1)


def test_one_address_elsewhere_is_a_child_too_since_it_is_marked(make: Make, store: Store, put: PutMessage) -> None:
    e = put("bob@here", state=ACTIVE, content=CONTENT)
    expander = make()
    (child,) = children(expander, store, e, handed_back(expander, e, forward("dan@far.example\n"))).values()
    assert content(store, child).startswith(b"Delivered-To: bob@here\n")


def test_the_one_end_of_a_way_needs_no_child(make: Make) -> None:
    e = envelope_for("bob@here")
    address = e.recipients[0].forward_path
    assert handed_back(make(), e, forward('"|vacation bob"\n')) == Route(
        LOCAL, "|vacation bob", address, 1000, "|vacation bob"
    )
    assert handed_back(make(), e, forward("bob\n")) == Route(LOCAL, "bob", address, target=MAILBOX)
    assert handed_back(make(), e, forward("# nothing\n")) == Route(LOCAL, "bob", address, target=MAILBOX)


def test_users_who_forward_to_each_other_come_to_a_mailbox(make: Make, store: Store, put: PutMessage) -> None:
    e = put("bob@here", state=ACTIVE)
    expander = make()
    (child,) = children(expander, store, e, handed_back(expander, e, forward("carol\n"))).values()
    back = handed_back(expander, child, forward("bob\n", 1001), "carol")
    assert isinstance(back, Route) and (back.nexthop, back.target) == ("bob", MAILBOX)


@pytest.mark.parametrize(("lines", "status"), [("|p\n", "4.3.5"), ('"unclosed\n', "4.3.5"), (":include:/x\n", "4.3.5")])
def test_a_forward_that_cannot_be_used_defers(make: Make, lines: str, status: str) -> None:
    result = handed_back(make(), envelope_for("root@here"), forward(lines, 0), "root")
    assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.DEFERRED, status)


def test_a_chain_of_forwards_that_is_too_long_for_a_name_of_its_own_fails(
    make: Make, store: Store, put: PutMessage
) -> None:
    e = put("bob@here", state=ACTIVE, queue_id="A" * 199)
    expander = make()
    plan = handed_back(expander, e, forward("dan@far.example\n"))
    assert isinstance(plan, Plan)
    done = expander.expand(Message("A" * 199, e, -1, 0), [0], plan)
    assert (done.result.outcome, done.result.status) == (Outcome.FAILED, "5.4.6")
    assert list(store.entries(TMP)) == [] and e.recipients[0].mark == " "


def test_two_addresses_of_one_mailbox_are_answered_by_one_expansion(make: Make, store: Store, put: PutMessage) -> None:
    e = put("bob@here", "BOB@here", state=ACTIVE)
    expander = make()
    found = children(expander, store, e, handed_back(expander, e, forward("dan@far.example\n")))
    assert len(found) == 1
    assert [r.mark for r in read_message(store.path(ACTIVE, ID)).recipients] == ["x", "x"]
    (child,) = found.values()
    assert child.parent == (ID, e.recipients[0].offset)


UNKNOWN = Report(0, 0, None, HandBack.UNKNOWN)


def test_the_mail_of_unknown_users_goes_to_luser_relay_once(make: Make, store: Store, put: PutMessage) -> None:
    e = put("nobody+x@here", state=ACTIVE)
    expander = make(luser_relay="$user-$extension@far.example", recipient_delimiter="+")
    (child,) = children(expander, store, e, handed_back(expander, e, UNKNOWN, "nobody")).values()
    assert [str(r.forward_path) for r in child.recipients] == ["nobody-x@far.example"]
    again = handed_back(expander, child, UNKNOWN, "nobody")
    assert isinstance(again, DeliveryResult) and (again.outcome, again.status) == (Outcome.FAILED, "5.1.1")


@pytest.mark.parametrize(
    "name",
    ['"x@far.example, y"', '"x@far.example"', '"a b"', '"|program"', '"/file"', '"\\\\bob"', '"(x)"', '":include:/x"'],
)
def test_no_local_part_leads_luser_relay_anywhere_else(make: Make, name: str) -> None:
    e = envelope_for(f"{name}@here")
    result = handed_back(make(luser_relay="$local@backup.example"), e, UNKNOWN, e.recipients[0].forward_path.local_part)
    assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.FAILED, "5.1.1")


def test_a_luser_relay_without_a_value_for_its_macro_leaves_the_mail_waiting(make: Make) -> None:
    result = handed_back(make(luser_relay="$extension@x"), envelope_for("nobody@here"), UNKNOWN)
    assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")


def test_transports_for_mailboxes_and_for_unknown_users(make: Make) -> None:
    e = envelope_for("bob@here")
    address = e.recipients[0].forward_path
    mailbox = Report(0, 0, None, HandBack.MAILBOX)
    both = make(mailbox_transport="smtp:[store]:24", fallback_transport="smtp:[other]")
    assert handed_back(both, e, mailbox) == Route(SMTP, "[store]:24", address) == handed_back(both, e, UNKNOWN)
    assert handed_back(make(fallback_transport="smtp:[other]"), e, UNKNOWN) == Route(SMTP, "[other]", address)
    result = handed_back(make(), e, UNKNOWN)
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.FAILED


@pytest.mark.parametrize("aliases", ["bob: bob, carol\n", "bob: rob, carol\nrob: bob\n"])
def test_two_spellings_of_one_name_do_not_leave_the_mail_to_each_other(
    make: Make, store: Store, put: PutMessage, aliases: str
) -> None:
    e = put("bob@here", "bob@localhost", state=ACTIVE)
    expander = make(aliases, mydestination="here localhost")
    message = Message(ID, e, -1, 0)
    for index in (0, 1):
        plan = expander.decide(e, e.recipients[index])
        assert isinstance(plan, Plan)
        expander.expand(message, [index], plan)
    children = [read_message(store.path(TMP, name)) for name in message.unreleased]
    found = {str(r.forward_path) for child in children for r in child.recipients}
    assert found == {"bob@here", "carol@here"}


def test_two_recipients_who_forward_to_each_other_do_not_leave_the_mail_to_each_other(
    make: Make, store: Store, put: PutMessage
) -> None:
    e = put("alice@here", "bob@here", state=ACTIVE)
    expander = make()
    message = Message(ID, e, -1, 0)
    for index, (user, other) in enumerate((("alice", "bob"), ("bob", "alice"))):
        report = forward(f"{other}\n")
        plan = expander.handed_back(e, Route(LOCAL, user, e.recipients[index].forward_path), report)
        assert isinstance(plan, Plan)
        expander.expand(message, [index], plan)
    children = [read_message(store.path(TMP, name)) for name in message.unreleased]
    assert [str(r.forward_path) for child in children for r in child.recipients] == ["bob@here", "alice@here"]
