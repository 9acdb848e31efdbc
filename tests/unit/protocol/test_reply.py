"""Replies of servers that may be hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.protocol.reply import RemoteProtocolError, ReplyReader


def read(data):
    return ReplyReader().feed(data)


def test_a_reply_of_several_lines_is_one_reply():
    (reply,) = read(b"250-one\r\n250-two\r\n250 2.1.0 three\r\n")
    assert (reply.code, reply.status, reply.text) == (250, "2.1.0", "250 one two 2.1.0 three")


def test_a_reply_may_end_its_lines_with_lf_and_have_no_text():
    assert [r.text for r in read(b"250\n354 go\n")] == ["250", "354 go"]


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n", b"25 x\r\n", b"2500 x\r\n", b"\r\n", b"150 x\r\n", b"999 x\r\n", b"+OK\r\n"]
)
def test_what_is_no_reply_is_an_error(data):
    with pytest.raises(RemoteProtocolError):
        read(data)


def test_a_long_line_is_cut_and_an_endless_one_is_an_error():
    reader = ReplyReader()
    (reply,) = reader.feed(b"250 " + b"x" * 5000 + b"\r\n")
    assert len(reply.lines[0]) == 508
    with pytest.raises(RemoteProtocolError):
        for _ in range(100):
            reader.feed(b"x" * 1000)


def test_too_many_lines_are_an_error():
    with pytest.raises(RemoteProtocolError):
        read(b"250-x\r\n" * 51)


def test_the_text_has_no_controls_and_is_bounded():
    (reply,) = read(b"550 a\x00b\x1b[1m\xc2\x9bc\xe2\x80\xa8d\te\r\n")
    assert reply.text == "550 ab[1mcd e"
    (reply,) = read(b"550-" + b"y" * 400 + b"\r\n550 " + b"z" * 400 + b"\r\n")
    assert len(reply.text) == 500


@given(st.binary(max_size=300), st.integers(1, 20))
def test_blocks_read_as_the_whole_does(data, step):
    def outcome(blocks):
        reader, replies = ReplyReader(), []
        try:
            for block in blocks:
                replies += reader.feed(block)
        except RemoteProtocolError as error:
            return str(error)
        return replies

    data = data.replace(b"\x01", b"250 x\r\n").replace(b"\x02", b"250-")
    whole, cut = outcome([data]), outcome([data[i : i + step] for i in range(0, len(data), step)])
    assert whole == cut


@pytest.mark.parametrize("step", [1, 7, 100000])
def test_a_question_of_a_login_may_be_longer_than_other_replies(step):
    octets = (
        b"334 "
        + b"A" * 9000
        + b"\r\n250 "
        + b"B" * 9000
        + b"\r\n334-"
        + b"C" * 9000
        + b"\r\n334 "
        + b"D" * 9000
        + b"\r\n"
    )
    reader, replies = ReplyReader(), []
    for start in range(0, len(octets), step):
        replies += reader.feed(octets[start : start + step])
    assert [[len(line) for line in reply.lines] for reply in replies] == [[9000], [508], [508, 508]]
