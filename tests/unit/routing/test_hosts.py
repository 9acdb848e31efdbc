"""The hosts of a destination and their order."""

import random

import pytest

from sendmail_py.core.lookup import AddressAnswer, Found, MxAnswer
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.routing.hosts import Nexthop, Policy, is_forbidden, mail_hosts, parse_nexthop, targets

HOP = Nexthop("example.test", 25, True)


def policy(**more):
    more.setdefault("own_names", {"me.test"})
    return Policy(is_own_address=lambda address: address == "192.0.2.99", **more)


def route(mx, addresses, hop=HOP, **more):
    """Decide for MX pairs (or Found) and addresses by host (or Found); returns texts or the result."""
    answer = MxAnswer(mx) if isinstance(mx, Found) else MxAnswer(Found.YES, tuple(mx))
    chance = random.Random(more.pop("seed", 1))
    hosts = mail_hosts(hop, answer, policy(**more), chance) if hop.uses_mx else [(0, hop.host)]
    if isinstance(hosts, DeliveryResult):
        return hosts
    answers = {}
    for _, host in hosts:
        found = addresses.get(host, Found.NO_DOMAIN)
        answers[host] = AddressAnswer(found) if isinstance(found, Found) else AddressAnswer(Found.YES, tuple(found))
    chosen = targets(hop, hosts, answers, policy(**more), chance)
    return chosen if isinstance(chosen, DeliveryResult) else [t.address for t in chosen]


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("example.test", ("example.test", 25, True)),
        ("example.test:587", ("example.test", 587, True)),
        ("[mail.test]", ("mail.test", 25, False)),
        ("[mail.test]:2525", ("mail.test", 2525, False)),
        ("[mail.test]:submission", ("mail.test", 587, False)),
        ("[mail.test]:submissions", ("mail.test", 465, False)),
        ("example.test:smtp", ("example.test", 25, True)),
        ("[192.0.2.1]", ("192.0.2.1", 25, False)),
        ("[IPv6:2001:db8::1]:26", ("2001:db8::1", 26, False)),
        ("[2001:db8::1]", ("2001:db8::1", 25, False)),
    ],
)
def test_a_nexthop_has_host_port_and_perhaps_brackets(text, hop):
    assert parse_nexthop(text, 25) == Nexthop(*hop)


@pytest.mark.parametrize("text", ["", "[]", "a:b", "a:smtp2", "a:", "a:\u0665", "a:99999", "[a", "a:0", "2001:db8::1"])
def test_a_bad_nexthop_is_refused(text):
    with pytest.raises(ValueError, match="bad nexthop"):
        parse_nexthop(text, 25)


def test_hosts_come_in_order_of_preference():
    addresses = {"a.test": ["192.0.2.1"], "b.test": ["192.0.2.2"]}
    assert route([(20, "b.test"), (10, "a.test")], addresses) == ["192.0.2.1", "192.0.2.2"]


def test_hosts_of_equal_preference_share_the_mail():
    addresses = {"a.test": ["192.0.2.1"], "b.test": ["192.0.2.2"]}
    firsts = {route([(10, "b.test"), (10, "a.test")], addresses, seed=seed)[0] for seed in range(20)}
    assert firsts == {"192.0.2.1", "192.0.2.2"}


def test_without_mx_the_domain_itself_is_the_host():
    assert route(Found.NO_DATA, {"example.test": ["192.0.2.1"]}) == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("mx", "addresses", "outcome", "status"),
    [
        (Found.NO_DOMAIN, {}, Outcome.FAILED, "5.1.2"),
        (Found.TEMPORARY, {}, Outcome.DEFERRED, "4.4.3"),
        ([(0, "")], {}, Outcome.FAILED, "5.1.10"),
        (Found.NO_DATA, {}, Outcome.FAILED, "5.1.2"),
        (Found.NO_DATA, {"example.test": Found.NO_DATA}, Outcome.FAILED, "5.4.4"),
        (Found.NO_DATA, {"example.test": Found.TEMPORARY}, Outcome.DEFERRED, "4.4.3"),
        ([(10, "gone.test")], {}, Outcome.FAILED, "5.4.4"),
        ([(10, "gone.test"), (20, "slow.test")], {"slow.test": Found.TEMPORARY}, Outcome.DEFERRED, "4.4.3"),
        ([(10, "192.0.2.7")], {"192.0.2.7": ["192.0.2.7"]}, Outcome.FAILED, "5.4.4"),
        ([(10, "a.test")], {"a.test": ["127.0.0.1"]}, Outcome.DEFERRED, "4.4.4"),
        ([(10, "a.test")], {"a.test": ["192.0.2.99"]}, Outcome.FAILED, "5.4.6"),
        ([(10, "Me.test"), (20, "b.test")], {"b.test": ["192.0.2.2"]}, Outcome.FAILED, "5.4.6"),
    ],
)
def test_nothing_to_connect_to_has_its_status(mx, addresses, outcome, status):
    result = route(mx, addresses)
    assert (result.outcome, result.status) == (outcome, status)


