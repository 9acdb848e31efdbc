"""transport_maps, relayhosts and the transports of classes of domains, as transport(5) and postconf(5) say."""

from collections.abc import Callable

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.routing.resolve import Routing, named_nexthops, transport_of
from sendmail_py.routing.transport import Maps, parse_transport

LOCAL = {"mydestination": "here.test", "myorigin": "here.test"}
Asked = list[str]


def config_of(**values: str) -> Config:
    return Config({name: Setting(text, "test") for name, text in (LOCAL | values).items()})


def table(values: dict[str, str], asked: Asked | None = None) -> Callable[[str, bool], str | None]:
    def look_up(key: str, partial: bool) -> str | None:
        if asked is not None:
            asked.append(key)
        return values.get(key.lower())

    return look_up


def failing(key: str, partial: bool) -> str | None:
    raise OSError("table hash:/x: No such file or directory")


def place(address: str, transports: dict[str, str] | None = None, sender: str = "a@b.test", **values: str) -> str:
    maps = Maps(table(transports)) if transports is not None else Maps()
    route = Routing(config_of(**values), maps).route(Address.parse(address), Address.parse(sender))
    return f"{route.transport}:{route.nexthop}"


def test_without_tables_a_domain_goes_to_its_own_hosts_or_to_the_relayhost() -> None:
    assert place("x@Far.test") == "smtp:far.test"
    assert place("x@far.test", relayhost="[hub.test]:587") == "smtp:[hub.test]:587"
    assert place("x@here.test", relayhost="[hub.test]") == "local:x"


def test_transport_maps_are_asked_for_the_address_the_domain_its_parents_and_a_star_in_this_order() -> None:
    asked: Asked = []
    routing = Routing(config_of(), Maps(table({}, asked)))
    routing.route(Address("Bob+x", "Sub.Far.test"))
    keys = ["Bob+x@sub.far.test", "Bob@sub.far.test", "sub.far.test", ".far.test", ".test", "*"]
    assert asked == keys


def test_parents_have_no_dot_where_a_domain_stands_for_its_subdomains() -> None:
    parents = {"far.test": "smtp:[p]"}
    assert place("x@sub.far.test", parents) == "smtp:sub.far.test"
    assert place("x@sub.far.test", parents, parent_domain_matches_subdomains="transport_maps") == "smtp:[p]"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("smtp:[gate.test]:26", "smtp:[gate.test]:26"),
        ("relay:[gate.test]", "smtp:[gate.test]"),
        ("smtp:", "smtp:far.test"),
        ("smtp", "smtp:far.test"),
        (":[gate.test]", "smtp:[gate.test]"),
        (":", "smtp:[hub.test]"),
        ("local:", "local:x"),
        ("lmtp:unix:/run/lmtp", "lmtp:unix:/run/lmtp"),
        ("error:5.7.1 not for you", "error:5.7.1 not for you"),
        ("error:not for you", "error:5.0.0 not for you"),
        ("error:", "error:5.0.0 Address is undeliverable"),
        ("error:4.7.1 x", "error:5.7.1 x"),
        ("retry:4.7.0 later", "retry:4.7.0 later"),
        ("retry:", "retry:4.0.0 Address is undeliverable"),
        ("discard:silently", "discard:silently"),
    ],
)
def test_a_table_overrides_transport_and_nexthop_as_far_as_it_says(value: str, where: str) -> None:
    assert place("x@far.test", {"far.test": value}, relayhost="[hub.test]") == where


def test_a_table_applies_to_users_of_this_host_too() -> None:
    assert place("x@here.test", {"*": "smtp:[hub.test]"}) == "smtp:[hub.test]"
    assert place("x", {"x@here.test": "discard:"}) == "discard:"


@pytest.mark.parametrize("value", ["uucp:x", "smtp:[bad", "lmtp:unix:relative"])
def test_what_a_table_says_and_nobody_can_do_waits(value: str) -> None:
    assert place("x@far.test", {"far.test": value}).partition(" ")[0] in ("retry:4.3.5", "smtp:[bad")


