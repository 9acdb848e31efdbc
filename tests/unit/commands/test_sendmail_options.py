"""The options of sendmail(1): every letter that sendmail or Postfix reads is read, by getopt's rules."""

import string

import pytest

from sendmail_py.commands.sendmail_options import MODES, OPTIONS, Options, parse
from sendmail_py.core.errors import UsageError

SENDMAIL = "A:B:b:C:cD:d:e:F:f:Gh:IiL:M:mN:nO:o:p:Q:q:R:r:sTtUV:vX:"
POSTFIX = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"
# -q and -d are used alone too, and then must not take the next word: sendmail gives them a value first.
ALONE_TOO = set("dq")
# Values that mean something are checked; any other text does for the rest.
GOOD = {"B": "7BIT", "R": "hdrs", "N": "failure,delay", "b": "m"}


def letters(getopt_string: str) -> dict[str, bool]:
    """Return the letters of a getopt string, and whether they take a value."""
    rest = getopt_string + " "
    return {c: rest[i + 1] == ":" for i, c in enumerate(getopt_string) if c != ":"}


ALL = {**letters(POSTFIX), **letters(SENDMAIL)}
FLAGS = sorted(letter for letter, has_value in ALL.items() if not has_value)
VALUES = sorted(letter for letter, has_value in ALL.items() if has_value and letter not in ALONE_TOO)


def meaning(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in vars(Options())}


def test_both_programs_agree_on_which_letters_take_a_value() -> None:
    for letter, has_value in letters(POSTFIX).items():
        assert letters(SENDMAIL).get(letter, has_value) == has_value


def test_the_table_has_these_letters_and_no_others() -> None:
    assert set(OPTIONS) == set(ALL)


@pytest.mark.parametrize("letter", FLAGS)
def test_a_flag_takes_no_value(letter: str) -> None:
    assert parse([f"-{letter}", "bob"]).recipients == ["bob"]


@pytest.mark.parametrize("letter", VALUES)
def test_a_value_may_be_attached_or_the_next_word(letter: str) -> None:
    value = GOOD.get(letter, "value")
    attached, separate = parse([f"-{letter}{value}", "bob"]), parse([f"-{letter}", value, "bob"])
    assert attached.recipients == separate.recipients == ["bob"]
    assert meaning(attached) == meaning(separate)


@pytest.mark.parametrize("letter", sorted(ALONE_TOO))
def test_q_and_d_take_only_what_is_attached(letter: str) -> None:
    assert parse([f"-{letter}", "bob"]).recipients == ["bob"]
    assert parse([f"-{letter}15m", "bob"]).recipients == ["bob"]


@pytest.mark.parametrize("letter", VALUES)
def test_a_value_that_is_missing_is_a_usage_error(letter: str) -> None:
    with pytest.raises(UsageError, match=f"-{letter} needs a value"):
        parse(["-i", f"-{letter}"])


@pytest.mark.parametrize("letter", VALUES)
def test_a_value_may_begin_with_a_dash(letter: str) -> None:
    if letter not in GOOD:
        assert parse([f"-{letter}", "-t", "bob"]).recipients == ["bob"]
        assert not parse([f"-{letter}", "-t", "bob"]).extract


@pytest.mark.parametrize("letter", FLAGS)
@pytest.mark.parametrize("other", FLAGS)
def test_flags_may_share_a_word(letter: str, other: str) -> None:
    assert meaning(parse([f"-{letter}{other}", "bob"])) == meaning(parse([f"-{letter}", f"-{other}", "bob"]))


@pytest.mark.parametrize("letter", VALUES)
def test_a_value_may_end_a_word_of_flags(letter: str) -> None:
    value = GOOD.get(letter, "value")
    wanted = meaning(parse(["-t", "-i", f"-{letter}", value, "bob"]))
    assert meaning(parse([f"-ti{letter}", value, "bob"])) == meaning(parse([f"-ti{letter}{value}", "bob"])) == wanted


@pytest.mark.parametrize("letter", sorted(set(string.ascii_letters + string.digits + "?:-@") - set(ALL)))
def test_a_letter_in_neither_string_is_a_usage_error(letter: str) -> None:
    for word in (f"-i{letter}", f"-{letter}x"):
        with pytest.raises(UsageError) as caught:
            parse([word])
        assert caught.value.exit_code == 64


def test_two_dashes_end_the_options() -> None:
    options = parse(["-i", "--", "-t", "bob"])
    assert options.recipients == ["-t", "bob"] and options.ignore_dots and not options.extract


def test_options_end_at_the_first_recipient_or_lone_dash() -> None:
    assert parse(["bob", "-t"]).recipients == ["bob", "-t"]
    assert parse(["-", "-t"]).recipients == ["-", "-t"]


