"""Virtual aliases against a real queue: children first, then the mark, and none of them is expanded for ever."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Envelope
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.core.route import ERROR, LOCAL, SMTP, Route
from sendmail_py.host.alias_files import AliasFiles
from sendmail_py.services.child_messages import Plan
from sendmail_py.services.expansion import Decision, Expander
from sendmail_py.services.messages import Message
from sendmail_py.services.routes import routing_of
from sendmail_py.spool.layout import ACTIVE, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"
VIRTUAL = """\
kept@v.example kept@v.example, copy@far.example
info@v.example bob
one@v.example x@far.example
bob@v.example bob
both@v.example one@v.example, known@far.example
"""
Make = Callable[..., Expander]


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    """Return a function that makes an Expander with virtual aliases, and with these aliases."""

    def expander(aliases: str = "", virtual: str = VIRTUAL) -> Expander:
        (tmp_path / "aliases").write_text(aliases)
        (tmp_path / "virtual").write_text(virtual)
        values = {
            "myhostname": "mx.here",
            "mydomain": "here",
            "myorigin": "mx.here",
            "virtual_alias_domains": "v.example",
            "virtual_alias_maps": f"hash:{tmp_path}/virtual",
        }
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        return Expander(config, store, routing_of(config, print), AliasFiles([f"{tmp_path}/aliases"], print))

    return expander


def decide(expander: Expander, envelope: Envelope, number: int = 0) -> Decision:
    return expander.decide(envelope, envelope.recipients[number])


def test_one_result_is_a_route_and_needs_no_child(make: Make) -> None:
    route = decide(make(), envelope_for("one@v.example"))
    assert isinstance(route, Route) and route.destination() == (SMTP, "far.example", -1, "")
    for address in ("info@v.example", "bob@v.example"):
        route = decide(make(), envelope_for(address))
        assert isinstance(route, Route) and route.destination() == (LOCAL, "bob", -1, "")
        assert str(route.address) == "bob@mx.here"


def test_an_alias_of_this_host_and_a_virtual_one_that_name_each_other_end(make: Make) -> None:
    expander = make("bob: bob@v.example\n")
    route = decide(expander, envelope_for("bob@mx.here"))
    assert isinstance(route, Route) and route.transport == LOCAL  # in his own alias bob is the user
    route = decide(expander, envelope_for("bob@v.example"))
    assert isinstance(route, Route) and route.transport == ERROR  # and this address is nobody


def test_a_child_with_an_address_that_is_in_its_own_alias_is_not_expanded_again(
    make: Make, store: Store, put: PutMessage
) -> None:
    expander, envelope = make(), put("kept@v.example", state=ACTIVE)
    plan = decide(expander, envelope)
    assert isinstance(plan, Plan)
    message = Message(ID, envelope, -1, 0)
    assert expander.expand(message, [0], plan).result.outcome is Outcome.DELIVERED
    (name,) = message.unreleased
    child = read_message(store.path(TMP, name))
    assert child.visited == ("@kept@v.example",)
    kept = next(n for n, r in enumerate(child.recipients) if r.forward_path.local_part == "kept")
    route = decide(expander, child, kept)
    assert isinstance(route, Route) and route.transport == ERROR  # v.example has no mailboxes
    assert read_message(store.path(ACTIVE, ID)).recipients[0].mark == "x"


def test_who_is_a_recipient_already_gets_no_second_copy(make: Make) -> None:
    envelope = envelope_for("one@v.example", "x@far.example")
    result = decide(make(), envelope)
    assert isinstance(result, DeliveryResult) and result.reason == "nobody else to deliver to"


def test_a_table_that_is_gone_defers(make: Make, tmp_path: Path) -> None:
    expander = make()
    (tmp_path / "virtual").unlink()
    for address in ("one@v.example", "x@far.example"):
        result = decide(expander, envelope_for(address))
        assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED
