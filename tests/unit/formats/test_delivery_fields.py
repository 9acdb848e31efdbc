"""Return-Path, X-Original-To and Delivered-To."""

from sendmail_py.core.address import NULL_SENDER, Address
from sendmail_py.core.envelope import Recipient
from sendmail_py.formats.delivery_fields import delivered_to, delivery_fields, is_among


def test_the_original_recipient_is_shown_when_it_differs() -> None:
    recipients = [Recipient(Address("bob", "x"), "rfc822;postmaster@x"), Recipient(Address("al", "x"), "rfc822;al@x")]
    assert delivery_fields(Address("a b", "y"), recipients) == (
        b'Return-Path: <"a b"@y>\nX-Original-To: postmaster@x\nDelivered-To: bob@x\nDelivered-To: al@x\n'
    )


def test_the_original_recipient_is_shown_as_it_was_written() -> None:
    recipients = [Recipient(Address("bob", "x"), "rfc822;a+2Bb@x"), Recipient(Address("al+1", "x"), "rfc822;al+2B1@x")]
    fields = delivery_fields(NULL_SENDER, recipients)
    assert fields == b"Return-Path: <>\nX-Original-To: a+b@x\nDelivered-To: bob@x\nDelivered-To: al+1@x\n"


def test_the_null_sender_is_an_empty_return_path() -> None:
    assert delivery_fields(NULL_SENDER, []) == b"Return-Path: <>\n"


def test_an_original_recipient_cannot_add_a_field() -> None:
    for original in ("rfc822;x\nBcc: evil", "rfc822;x+0ABcc:+20evil"):
        assert delivery_fields(NULL_SENDER, [Recipient(Address("bob"), original)]).count(b"\n") == 3


def test_octets_that_are_no_utf8_come_back_as_they_were() -> None:
    address = Address(b"b\xf6b".decode("utf-8", "surrogateescape"), "x")
    fields = delivery_fields(NULL_SENDER, [Recipient(address)])
    assert b"Delivered-To: b\xf6b@x\n" in fields
    assert is_among(address, delivered_to(fields))


def test_delivered_to_is_found_in_any_spelling_and_only_as_a_field_name() -> None:
    header = (
        b"DELIVERED-TO:<Bob@Example.NET>\r\nX-Delivered-To: carol@x\nSubject: delivered-to: dave@x\ndelivered-to: al@x"
    )
    assert delivered_to(header) == {"bob@example.net", "al@x"}
    assert is_among(Address("BOB", "example.net"), delivered_to(header))
    assert not is_among(Address("carol", "x"), delivered_to(header))