@pytest.mark.parametrize("letter", ["f", "r"])
def test_an_empty_sender_is_the_null_sender_and_not_a_missing_one(letter: str) -> None:
    assert parse([]).sender is None
    assert parse([f"-{letter}", "", "bob"]).sender == ""
    assert parse([f"-{letter}<>", "bob"]).sender == "<>"


@pytest.mark.parametrize("mode", sorted(MODES))
def test_the_modes_are_told_by_b(mode: str) -> None:
    assert parse([f"-b{mode}"]).mode == mode == parse(["-b", mode]).mode == parse([f"-b{mode}v"]).mode


@pytest.mark.parametrize("words", [["-bZ"], ["-b", ""], ["-bZm"]])
def test_a_mode_that_is_not_there_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)


def test_the_mode_for_testing_rules_is_refused_with_its_reason() -> None:
    with pytest.raises(UsageError, match="no rewriting rules"):
        parse(["-bt"])


def test_only_mailq_has_the_option_j() -> None:
    assert parse(["-vj", "-C/etc"], "mailq").json
    for program in ("sendmail", "newaliases"):
        with pytest.raises(UsageError, match="unknown option -j"):
            parse(["-j"], program)


def test_i_is_newaliases_and_q_a_flush() -> None:
    assert parse(["-I"]).mode == "i"
    assert parse(["-q"]).flush and not parse(["bob"]).flush


def test_every_q_keeps_what_stands_after_it() -> None:
    assert parse(["-q", "-qIabc", "-q!Rbob", "-iq30m", "bob"]).queue == ["", "Iabc", "!Rbob", "30m"]


@pytest.mark.parametrize(
    ("words", "report"),
    [
        (["-v"], True),
        (["-itv"], True),
        (["-vv"], False),
        (["-v", "-v"], False),
        (["-v", "-bm"], True),
        (["-v", "-bs"], False),
        (["-bv", "-v"], False),
        ([], False),
    ],
)
def test_one_v_with_a_message_asks_for_a_report(words: list[str], report: bool) -> None:
    assert parse([*words, "bob"]).report == report


@pytest.mark.parametrize(
    ("words", "deliver_first", "queue_only"),
    [
        (["-odi"], True, False),
        (["-odb"], False, False),
        (["-odq"], False, True),
        (["-odi", "-odb"], False, False),
        (["-odq", "-odi"], True, False),
        (["-odi", "-odq"], False, True),
        (["-odi", "-oi", "-oem"], True, False),
        (["-od", "i"], False, False),
        (["-odinteractive"], True, False),
        (["-odd"], False, True),
        (["-O", "DeliveryMode=i"], True, False),
        (["-ODeliveryMode=queue"], False, True),
        (["-O", "deliverymode = d"], False, True),
        (["-odi", "-ODeliveryMode=b"], False, False),
        (["-odi", "-OErrorMode=q"], True, False),
        (["-odi", "-O", "DeliveryMode"], False, False),
        (["-o", "di"], True, False),
    ],
)
def test_the_last_mode_of_delivery_counts(words: list[str], deliver_first: bool, queue_only: bool) -> None:
    options = parse([*words, "bob"])
    assert (options.deliver_first, options.queue_only) == (deliver_first, queue_only)


@pytest.mark.parametrize(
    ("words", "ignore_dots", "queue_only"),
    [
        (["-oi"], True, False),
        (["-o", "i"], True, False),
        (["-i"], True, False),
        (["-odq"], False, True),
        (["-odq", "-odi"], False, False),
        (["-odq", "-oi"], True, True),
        (["-oem"], False, False),
        (["-om"], False, False),
    ],
)
def test_old_style_options_i_and_d_have_their_meaning(words: list[str], ignore_dots: bool, queue_only: bool) -> None:
    options = parse([*words, "bob"])
    assert (options.ignore_dots, options.queue_only, options.recipients) == (ignore_dots, queue_only, ["bob"])


@pytest.mark.parametrize(
    "words",
    [["-Bbinary"], ["-Rsome"], ["-Nnever,delay"], ["-N", ""], ["-N,"], ["-Nsometimes"], ["-B", ""], ["-R", ""]],
)
def test_a_bad_value_of_a_notification_option_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)


def test_the_options_of_notifications_ignore_case() -> None:
    options = parse(["-B8bitmime", "-Rfull", "-N", "success, Failure", "-VQQ314159"])
    assert (options.body, options.ret, options.notify, options.envid) == (
        "8BITMIME",
        "FULL",
        ("SUCCESS", "FAILURE"),
        "QQ314159",
    )