def test_a_table_that_cannot_be_asked_makes_mail_wait_and_go_nowhere_else() -> None:
    for maps in (Maps(failing), Maps(sender_relayhost=failing), Maps(relay_domains=failing)):
        route = Routing(config_of(relayhost="[hub.test]"), maps).route(Address("x", "far.test"), Address("a", "b.test"))
        assert (route.transport, route.nexthop[:5]) == ("retry", "4.3.0") and "No such file" in route.nexthop


@pytest.mark.parametrize(
    ("sender", "where"),
    [
        ("alice@one.test", "[one]"),
        ("alice+x@one.test", "[one]"),
        ("bob@one.test", "[any-of-one]"),
        ("dan@two.test", "far.test"),
        ("eve@three.test", "[hub]"),
        ("", "[null]"),
    ],
)
def test_a_relayhost_may_depend_on_the_sender(sender: str, where: str) -> None:
    relays = {"alice@one.test": "[one]", "@one.test": "[any-of-one]", "@two.test": "DUNNO", "<>": "[null]"}
    routing = Routing(config_of(relayhost="[hub]"), Maps(sender_relayhost=table(relays)))
    assert routing.route(Address("x", "far.test"), Address.parse(sender)).nexthop == where


def test_classes_of_domains_have_their_transports_and_a_nexthop_there_wins_over_relayhost() -> None:
    values = {"relay_domains": "inner.test", "relay_transport": "relay:[in]", "default_transport": "smtp:[out]"}
    assert place("x@inner.test", relayhost="[hub]", **values) == "smtp:[in]"
    assert place("x@sub.inner.test", **values) == "smtp:[in]"
    assert place("x@far.test", relayhost="[hub]", **values) == "smtp:[out]"
    assert place("x@inner.test", relay_domains="inner.test", relayhost="[hub]") == "smtp:[hub]"


@pytest.mark.parametrize(
    ("setting", "local", "far"),
    [
        ({"relayhost": "[hub]"}, "local:x", "smtp:[hub]"),
        ({"default_transport": "error:5.1.2 this host sends no mail elsewhere"}, "local:x", "error:5.1.2 this host"),
        ({"local_transport": "error:5.1.1 nobody here", "relayhost": "[hub]"}, "error:5.1.1 nobody", "smtp:[hub]"),
        ({"local_transport": "lmtp:unix:/run/lmtp"}, "lmtp:unix:/run/lmtp", "smtp:far.test"),
        ({"local_transport": "smtp:[store]"}, "smtp:[store]", "smtp:far.test"),
    ],
)
def test_a_line_of_main_cf_makes_a_satellite_or_a_host_that_stays_alone(
    setting: dict[str, str], local: str, far: str
) -> None:
    assert place("x@here.test", **setting).startswith(local) and place("x@far.test", **setting).startswith(far)


def test_relay_domains_may_be_tables_and_say_who_may_send_through() -> None:
    routing = Routing(config_of(relay_domains="plain.test"), Maps(relay_domains=table({"listed.test": ""})))
    names = ("plain.test", "sub.plain.test", "listed.test", "a.listed.test", "here.test", "far.test", "test")
    assert [routing.is_relayed(name) for name in names] == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("local_transport", "x:y"), ("default_transport", ""), ("relay_transport", ":x"), ("relayhost", "[bad")],
)
def test_a_parameter_that_names_no_transport_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        Routing(config_of(**{name: value}))


def test_the_nexthops_that_main_cf_names_are_trusted() -> None:
    config = config_of(relayhost="[a], [b]:26", default_transport="smtp:[c]", smtp_fallback_relay="[d]")
    assert named_nexthops(config) == {"[a]", "[b]:26", "[c]", "[d]"}


def test_mailbox_transport_is_not_local() -> None:
    assert transport_of("") is None and transport_of("relay:[x]") == ("smtp", "[x]") == parse_transport("smtp: [x]")
    with pytest.raises(ValueError):
        transport_of("local")
