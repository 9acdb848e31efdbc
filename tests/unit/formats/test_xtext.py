"""xtext (RFC 3461 4)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.formats.xtext import address_in, encode, original_recipient


def decoded(text: str) -> bytes:
    """Decode by the letter of the RFC: "+" and two upper-case hexadecimal digits are an octet."""
    return re.sub(rb"\+([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text.encode("ascii"))


@given(st.binary())
def test_any_octets_are_encoded_as_xtext_and_can_be_decoded(data: bytes) -> None:
    text = encode(data.decode("utf-8", "surrogateescape"))
    assert re.fullmatch(r"([!-*,-<>-~]|\+[0-9A-F]{2})*", text)
    assert decoded(text) == data


def test_plus_equals_and_blanks_are_encoded_and_plain_text_is_not() -> None:
    assert encode("a+b=c d") == "a+2Bb+3Dc+20d"
    assert encode("QQ314159!#/~") == "QQ314159!#/~"


def test_an_original_recipient_names_its_kind_of_address() -> None:
    assert original_recipient(Address("a b", "example.org")) == 'rfc822;"a+20b"@example.org'


@given(st.binary(min_size=1))
def test_the_address_in_an_original_recipient_is_the_one_that_was_given(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert address_in("rfc822;" + encode(text)) == text


def test_what_is_no_xtext_is_shown_as_it_is() -> None:
    assert address_in("rfc822;bob+lists@x") == "bob+lists@x"
    assert address_in("") == ""
