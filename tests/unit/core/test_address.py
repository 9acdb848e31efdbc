"""Address: both halves survive being written, and nothing can end a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.address import NULL_SENDER, Address, needs_quotes

locals_ = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
odd_locals = st.text('ab."@\\ <>\t\u00e4', max_size=8)
domains = st.text("abcXYZ019-.[]:\u00e4", max_size=12)


@given(locals_ | odd_locals, domains)
def test_an_address_is_read_back_as_it_was_written(local_part: str, domain: str) -> None:
    if set("\0\r\n") & set(local_part):
        with pytest.raises(ValueError):
            Address(local_part, domain)
        return
    again = Address.parse(str(Address(local_part, domain)))
    assert (again.local_part, again.domain) == (local_part, domain)


@given(odd_locals)
def test_any_text_can_be_read_and_what_it_means_is_written_again(text: str) -> None:
    address = Address.parse(text)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("octet", ["\0", "\r", "\n"])
def test_a_line_break_or_nul_is_refused_in_either_half(octet: str) -> None:
    with pytest.raises(ValueError, match="line break or NUL"):
        Address(f"a{octet}b", "example.org")
    with pytest.raises(ValueError, match="line break or NUL"):
        Address("a", f"example.org{octet}")
    with pytest.raises(ValueError, match="line break or NUL"):
        Address.parse(f'"a\\{octet}"@example.org')


@pytest.mark.parametrize(
    ("text", "local_part", "domain"),
    [
        ("bob@example.org", "bob", "example.org"),
        ("bob", "bob", ""),
        ('"a b"@x', "a b", "x"),
        ('"a@b"@x', "a@b", "x"),
        ('"a@b"', "a@b", ""),
        ('"a\\"@b"@x', 'a"@b', "x"),
        ('""@x', "", "x"),
        ("a@b@x", "a@b", "x"),
        ('"open@x', '"open', "x"),
        ("", "", ""),
    ],
)
def test_only_the_at_sign_outside_quotes_parts_the_halves(text: str, local_part: str, domain: str) -> None:
    address = Address.parse(text)
    assert (address.local_part, address.domain) == (local_part, domain)


@pytest.mark.parametrize("local_part", ["", ".a", "a.", "a..b", "a b", 'a"b', "a@b", "a(b", "a,b", "a\tb"])
def test_a_local_part_that_is_no_dot_atom_is_quoted(local_part: str) -> None:
    assert needs_quotes(local_part)
    assert str(Address(local_part, "x")).startswith('"')


@pytest.mark.parametrize("local_part", ["a", "a.b", "a+b", "o'brien", "a=b/c", "j\u00f6rg", "\udcff"])
def test_a_dot_atom_is_not_quoted(local_part: str) -> None:
    assert str(Address(local_part, "x")) == f"{local_part}@x"


def test_the_case_of_a_domain_does_not_matter_and_that_of_a_local_part_does() -> None:
    assert Address("Bob", "EXAMPLE.org") == Address("Bob", "example.ORG")
    assert len({Address("Bob", "EXAMPLE.org"), Address("Bob", "example.ORG")}) == 1
    assert Address("Bob", "example.org") != Address("bob", "example.org")


def test_the_null_reverse_path_is_false_and_empty() -> None:
    assert not NULL_SENDER and str(NULL_SENDER) == "" and Address.parse("") == NULL_SENDER
    assert Address("postmaster") and Address("", "x")


def test_an_address_above_ascii_needs_smtputf8() -> None:
    assert Address("a", "b").is_ascii
    assert not Address("\u00e4", "b").is_ascii and not Address("a", "\u00e4").is_ascii
