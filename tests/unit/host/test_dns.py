"""DNS questions against a real little name server."""

import asyncio
import os
import sys

import dns.message
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "servers"))

from name_server import NameServer

from sendmail_py.core.lookup import Found
from sendmail_py.host.dns import Resolver, _parse
from sendmail_py.host.name_servers import parse_server, system_servers

ZONE = {
    "example.test": {"MX": ["10 mx1.example.test.", "20 MX2.example.test."], "A": ["192.0.2.5"]},
    "mx1.example.test": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    "v4.test": {"A": ["192.0.2.4"]},
    "null.test": {"MX": ["0 ."]},
    "broken.test": {"rcode": "SERVFAIL"},
    "refused.test": {"rcode": "REFUSED"},
    "garbled.test": {"garble": True, "MX": ["10 mx.garbled.test."]},
    "silent.test": {"silent": True},
    "cut.test": {"truncate": True, "MX": [f"{n} mx{n}.cut.test." for n in range(60)]},
    "alias.test": {"CNAME": ["example.test."]},
    "far.test": {"CNAME": ["alias.test."], "leave_cname": True},
    "circle.test": {"CNAME": ["circle2.test."], "leave_cname": True},
    "circle2.test": {"CNAME": ["circle.test."], "leave_cname": True},
    "once.test": {"A": ["192.0.2.6"], "ttl": 0},
    "dangling.test": {"CNAME": ["nowhere.test."]},
}


SECURE = {
    "mx.signed.test": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "secure": True},
    "signed.test": {"MX": ["10 mx.signed.test."], "secure": True},
    "plain.test": {"MX": ["10 mx.signed.test."], "A": ["192.0.2.9"]},
    "alias.signed.test": {"CNAME": ["mx.signed.test."], "secure": True},
    "far.signed.test": {"CNAME": ["mx.signed.test."], "leave_cname": True, "secure": True},
    "out.signed.test": {"CNAME": ["plain.test."], "secure": True},
    "far-out.signed.test": {"CNAME": ["plain.test."], "leave_cname": True, "secure": True},
    "in.plain.test": {"CNAME": ["mx.signed.test."], "leave_cname": True},
    "_25._tcp.mx.signed.test": {"TLSA": [f"3 1 1 {'ab' * 32}", f"2 0 2 {'cd' * 64}"], "secure": True},
    "_25._tcp.alias.signed.test": {"CNAME": ["_25._tcp.mx.signed.test."], "secure": True},
    "_25._tcp.short.signed.test": {"TLSA": [f"3 1 1 {'ab' * 20}", f"3 1 1 {'ab' * 32}"], "secure": True},
    "_25._tcp.shortest.signed.test": {"TLSA": ["3 1 1 abcd"], "secure": True},
    "_25._tcp.cut.signed.test": {"TLSA": [f"3 0 0 30{n:02x}{'00' * n}" for n in range(60)], "truncate": True},
    "_25._tcp.broken.signed.test": {"rcode": "SERVFAIL"},
}


@pytest.fixture(scope="module")
def signed():
    with NameServer(SECURE) as server:
        yield server


@pytest.fixture(scope="module")
def server():
    with NameServer(ZONE) as server:
        yield server


def ask(server, *questions, timeout=20, families=("AAAA", "A"), servers=None, trusted=()):
    """Ask the questions (method, name) one after another of one resolver."""

    async def all_of_them():
        resolver = Resolver(servers or [parse_server(server.address)], timeout, families, trusted)
        return [await getattr(resolver, how)(name) for how, name in questions]

    return asyncio.run(all_of_them())


def test_mx_records_are_pairs_of_preference_and_host(server):
    (answer,) = ask(server, ("mx", "Example.test"))
    assert answer.found is Found.YES
    assert sorted(answer.hosts) == [(10, "mx1.example.test"), (20, "mx2.example.test")]


def test_addresses_of_both_families_are_found(server):
    both, four = ask(server, ("addresses", "mx1.example.test"), ("addresses", "v4.test"))
    assert set(both.addresses) == {"192.0.2.1", "2001:db8::1"}
    assert four.addresses == ("192.0.2.4",)


