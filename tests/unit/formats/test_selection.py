"""The limits of sendmail -q: which messages they select, and what is no limit."""

import pytest

from sendmail_py.formats.selection import Selection, by_origin, from_rows, parse

MESSAGES = {
    "660EE6B8F4E40512A": ("alice@Example.org", ["bob@example.net", "carol@example.com"]),
    "660EE6B8F4E41512B": ("", ["bob@example.net"]),
    "660EE6B8F4E42512C": ("dan@example.net", ["eve@example.org"]),
}


def selected(selection: Selection) -> str:
    """Return the last letters of the ids that are selected."""
    return "".join(q[-1] for q, (sender, to) in MESSAGES.items() if selection.selects(q, sender, to))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], "ABC"),
        ([""], "ABC"),
        (["I512A"], "A"),
        (["I660EE6B8"], "ABC"),
        (["I512a"], ""),
        (["!I512A"], "BC"),
        (["I512A", "I512C"], "AC"),
        (["!I512A", "!I512B"], "ABC"),
        (["Rexample.com"], "A"),
        (["RBOB@"], "AB"),
        (["Rbob@example.net>"], "AB"),
        (["R<arol"], ""),
        (["!Rbob"], "AC"),
        (["Sexample.ORG"], "A"),
        (["S<>"], "B"),
        (["!S@"], "B"),
        (["S@", "Rexample.org"], "C"),
        (["I512A", "I512B", "S<>"], "B"),
        (["I", "R", "S"], "ABC"),
        (["f"], "ABC"),
        (["Gmqueue"], "ABC"),
        (["30m"], "ABC"),
        (["30m", "I512B"], "B"),
        (["L"], ""),
        (["Q"], ""),
        (["Qspam"], ""),
        (["!Qspam"], ""),
    ],
)
def test_limits_of_one_kind_are_alternatives_and_kinds_must_hold_together(values: list[str], found: str) -> None:
    selection = parse(values)
    assert selected(selection) == found
    assert selection.is_nothing == any(value.strip("!")[:1] in ("L", "Q") for value in values)


@pytest.mark.parametrize("value", ["0", "30m", "1h30m", "90", "1W", "p", "p5m", "1h30"])
def test_an_interval_limits_nothing(value: str) -> None:
    assert parse([value]).limits == ()


@pytest.mark.parametrize(
    "value", ["x", "m30", "30x", "p30x", "!", "!30m", "!f", "!L", "Gother", "G", "-1", "F", "\u0661m"]
)
def test_what_is_no_form_is_named_in_one_line(value: str) -> None:
    with pytest.raises(ValueError, match=r"^-q") as raised:
        parse([value])
    assert f"-q{value}:" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_whole_ids_select_these_messages_only() -> None:
    assert selected(by_origin(["660EE6B8F4E41512B", "0EE6B8F4E42512C"], [], [])) == "B"


@pytest.mark.parametrize(
    ("senders", "domains", "found"),
    [
        (["<>"], [], "B"),
        (["alice@example.ORG"], [], "A"),
        (["lice@example.org"], [], ""),
        ([], ["Example.com."], "A"),
        ([], ["@example.net", "example.org"], "ABC"),
        ([], ["ample.net"], ""),
        (["dan@example.net"], ["example.net"], ""),
    ],
)
def test_a_flush_selects_whole_senders_and_whole_domains(senders: list[str], domains: list[str], found: str) -> None:
    selection = by_origin([], senders, domains)
    assert selected(selection) == found
    assert from_rows(selection.rows()) == selection and selection.is_by_origin


@pytest.mark.parametrize("values", [["I5", "!R<b", "Sx"], []])
def test_a_selection_travels_in_a_request(values: list[str]) -> None:
    assert from_rows(parse(values).rows()) == parse(values)


@pytest.mark.parametrize("rows", [[["X", "a", False]], [["I", 5, False]], [["I"]], ["I"], [["nothing", "", False]]])
def test_rows_that_are_no_limits_are_refused(rows: list[list[object]]) -> None:
    with pytest.raises(ValueError, match=r"limit|unpack"):
        from_rows(rows)


@pytest.mark.parametrize(("values", "by_id"), [([], True), (["I5"], True), (["I5", "S<>"], False), (["Rx"], False)])
def test_a_selection_knows_whether_messages_must_be_opened(values: list[str], by_id: bool) -> None:
    assert parse(values).is_by_id == by_id
