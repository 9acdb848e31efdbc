"""Tables as text: names, keys, values, networks, socketmap answers."""

import pytest

from sendmail_py.formats.tables import (
    CidrTable,
    netstring,
    parse_inline,
    parse_names,
    parse_text,
    socketmap_reply,
    split_name,
)


def test_a_text_table_has_a_key_and_a_value_a_line_and_keys_know_no_case() -> None:
    table = parse_text('# x\nExample.com  smtp:[a]\n\tcontinued\n"john smith"@a.test x y\n')
    assert table.look_up("EXAMPLE.COM") == "smtp:[a] continued"
    assert table.look_up('"john smith"@a.test') == "x y"
    assert table.look_up("other") is None and table.faults == []


def test_the_first_of_two_entries_counts_and_faults_name_their_lines() -> None:
    table = parse_text("a one\na two\nlonely\n")
    assert table.look_up("a") == "one" and table.look_up("lonely") is None
    assert table.faults == ['line 2: duplicate entry "a"', "line 3: a key and a value are expected"]


def test_a_line_without_a_value_counts_where_names_alone_are_asked_for() -> None:
    assert parse_names("Bob\ncarol OK\n") == frozenset({"bob", "carol"})


@pytest.mark.parametrize("text", ["ldap:/etc/x", "/etc/x", "hash:relative", "cidr:x", "unix:passwd.byname"])
def test_a_table_that_can_never_work_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        split_name(text)


def test_proxy_before_a_type_means_nothing() -> None:
    assert split_name("proxy:hash:/etc/x") == ("hash", "/etc/x")


def test_an_inline_table_may_hold_blanks_within_braces() -> None:
    table = parse_inline("{a=b, {C = d e}}")
    assert (table.look_up("A"), table.look_up("c"), table.look_up("x")) == ("b", "d e", None)


@pytest.mark.parametrize("text", ["a=b", "{}", "{a}", "{=b}", "{a=}"])
def test_an_inline_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_inline(text)


CIDR = "192.0.2.1 host\n192.0.2.0/24 net\nif 2001:db8::/32\n2001:db8:1::/48 inner\nendif\n!10.0.0.0/8 not-ten\n"


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("192.0.2.1", "host"),
        ("192.0.2.9", "net"),
        ("2001:db8:1::5", "inner"),
        ("[2001:db8:1::5]", "inner"),
        ("10.1.2.3", None),
        ("198.51.100.1", "not-ten"),
        ("no address", None),
    ],
)
def test_the_first_network_that_an_address_is_in_gives_the_value(address: str, value: str | None) -> None:
    table = CidrTable(CIDR)
    assert table.faults == [] and table.look_up(address) == value


@pytest.mark.parametrize("line", ["192.0.2.1/24 x", "192.0.2.0/24", "nonsense x", "if 10.0.0.0/8", "endif"])
def test_a_faulty_line_of_a_cidr_table_is_named(line: str) -> None:
    assert CidrTable(f"{line}\n").faults


def test_socketmap_answers_are_read_and_what_is_no_answer_is_an_error() -> None:
    assert netstring("map käy") == b"8:map k\xc3\xa4y,"
    assert (socketmap_reply(b"OK a value"), socketmap_reply(b"NOTFOUND ")) == ("a value", None)
    for text in (b"TEMP later", b"PERM never", b"", b"ok x"):
        with pytest.raises(ValueError):
            socketmap_reply(text)