def test_a_family_that_is_turned_off_is_not_asked_for(server):
    before = len(server.questions)
    (answer,) = ask(server, ("addresses", "mx1.example.test"), families=("A",))
    assert answer.addresses == ("192.0.2.1",)
    assert server.questions[before:] == [("mx1.example.test", "A", "udp")]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nowhere.test", Found.NO_DOMAIN),
        ("v4.test", Found.NO_DATA),
        ("broken.test", Found.TEMPORARY),
        ("refused.test", Found.TEMPORARY),
        ("circle.test", Found.TEMPORARY),
        ("dangling.test", Found.NO_DOMAIN),
        ("a b.test", Found.NO_DOMAIN),
        ("x" * 64 + ".test", Found.NO_DOMAIN),
        ("a..test", Found.NO_DOMAIN),
    ],
)
def test_each_kind_of_no_is_told_apart(server, name, found):
    (answer,) = ask(server, ("mx", name))
    assert (answer.found, answer.hosts) == (found, ())


def test_a_host_without_addresses_has_none_of_all_families_that_were_asked_for(server):
    (answer,) = ask(server, ("addresses", "null.test"))
    assert (answer.found, answer.reason) == (Found.NO_DATA, "no A or AAAA record")


def test_noise_is_temporary(server):
    for answer in ask(server, *[("mx", "garbled.test")] * 20):
        assert answer.found is Found.TEMPORARY or answer.hosts


def test_silence_is_temporary_and_bounded(server):
    (answer,) = ask(server, ("mx", "silent.test"), timeout=0.5)
    assert answer.found is Found.TEMPORARY


def test_the_null_mx_is_an_empty_host(server):
    (answer,) = ask(server, ("mx", "null.test"))
    assert answer.hosts == ((0, ""),)


def test_a_cut_answer_is_fetched_over_tcp(server):
    (answer,) = ask(server, ("mx", "cut.test"))
    assert len(answer.hosts) == 60
    assert ("cut.test", "MX", "tcp") in server.questions


def test_cnames_are_followed_by_server_or_client(server):
    answers = ask(server, ("mx", "alias.test"), ("mx", "far.test"))
    assert {len(answer.hosts) for answer in answers} == {2}


def test_an_answer_is_kept_for_its_ttl(server):
    before = len(server.questions)
    ask(server, *[("mx", "example.test")] * 3, *[("mx", "nowhere.test")] * 3)
    assert len(server.questions) - before == 2


def test_an_answer_of_ttl_zero_is_used_once(server):
    before = len(server.questions)
    ask(server, *[("addresses", "once.test")] * 3, families=("A",))
    assert len(server.questions) - before == 3


def test_trouble_is_not_kept(server):
    before = len(server.questions)
    ask(server, *[("mx", "broken.test")] * 2)
    assert len(server.questions) - before == 2


def test_one_question_serves_all_who_wait_for_it(server):
    async def many():
        resolver = Resolver([parse_server(server.address)], 5)
        return await asyncio.gather(*(resolver.mx("example.test") for _ in range(50)))

    before = len(server.questions)
    assert len(asyncio.run(many())) == 50
    assert len(server.questions) - before == 1


def test_the_next_server_answers_for_a_broken_one(server):
    with NameServer({"example.test": {"rcode": "SERVFAIL"}}) as broken:
        (answer,) = ask(
            server, ("mx", "example.test"), servers=[parse_server(broken.address), parse_server(server.address)]
        )
    assert answer.found is Found.YES


def test_a_dead_server_is_temporary():
    with NameServer({}) as gone:
        port = gone.port
    (answer,) = ask(None, ("mx", "example.test"), servers=[("127.0.0.1", port)])
    assert answer.found is Found.TEMPORARY


