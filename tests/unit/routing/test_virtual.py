"""Virtual domains: which key of a table counts, what an address comes to, and who is known."""

from collections.abc import Callable

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.result import DeliveryResult
from sendmail_py.core.route import ERROR, RETRY, VIRTUAL
from sendmail_py.formats.aliases import Alias, parse_list
from sendmail_py.formats.tables import LookUp
from sendmail_py.routing.expand import Expansion, Rules
from sendmail_py.routing.local_recipients import LocalRecipients
from sendmail_py.routing.resolve import Routing
from sendmail_py.routing.transport import Maps
from sendmail_py.routing.virtual import VirtualMaps

SETTINGS = {
    "myhostname": "mx.here",
    "myorigin": "mx.here",
    "mydestination": "mx.here",
    "recipient_delimiter": "+",
    "propagate_unmatched_extensions": "virtual",
    "virtual_alias_domains": "lists.example",
    "virtual_mailbox_domains": "boxes.example",
    "virtual_mailbox_base": "/var/vmail/",
}
BOXES = {
    "bob@boxes.example": "bob/",
    "bob+work@boxes.example": "work/",
    "carol@boxes.example": "carol",
    "dave@boxes.example": "dave/",
}
UIDS = {"bob@boxes.example": "5000", "bob+work@boxes.example": "5000", "carol@boxes.example": "x"}


def table(entries: dict[str, str]) -> LookUp:
    return lambda key, is_part: entries.get(key.lower())


def broken(key: str, is_part: bool) -> None:
    raise OSError("the table is gone")


def routing(aliases: dict[str, str] | LookUp | None = None, **settings: str) -> Routing:
    values = {name: Setting(text, "test") for name, text in (SETTINGS | settings).items()}
    asked = table(aliases) if isinstance(aliases, dict) else aliases
    maps = VirtualMaps(mailboxes=table(BOXES), uids=table(UIDS), gids=lambda key, is_part: "5001")
    if asked is not None:
        maps = VirtualMaps(asked, mailboxes=maps.mailboxes, uids=maps.uids, gids=maps.gids)
    return Routing(Config(values), Maps(virtual=maps))


def expansion(
    aliases: dict[str, str] | LookUp, local: dict[str, Alias] | None = None, visited: tuple[str, ...] = (), **more: str
) -> Callable[[str], list[str]]:
    config = Config({name: Setting(text, "test") for name, text in (SETTINGS | more).items()})
    rules = Rules(config, routing(aliases, **more))

    def run(address: str) -> list[str]:
        found = Expansion(rules, (local or {}).get, lambda path, uid: (-1, []), visited)
        return [
            item.status if isinstance(item, DeliveryResult) else str(item.address) + item.target
            for item in found.of_virtual(Address.parse(address))
        ]

    return run


@pytest.mark.parametrize(
    ("address", "result"),
    [
        ("bob+x@lists.example", "with-extension@far.example"),
        ("bob+y@lists.example", "without+y@far.example"),
        ("Bob@LISTS.example", "without@far.example"),
        ("carol+y@lists.example", "any@far.example"),
        ("dave+z@moved.example", "dave+z@new.example"),
        ("eve+x@mx.here", "name-with-extension@far.example"),
        ("eve+y@mx.here", "name+y@far.example"),
        ("eve@far.example", ""),
    ],
)
def test_the_more_exact_key_counts(address: str, result: str) -> None:
    virtual = routing(
        {
            "bob+x@lists.example": "with-extension@far.example",
            "bob@lists.example": "without@far.example",
            "@lists.example": "any@far.example",
            "@moved.example": "@new.example",
            "eve+x": "name-with-extension@far.example",
            "eve": "name@far.example",
        }
    ).virtual
    if not result:
        assert virtual.alias(Address.parse(address)) is None
        return
    alias = virtual.alias(Address.parse(address))
    assert alias is not None
    (target,) = alias.targets
    assert target.address is not None
    extended = str(target.address).replace("@", f"{alias.extension}@", 1)
    assert extended == result


def test_what_an_alias_gives_is_looked_up_again_and_each_result_counts_once() -> None:
    run = expansion(
        {
            "all@lists.example": "some@lists.example, more@lists.example, x@far.example",
            "some@lists.example": "bob@boxes.example, x@far.example",
            "more@lists.example": "bob@boxes.example, carol",
            "carol": "carol@boxes.example",
        }
    )
    assert run("all@lists.example") == ["bob@boxes.example", "x@far.example", "carol@boxes.example"]


def test_an_address_in_its_own_alias_is_itself() -> None:
    run = expansion({"bob@boxes.example": "bob@boxes.example, copy@far.example"})
    assert run("bob@boxes.example") == ["bob@boxes.example", "copy@far.example"]


def test_aliases_that_lead_in_a_circle_end() -> None:
    run = expansion({"a@lists.example": "b@lists.example", "b@lists.example": "a@lists.example"})
    assert run("a@lists.example") == ["a@lists.example"]


