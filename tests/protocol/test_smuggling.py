"""A second message hidden in a first one: every published form of a false end of data, and what it is here."""

import itertools

import pytest

from sendmail_py.protocol.smtp_client import NEED_DATA
from sendmail_py.protocol.smtp_server import Content, SmtpServer

HELLO = "EHLO x{0}MAIL FROM:<a@a.test>{0}RCPT TO:<b@b.test>{0}DATA{0}"
HIDDEN = b"MAIL FROM:<root@a.test>\r\nRCPT TO:<victim@b.test>\r\nDATA\r\nSubject: hidden\r\n\r\nx"
LINE_ENDS = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\r",
    b"\r\r\n",
    b"\n\n",
    b"\0\r\n",
    b"\r\0\n",
    b"\r\n\0",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\v",
]
FALSE_ENDS = [before + b"." + after for before, after in itertools.product(LINE_ENDS, LINE_ENDS)]
# Where these stand after CRLF or before CRLF, the octets around the dot are CRLF.CRLF indeed.
TRUE_ENDS = [end for end in FALSE_ENDS if b"\r\n.\r\n" in end]
MORE = [
    b"\r\n.\r",
    b"\r\n. \r\n",
    b"\r\n .\r\n",
    b"\r\n.\\r\\n",
    b"\r\n..\r\n",
    b"\r.\r\n.",
    b"\n.\r\n",
    b"\n.\n\n.\n",
    b".\r\n",
]


def messages(octets, size, lf_sessions):
    """Return the contents that a server takes from octets in blocks of this size; None for one without end."""
    machine = SmtpServer("here.test", {}, lf_sessions=lf_sessions)
    taken, content = [], None
    for i in range(0, len(octets), size):
        machine.receive_data(octets[i : i + size])
        while (event := machine.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                content += event.data
                continue
            answer = machine.send(event.answer)
            if answer.startswith(b"354"):
                content = b""
            elif content is not None:
                taken.append(content)
                content = None
    return taken if content is None else [*taken, None]


@pytest.mark.parametrize("lf_sessions", [False, True])
@pytest.mark.parametrize("end", [end for end in FALSE_ENDS + MORE if end not in TRUE_ENDS], ids=repr)
def test_a_false_end_is_data_in_a_crlf_session(end, lf_sessions):
    octets = HELLO.format("\r\n").encode() + b"Subject: x\r\n\r\ntext" + end + HIDDEN + b"\r\n.\r\nQUIT\r\n"
    for size in (1, 2, 3, 7, len(octets)):
        (content,) = messages(octets, size, lf_sessions)
        assert content.endswith(HIDDEN + b"\r\n")


@pytest.mark.parametrize("end", TRUE_ENDS, ids=repr)
def test_crlf_dot_crlf_is_the_end_whatever_stands_beside_it(end):
    octets = HELLO.format("\r\n").encode() + b"text" + end
    assert messages(octets, 1, False) == messages(octets, len(octets), False) == [b"text" + end.partition(b".\r\n")[0]]


def test_one_command_with_crlf_makes_a_crlf_session():
    for i in range(4):
        lines = HELLO.format("\n").encode().splitlines()
        octets = b"".join(line + (b"\r\n" if n == i else b"\n") for n, line in enumerate(lines))
        assert messages(octets + b"text\n.\nQUIT\n", 1, True) == [None]


def test_a_session_of_bare_line_feeds_ends_its_content_so():
    octets = HELLO.format("\n").encode() + b"text\r.\rmore\n.\nQUIT\n"
    assert messages(octets, 1, True) == [b"text\r.\rmore\n"]


def test_where_there_are_no_lf_sessions_bare_line_feeds_end_commands_but_never_content():
    assert messages(HELLO.format("\n").encode() + b"text\n.\nQUIT\n", 1, False) == [None]