def test_servers_are_read_from_resolv_conf(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# comment\nsearch x.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions edns0\n")
    servers = system_servers(str(path))
    assert list(servers) == [("192.0.2.1", 53), ("2001:db8::1", 53)]
    assert list(system_servers(str(tmp_path / "none"))) == [("127.0.0.1", 53)]
    path.write_text("nameserver 192.0.2.99\n")  # another network: who asks the old ones waits for nothing
    assert list(servers) == [("192.0.2.99", 53)]


@pytest.mark.parametrize(
    ("text", "server"),
    [("192.0.2.1", ("192.0.2.1", 53)), ("192.0.2.1:54", ("192.0.2.1", 54)), ("[2001:db8::1]:54", ("2001:db8::1", 54)),
     ("[2001:db8::1]", ("2001:db8::1", 53)), ("2001:db8::1", ("2001:db8::1", 53))],
)  # fmt: skip
def test_a_name_server_is_an_address_with_a_port(text, server):
    assert parse_server(text) == server


@pytest.mark.parametrize(
    ("name", "secure", "canonical"),
    [
        ("mx.signed.test", {"192.0.2.1", "2001:db8::1"}, ""),
        ("MX.signed.test.", {"192.0.2.1", "2001:db8::1"}, ""),
        ("alias.signed.test", {"192.0.2.1", "2001:db8::1"}, "mx.signed.test"),
        ("far.signed.test", {"192.0.2.1", "2001:db8::1"}, "mx.signed.test"),
        ("plain.test", set(), ""),
        ("out.signed.test", set(), "plain.test"),
        ("far-out.signed.test", set(), "plain.test"),
        ("in.plain.test", set(), "mx.signed.test"),
    ],
)
def test_an_address_is_secure_when_all_on_the_way_to_it_is(signed, name, secure, canonical):
    trusting, doubting = (ask(signed, ("addresses", name), trusted=trusted)[0] for trusted in (["127.0.0.1"], []))
    assert (set(trusting.secure), trusting.canonical) == (secure, canonical)
    assert (set(doubting.secure), doubting.canonical) == (set(), canonical)
    assert trusting.addresses


def test_an_mx_record_may_be_secure(signed):
    yes, no = ask(signed, ("mx", "signed.test"), ("mx", "plain.test"), trusted=["127.0.0.1"])
    assert (yes.is_secure, no.is_secure) == (True, False)


def test_an_alias_may_be_secure_whatever_it_stands_for(signed):
    names = ("out.signed.test", "in.plain.test", "mx.signed.test", "broken.signed.test")
    assert ask(signed, *(("is_secure_alias", n) for n in names), trusted=["127.0.0.1"]) == [True, False, None, None]


def test_tlsa_records_are_four_fields(signed):
    plain, alias = ask(
        signed, ("tlsa", "_25._tcp.mx.signed.test"), ("tlsa", "_25._tcp.alias.signed.test"), trusted=["127.0.0.1"]
    )
    for answer in (plain, alias):
        assert (answer.found, answer.is_secure) == (Found.YES, True)
        assert set(answer.records) == {(3, 1, 1, b"\xab" * 32), (2, 0, 2, b"\xcd" * 64)}


def test_a_tlsa_record_that_is_impossible_spoils_no_other_and_is_not_forgotten(signed):
    some, none = ask(signed, ("tlsa", "_25._tcp.short.signed.test"), ("tlsa", "_25._tcp.shortest.signed.test"))
    assert (3, 1, 1, b"\xab" * 32) in some.records
    assert (none.found, len(none.records)) == (Found.YES, 1)


def test_a_tlsa_answer_that_is_none_is_a_temporary_failure(signed):
    (answer,) = ask(signed, ("tlsa", "_25._tcp.broken.signed.test"))
    assert (answer.found, answer.records) == (Found.TEMPORARY, ())


def test_an_answer_cut_anywhere_is_none_also_where_impossible_records_are_passed_over(signed):
    query = dns.message.make_query("_25._tcp.short.signed.test", "TLSA")
    wire = signed._answer(query.to_wire(), "udp")
    assert _parse(wire, True)
    assert not any(_parse(wire[:length], True) for length in range(len(wire)))


def test_many_tlsa_records_come_over_tcp(signed):
    (answer,) = ask(signed, ("tlsa", "_25._tcp.cut.signed.test"))
    assert len(answer.records) == 60