def test_aliases_that_never_end_wait_for_who_can_mend_them() -> None:
    run = expansion(lambda key, is_part: None if is_part else "x" + key)
    assert run("a@lists.example") == ["4.3.5"]


def test_a_user_of_this_host_goes_on_to_aliases_and_these_to_virtual_aliases_but_not_in_a_circle() -> None:
    local = {"bob": Alias(tuple(parse_list("robert, bob@lists.example, team@lists.example")))}
    run = expansion({"bob@lists.example": "bob", "team@lists.example": "x@far.example"}, local)
    assert run("bob@lists.example") == ["robert", "bob@lists.example", "x@far.example"]


def test_programs_and_files_are_no_virtual_aliases() -> None:
    for text in ("|touch /nowhere", "/etc/passwd", ":include:/etc/passwd", "\\bob", ""):
        assert expansion({"a@lists.example": text})("a@lists.example") == ["4.3.5"]


def test_a_table_that_cannot_be_asked_defers() -> None:
    assert expansion(broken)("a@lists.example") == ["4.3.0"]


def test_what_was_visited_is_not_opened_again() -> None:
    run = expansion(
        {"a@lists.example": "b@lists.example", "b@lists.example": "c@far.example"}, visited=("@b@lists.example",)
    )
    assert run("a@lists.example") == ["b@lists.example"]


@pytest.mark.parametrize(
    ("address", "transport", "nexthop", "target", "extension"),
    [
        ("Bob@Boxes.example", VIRTUAL, "bob@boxes.example", "5001:/var/vmail/bob/", ""),
        ("bob+work@boxes.example", VIRTUAL, "bob+work@boxes.example", "5001:/var/vmail/work/", ""),
        ("bob+News@boxes.example", VIRTUAL, "bob+news@boxes.example", "5001:/var/vmail/bob/", "News"),
        ("nobody@boxes.example", ERROR, '5.1.1 unknown user: "nobody@boxes.example"', "", ""),
        ("carol@boxes.example", RETRY, "4.3.5 virtual_uid_maps has no number for carol@boxes.example", "", ""),
        ("dave@boxes.example", RETRY, "4.3.5 virtual_uid_maps has no number for dave@boxes.example", "", ""),
        ("nobody@lists.example", ERROR, "5.1.1 User unknown in virtual alias table", "", ""),
    ],
)
def test_a_virtual_domain_has_its_mailboxes_and_nobody_else(
    address: str, transport: str, nexthop: str, target: str, extension: str
) -> None:
    route = routing({}).route(Address.parse(address))
    assert (route.transport, route.nexthop, route.target, route.extension) == (transport, nexthop, target, extension)
    assert route.uid == (5000 if transport == VIRTUAL else -1)


def test_a_virtual_domain_may_have_another_transport() -> None:
    route = routing({}, virtual_transport="lmtp:unix:/run/store").route(Address.parse("bob@boxes.example"))
    assert (route.transport, route.nexthop) == ("lmtp", "unix:/run/store")


def test_a_table_of_mailboxes_that_cannot_be_asked_defers() -> None:
    config = Config({name: Setting(text, "test") for name, text in SETTINGS.items()})
    for maps in (VirtualMaps(mailboxes=broken), VirtualMaps(mailbox_domains=broken)):
        route = Routing(config, Maps(virtual=maps)).route(
            Address.parse("bob@boxes.example" if maps.mailboxes is broken else "x@y.example")
        )
        assert route.transport == RETRY and route.nexthop.startswith("4.3.0 ")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("bob@boxes.example", ""),
        ("bob+any@boxes.example", ""),
        ("nobody@boxes.example", "User unknown in virtual mailbox table"),
        ("alias@boxes.example", ""),
        ("list@lists.example", ""),
        ("nobody@lists.example", "User unknown in virtual alias table"),
        ("only-virtual@mx.here", ""),
        ("nobody@mx.here", "User unknown in local recipient table"),
        ("any@far.example", ""),
    ],
)
def test_who_is_known(address: str, why: str) -> None:
    aliases = {"alias@boxes.example": "x@y", "list@lists.example": "x@y", "only-virtual": "x@y"}
    known = LocalRecipients(routing(aliases), [lambda name: False])
    assert known.why_unknown(Address.parse(address)) == why


def test_mail_for_virtual_domains_is_taken_from_anybody() -> None:
    asked = routing({})
    assert asked.is_relayed("lists.example") and asked.is_relayed("Boxes.example")
    assert not asked.is_relayed("far.example") and not asked.is_relayed("sub.boxes.example")


def test_without_virtual_domains_nothing_is_looked_up() -> None:
    config = Config({"myhostname": Setting("mx.here", "test")})
    maps = VirtualMaps(mailboxes=broken, uids=broken, gids=broken)
    assert Routing(config, Maps(virtual=maps)).route(Address.parse("a@far.example")).nexthop == "far.example"


def test_an_alias_that_went_away_meanwhile_defers() -> None:
    assert expansion({})("a@lists.example") == ["4.3.0"]
