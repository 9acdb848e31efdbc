"""Lists in DNS: the names that are asked for, and the answers that count."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.routing.dns_lists import address_label, split_list
from sendmail_py.routing.restriction_scene import HOST, TEXTS, Client, Domains, Subject
from sendmail_py.routing.restrictions import Check, Checks, Rules, parse

DOMAINS = Domains(lambda domain: True, lambda domain: domain != "elsewhere.test")
SUBJECT = Subject(Client("mx.a.test", "192.0.2.1"), "helo.test", Address("x", "sender.test"), Address("y", "rcpt.test"))


def verdict(words: str, zone: dict[str, tuple[str, ...]], subject: Subject = SUBJECT) -> str:
    lists = {name: parse([]) for name in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")}
    lists["recipient"] = parse(words.split())
    return run(Checks(Rules(lists, DOMAINS, unlisted_recipient=False)).rcpt(subject), zone)


def run(check: Check, zone: dict[str, tuple[str, ...]]) -> str:
    try:
        ask = next(check)
        while True:
            assert ask.kind in (HOST, TEXTS)
            ask = check.send(zone.get(f"TXT {ask.value}" if ask.kind == TEXTS else ask.value, ()))
    except StopIteration as end:
        return end.value.text if end.value else ""


@pytest.mark.parametrize(
    ("word", "name", "what"),
    [
        ("reject_rbl_client", "1.2.0.192", "Client host [192.0.2.1]"),
        ("reject_rhsbl_client", "mx.a.test", "Client host [mx.a.test]"),
        ("reject_rhsbl_helo", "helo.test", "Helo command [helo.test]"),
        ("reject_rhsbl_sender", "sender.test", "Sender address [x@sender.test]"),
        ("reject_rhsbl_recipient", "rcpt.test", "Recipient address [y@rcpt.test]"),
    ],
)
def test_who_is_listed_is_rejected(word: str, name: str, what: str) -> None:
    zone = {f"{name}.bl.test": ("127.0.0.2",)}
    assert verdict(f"{word} bl.test", zone) == f"554 5.7.1 Service unavailable; {what} blocked using bl.test"
    assert not verdict(f"{word} other.test", zone)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("listed, see https://bl.test/1",), "; listed, see https://bl.test/1"),
        (("one", "two"), "; one / two"),
        (("x" * 500,), "; " + "x" * 300),
        (("",), ""),
    ],
)
def test_the_list_says_why_in_its_own_words(texts: tuple[str, ...], told: str) -> None:
    zone = {"1.2.0.192.bl.test": ("127.0.0.2",), "TXT 1.2.0.192.bl.test": texts}
    refusal = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test"
    assert verdict("reject_rbl_client bl.test=127.0.0.2", zone) == refusal + told


@pytest.mark.parametrize(
    ("pattern", "answer", "counts"),
    [
        ("", "127.0.0.9", True),
        ("", "192.0.2.1", False),  # a list that has become somebody's web site
        ("=127.0.0.2", "127.0.0.2", True),
        ("=127.0.0.2", "127.0.0.3", False),
        ("=127.0.0.[2..4;9]", "127.0.0.4", True),
        ("=127.0.0.[2..4;9]", "127.0.0.9", True),
        ("=127.0.0.[2..4;9]", "127.0.0.5", False),
        ("=127.0.[1;2].1", "127.0.2.1", True),
    ],
)
def test_only_answers_that_the_filter_names_count(pattern: str, answer: str, counts: bool) -> None:
    assert bool(verdict(f"reject_rbl_client bl.test{pattern}", {"1.2.0.192.bl.test": (answer,)})) is counts


def test_a_list_may_also_permit() -> None:
    words = "permit_dnswl_client wl.test reject"
    assert not verdict(words, {"1.2.0.192.wl.test": ("127.0.0.2",)})
    assert verdict(words, {}).startswith("554")


def test_no_list_opens_the_server_to_relaying() -> None:
    listed = {"1.2.0.192.wl.test": ("127.0.0.2",)}
    stranger = Subject(Client("unknown", "192.0.2.1"), "a.test", Address(""), Address("x", "elsewhere.test"))
    assert verdict("permit_dnswl_client wl.test reject", listed, stranger).startswith("554")


def test_an_ipv6_address_is_asked_for_nibble_by_nibble() -> None:
    assert address_label("2001:db8::1") == "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2"


def test_what_has_no_domain_is_in_no_list_of_domains() -> None:
    nobody = Subject(Client("unknown", "192.0.2.1"), "[192.0.2.1]", Address(""), Address("bob"))
    words = " ".join(f"reject_rhsbl_{what} bl.test" for what in ("client", "helo", "sender", "recipient"))
    assert not verdict(words, {}, nobody)


@pytest.mark.parametrize(
    "text", ["", "bl test", "bl.test=", "bl.test=127.0.0", "bl.test=127.0.0.x", "bl.test=127.0.0.[2..]"]
)
def test_what_is_no_list_is_an_error_at_start(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        split_list(text)
