"""rmail: the sender that From_ lines tell, and what is handed on."""

import pytest

REST = b"From: joe@hosta.uucp\nSubject: u\n\nbody\n.\nx\n"


def accepted(resting, text, *words):
    return resting.accepted(*words, input=text, program="rmail")


@pytest.mark.parametrize(
    ("lines", "sender"),
    [
        ("From joe Mon Nov 23 12:00:00 2026 remote from hosta", "hosta!joe"),
        ("From joe Mon Nov 23 12:00:00 2026", "joe"),
        ("From joe", "joe"),
        (">From joe Mon Nov 23 12:00:00 2026 remote from hosta", "hosta!joe"),
        ("From uucp Mon Nov 23 12:00 2026 remote from hosta\n>From joe Mon Nov 23 11:00 2026 remote from hostb",
         "hosta!hostb!joe"),
        ("From hosta!hostb!joe Mon Nov 23 12:00:00 2026", "hosta!hostb!joe"),
        ("From hostb!joe Mon Nov 23 12:00:00 2026 remote from hosta", "hosta!hostb!joe"),
        ("From joe@example.org Mon Nov 23 12:00:00 2026", "joe@example.org"),
        ("From  Mon Nov 23 12:00:00 2026 remote from hosta", ""),
        ("From <> Mon Nov 23 12:00:00 2026 remote from hosta", ""),
        ("From remote Mon Nov 23 12:00:00 2026 not remote from", "remote"),
    ],
)  # fmt: skip
def test_the_sender_is_the_way_that_the_from_lines_tell(resting, lines, sender):
    dropped = accepted(resting, lines.encode() + b"\n" + REST, "bob")
    assert (dropped.sender, dropped.recipients, dropped.content) == (sender, ["bob"], REST)


@pytest.mark.parametrize(
    ("words", "recipients"),
    [
        (["bob@example.net", "(carol)"], ["bob@example.net", "carol"]),
        (["-D", "example.org", "bob"], ["bob"]),
        (["-Dexample.org", "-T", "bob"], ["bob"]),
        (["-T", "--", "bob"], ["bob"]),
        (["hostb!jane"], ["hostb!jane"]),
        (["@gw1,@gw2:joe@example.org"], ["joe@example.org"]),
        (["dave, Bob B <bob>"], ["dave", "bob"]),
    ],
)
def test_the_recipients_are_those_of_the_arguments(resting, words, recipients):
    assert accepted(resting, b"From joe\nTo: dave\n\nx\n", *words).recipients == recipients


@pytest.mark.parametrize("words", [[], ["-T"], ["-D", "x"], ["bob", "-t"], ["--", "-carol"], ["-Z", "bob"]])
def test_a_wrong_call_is_64_and_stdin_is_not_read(resting, words):
    resting.refused(64, *words, input=b"From joe\n\nx\n", program="rmail")


@pytest.mark.parametrize(
    "text",
    [b"", b"Subject: x\n\nx\n", b"From \n\nx\n", b"From !joe Mon\n\nx\n", b"From hosta! Mon\n\nx\n", b"From\n\nx\n",
     b"From " + b"x" * 3000 + b"\n\nx\n", b"From joe\nFrom \n\nx\n"],
)  # fmt: skip
def test_mail_without_a_from_line_that_can_be_read_is_65(resting, text):
    assert "From line" in resting.refused(65, "bob", input=text, program="rmail")


def test_a_large_message_passes_through_whole(resting):
    body = b"0123456789\n" * 200_000
    assert accepted(resting, b"From joe remote from hosta\n\n" + body, "bob").content == b"\n" + body


def test_mail_that_is_nothing_but_from_lines_is_an_empty_message(resting):
    assert accepted(resting, b"From joe remote from hosta", "bob").content == b""


def test_nobody_becomes_another_user_by_a_from_line(resting):
    assert "uid=" in accepted(resting, b"From root\n\nx\n", "bob").text
