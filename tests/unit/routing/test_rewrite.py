"""Canonical maps, masquerading, generic maps and copies, as canonical(5) and postconf(5) say."""

import pytest

from sendmail_py.core.address import NULL_SENDER, Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.routing.resolve import Routing
from sendmail_py.routing.rewrite import CLASSES, RewriteMaps, Rewriter, address_keys, class_of_field

HERE = {"mydestination": "here.test", "myorigin": "here.test", "myhostname": "host.here.test"}


def rewriter(settings: dict[str, str] | None = None, **tables: dict[str, str]) -> Rewriter:
    config = Config({name: Setting(text, "test") for name, text in (HERE | (settings or {})).items()})
    maps = {name: lambda key, partial, v=values: v.get(key.lower()) for name, values in tables.items()}
    return Rewriter(config, Routing(config), RewriteMaps(**maps))


def one(it: Rewriter, address: str, kind: str = "header_sender") -> str:
    return str(it.rewritten(Address.parse(address), kind))


def test_keys_are_the_address_without_its_extension_the_user_of_this_host_and_the_domain() -> None:
    config = Config({name: Setting(text, "test") for name, text in HERE.items()})
    routing = Routing(config)
    assert list(address_keys(Address("bob+x", "Here.test"), routing)) == [
        ("bob+x@here.test", False, ""),
        ("bob@here.test", True, "+x"),
        ("bob+x", True, ""),
        ("bob", True, "+x"),
        ("@here.test", True, ""),
    ]
    assert [key for key, _, _ in address_keys(Address("bob", "far.test"), routing)] == ["bob@far.test", "@far.test"]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("bob@here.test", "Bob.Builder@corp.test"),
        ("bob+list@here.test", "Bob.Builder+list@corp.test"),
        ("eve+x@here.test", "exact@corp.test"),
        ("any@old.test", "any@new.test"),
        ("any+x@old.test", "any+x@new.test"),
        ("dan@here.test", "daniel@here.test"),
        ("first@far.test", "third@far.test"),
        ("same@far.test", "same@far.test"),
        ("other@far.test", "other@far.test"),
    ],
)
def test_canonical_maps_give_what_an_address_stands_for(address: str, found: str) -> None:
    table = {
        "bob": "Bob.Builder@corp.test",
        "eve+x@here.test": "exact@corp.test",
        "@old.test": "@new.test",
        "dan@here.test": "daniel",
        "first@far.test": "second@far.test",
        "second@far.test": "third@far.test",
        "same@far.test": "same@far.test",
    }
    assert one(rewriter(canonical=table), address) == found


def test_an_extension_is_kept_only_where_that_is_wanted() -> None:
    table = {"bob": "robert@corp.test"}
    it = rewriter({"propagate_unmatched_extensions": ""}, canonical=table)
    assert one(it, "bob+x@here.test") == "robert@corp.test"


def test_a_rewriting_without_end_and_a_value_that_is_no_address_are_errors() -> None:
    with pytest.raises(ValueError, match="does not come to an end"):
        one(rewriter(canonical={"a@x.test": "b@x.test", "b@x.test": "a@x.test"}), "a@x.test")
    with pytest.raises(ValueError, match="one address is expected"):
        one(rewriter(canonical={"a@x.test": "b@x.test, c@x.test"}), "a@x.test")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ("", "sender_", "recipient_") for kind in CLASSES if kind.endswith(name.strip("_"))],
)
def test_each_canonical_table_applies_to_the_classes_that_main_cf_names_for_it(name: str, kind: str) -> None:
    it = rewriter({f"{name}canonical_classes": kind}, **{f"{name}canonical": {"a@x.test": "b@x.test"}})
    assert [one_kind for one_kind in CLASSES if one(it, "a@x.test", one_kind) == "b@x.test"] == [kind]


def test_tables_apply_to_their_classes() -> None:
    it = rewriter(
        {"canonical_classes": "header_recipient"},
        sender_canonical={"a@x.test": "sender@x.test"},
        recipient_canonical={"a@x.test": "recipient@x.test"},
        canonical={"recipient@x.test": "both@x.test"},
    )
    found = {kind: one(it, "a@x.test", kind) for kind in CLASSES}
    assert found == {
        "envelope_sender": "sender@x.test",
        "header_sender": "sender@x.test",
        "envelope_recipient": "recipient@x.test",
        "header_recipient": "both@x.test",
    }


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("bob@web.corp.test", "bob@corp.test"),
        ("bob@A.B.corp.test", "bob@corp.test"),
        ("bob@corp.test", "bob@corp.test"),
        ("bob@web.keep.corp.test", "bob@web.keep.corp.test"),
        ("root@web.corp.test", "root@web.corp.test"),
        ("bob@notcorp.test", "bob@notcorp.test"),
    ],
)
def test_masquerading_takes_subdomains_away_but_for_exceptions(address: str, found: str) -> None:
    settings = {"masquerade_domains": "!keep.corp.test corp.test", "masquerade_exceptions": "root"}
    it = rewriter(settings)
    assert one(it, address) == found
    assert one(it, address, "envelope_recipient") == address


def test_generic_maps_are_asked_once_and_the_null_sender_stays() -> None:
    table = {"bob@here.test": "bob.b@isp.test", "bob.b@isp.test": "never@x.test", "@here.test": "me@isp.test"}
    it = rewriter(generic=table)
    found = [str(it.generic(Address.parse(a))) for a in ("bob@here.test", "x@here.test", "x@far.test", "")]
    assert found == ["bob.b@isp.test", "me@isp.test", "x@far.test", ""]


def test_copies_go_to_whom_the_tables_and_always_bcc_name_each_once() -> None:
    it = rewriter(
        {"always_bcc": "archive"},
        sender_bcc={"@here.test": "boss@here.test"},
        recipient_bcc={"vip@far.test": "archive"},
    )
    found = it.copies(Address("a", "here.test"), [Address("vip", "far.test"), Address("x", "far.test")])
    assert [str(a) for a in found] == ["archive@here.test", "boss@here.test"]


def test_nothing_is_active_where_nothing_is_set() -> None:
    assert not rewriter().is_active
    assert rewriter().copies(Address("a", "b.test"), [Address("x", "far.test")]) == []


def test_fields_belong_to_senders_or_recipients() -> None:
    assert class_of_field(b"reply-to") == "header_sender" and class_of_field(b"resent-cc") == "header_recipient"


def test_the_null_sender_stays_what_it_is_though_a_table_has_an_address_for_everybody() -> None:
    config = Config({name: Setting(text, "test") for name, text in HERE.items()})
    everybody = RewriteMaps(sender_canonical=lambda key, partial: "me@corp.test")
    it = Rewriter(config, Routing(config), everybody)
    assert it.rewritten(NULL_SENDER, "envelope_sender") == NULL_SENDER
    assert str(it.rewritten(Address.parse("bob@here.test"), "envelope_sender")) == "me@corp.test"