def test_this_host_in_the_list_drops_it_and_all_that_are_no_better():
    mx = [(10, "a.test"), (20, "me.test"), (20, "b.test"), (30, "c.test")]
    assert route(mx, {h: [f"192.0.2.{n}"] for n, h in enumerate(["a.test", "b.test", "c.test"])}) == ["192.0.2.0"]


def test_this_host_is_also_known_by_its_address():
    mx = [(10, "a.test"), (20, "alias.test"), (30, "c.test")]
    assert route(mx, {"a.test": ["192.0.2.1"], "alias.test": ["192.0.2.99"], "c.test": ["192.0.2.3"]}) == ["192.0.2.1"]


def test_another_port_on_this_host_is_no_loop():
    assert route([(10, "me.test")], {"me.test": ["192.0.2.99"]}, hop=Nexthop("x.test", 2525, True)) == ["192.0.2.99"]


def test_loopback_is_left_out_unless_permitted():
    mx, addresses = [(10, "a.test")], {"a.test": ["127.0.0.1", "192.0.2.1"]}
    assert route(mx, addresses) == ["192.0.2.1"]
    assert sorted(route(mx, addresses, permit_loopback=True)) == ["127.0.0.1", "192.0.2.1"]


def test_a_literal_of_a_recipient_cannot_reach_loopback_but_the_relayhost_can():
    hop = parse_nexthop("[127.0.0.1]", 25)
    addresses = {"127.0.0.1": ["127.0.0.1"]}
    assert route((), addresses, hop=hop).status == "4.4.4"
    assert route((), addresses, hop=hop, trusted=True) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [("127.1.2.3", True), ("0.0.0.0", True), ("0.1.2.3", True), ("::1", True), ("::", True), ("::ffff:127.0.0.1", True),
     ("224.0.0.1", True), ("ff02::1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_forbidden_addresses_are_no_mail_hosts(address, forbidden):
    assert is_forbidden(address) is forbidden


def test_families_take_turns():
    addresses = {"a.test": ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"]}
    chosen = route([(10, "a.test")], addresses, preference="ipv6")
    assert chosen == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]
    assert route([(10, "a.test")], addresses, preference="ipv4")[0] == "192.0.2.1"
    assert {route([(10, "a.test")], addresses, seed=n)[0] for n in range(20)} == {"2001:db8::1", "192.0.2.1"}


def test_only_so_many_addresses_are_tried():
    addresses = {"a.test": [f"192.0.2.{n}" for n in range(20)]}
    assert len(route([(10, "a.test")], addresses)) == 5
    assert len(route([(10, "a.test")], addresses, address_limit=0)) == 20


def test_a_flood_of_mx_hosts_is_cut():
    flood = MxAnswer(Found.YES, tuple((n, f"h{n}.test") for n in range(1000)))
    hosts = mail_hosts(HOP, flood, policy(), random.Random(1))
    assert [host for _, host in hosts] == [f"h{n}.test" for n in range(20)]


@pytest.mark.parametrize(
    ("six", "four", "limit", "kept"),
    [(20, 1, 5, (4, 1)), (1, 20, 5, (1, 4)), (20, 20, 5, (2, 3)), (20, 0, 5, (5, 0)), (0, 20, 5, (0, 5)),
     (2, 2, 5, (2, 2))],
)  # fmt: skip
def test_neither_family_crowds_the_other_out(six, four, limit, kept):
    mx = [(n, f"six{n}.test") for n in range(six)] + [(50 + n, f"four{n}.test") for n in range(four)]
    addresses = {f"six{n}.test": [f"2001:db8::{n:x}"] for n in range(six)}
    addresses |= {f"four{n}.test": [f"192.0.2.{n}"] for n in range(four)}
    answers = {h: AddressAnswer(Found.YES, tuple(addresses[h])) for _, h in mx}
    chosen = targets(HOP, mx, answers, policy(address_limit=limit), random.Random(1))
    count = sum(":" in t.address for t in chosen)
    assert (count, len(chosen) - count) == kept
    unbalanced = targets(HOP, mx, answers, policy(address_limit=limit, balances=False), random.Random(1))
    assert [t.host for t in unbalanced] == [h for _, h in mx][:limit]
