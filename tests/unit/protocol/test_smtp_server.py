"""The server machine: what may come when, what ends content, and that no octets upset it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.protocol import server_replies as replies
from sendmail_py.protocol.commands import LocalProtocolError, Verb
from sendmail_py.protocol.server_commands import Mail, Rcpt, Refused
from sendmail_py.protocol.server_content import ContentDecoder
from sendmail_py.protocol.smtp_client import NEED_DATA
from sendmail_py.protocol.smtp_server import LINE_LIMIT, MOVES, Content, SmtpServer, State
from sendmail_py.protocol.transparency import FINAL_DOT, ContentEncoder

EXTENSIONS = {"PIPELINING": "", "SIZE": "1000", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "ENHANCEDSTATUSCODES": ""}
TO_DATA = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
NOT_NOW = replies.reply(451, "4.3.0", "Error: not now")


class Played:
    """A machine whose events are answered as is due; says what it said and which contents it took."""

    def __init__(self, blocks, **options):
        self.machine = SmtpServer("here.test", EXTENSIONS, **options)
        self.contents = []
        self.said = b""
        for block in blocks:
            self.machine.receive_data(block)
            self.answer_all()

    def answer_all(self):
        while (event := self.machine.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                self.contents[-1] += event.data
                continue
            if getattr(event, "verb", None) is Verb.DATA:
                self.contents.append(b"")
            self.said += self.machine.send(event.answer)

    @property
    def codes(self):
        return [int(line[:3]) for line in self.said.splitlines() if line[3:4] == b" "]


def codes(octets, **options):
    return Played([octets], **options).codes


def cut(octets, places):
    at = [0, *sorted(p % (len(octets) + 1) for p in places), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(at)]


# --- order ---------------------------------------------------------------------------------------


def test_every_command_is_answered_before_the_next_is_told():
    machine = SmtpServer("here.test", EXTENSIONS)
    machine.receive_data(b"NOOP\r\nNOOP\r\n")
    event = machine.next_event()
    with pytest.raises(LocalProtocolError):
        machine.next_event()
    machine.send(event.answer)
    with pytest.raises(LocalProtocolError):
        machine.send(event.answer)
    assert machine.next_event().verb is Verb.NOOP


@pytest.mark.parametrize(("line", "state"), [("MAIL FROM:<a@b.test>", State.START), ("RCPT TO:<c@d>", State.MAIL)])
def test_a_command_that_the_driver_refuses_changes_nothing(line, state):
    machine = Played([b"MAIL FROM:<a@b.test>\r\n"] if state is State.MAIL else []).machine
    machine.receive_data(line.encode() + b"\r\n")
    machine.next_event()
    assert machine.send(NOT_NOW) == b"451 4.3.0 Error: not now\r\n"
    assert machine.state is state


def test_after_a_refused_data_the_content_is_read_as_commands():
    machine = Played([TO_DATA[:-6]]).machine
    machine.receive_data(b"DATA\r\nSubject: x\r\n.\r\n")
    assert machine.next_event().verb is Verb.DATA
    machine.send(NOT_NOW)
    assert machine.state is State.RCPT
    assert isinstance(machine.next_event(), Refused)


def test_a_message_that_the_driver_refuses_is_over_all_the_same():
    machine = Played([TO_DATA]).machine
    machine.receive_data(b".\r\nMAIL FROM:<a@b.test>\r\n")
    assert machine.next_event().verb is Verb.DOT
    machine.send(NOT_NOW)
    assert isinstance(machine.next_event(), Mail)


def test_421_from_the_driver_ends_the_session():
    machine = Played([]).machine
    machine.receive_data(b"NOOP\r\nNOOP\r\n")
    machine.next_event()
    machine.send(replies.reply(421, "4.3.2", "Error: stopping"))
    assert machine.state is State.CLOSED
    assert machine.next_event() is NEED_DATA


def test_what_follows_quit_is_dropped():
    played = Played([b"QUIT\r\nNOOP\r\n", b"NOOP\r\n"])
    assert played.codes == [221]
    assert played.machine.state is State.CLOSED


def test_no_state_but_content_takes_the_final_dot_and_closed_takes_nothing():
    assert [state for state, verb in MOVES if verb is Verb.DOT] == [State.CONTENT]
    assert State.CLOSED not in {state for state, _ in MOVES}


# --- limits ----------------------------------------------------------------------------------------


def test_a_line_at_the_limit_is_read_and_one_over_it_is_refused_with_its_rest():
    fits = b"NOOP " + b"x" * (LINE_LIMIT - 5)
    assert codes(fits + b"\r\n" + fits + b"x\r\nNOOP\r\n") == [250, 500, 250]


def test_a_line_without_end_is_not_kept_and_is_refused_when_it_ends():
    played = Played([b"x" * 1000] * 1000)
    assert played.said == b""
    assert len(played.machine._buffer) <= LINE_LIMIT + 1000
    played.machine.receive_data(b"\r\nNOOP\r\n")
    played.answer_all()
    assert played.codes == [500, 250]


def test_after_twenty_errors_the_session_ends():
    assert codes(b"X\r\n" * 100) == [500] * 20 + [421]
    assert codes(b"X\r\n" * 100, error_limit=3) == [500] * 3 + [421]


def test_a_message_taken_pays_for_the_errors_before_it():
    some = b"X\r\n" * 19
    assert 421 not in codes(some + TO_DATA + b".\r\n" + some + b"QUIT\r\n")


def test_refusals_by_the_driver_are_errors_too():
    machine = SmtpServer("here.test", EXTENSIONS, error_limit=2)
    machine.receive_data(b"MAIL FROM:<a@b.test>\r\n" * 3)
    for _ in range(2):
        machine.next_event()
        machine.send(NOT_NOW)
    assert machine.next_event().answer.code == 421


# --- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets", [b"NOOP\0", b"NO\x1bOP", b"NOOP \x7f", b"NOOP \r", b"NO\rOP", b"\xff\xfe", b"NOOP \xc3"]
)
def test_control_characters_and_octets_that_are_no_text_are_refused(octets):
    assert codes(octets + b"\r\n") == [500]


def test_verbs_ignore_case_and_blanks_around_them():
    assert codes(b" ehlo x \r\nmAiL\tFrom:<a@b.test> \r\nrcpt to: <c@d.test>\r\n") == [250, 250, 250]


def test_utf8_counts_only_in_the_transaction_that_asked_for_it():
    first = "MAIL FROM:<a@b.test> SMTPUTF8\r\nRCPT TO:<ä@d.test> ORCPT=utf-8;ä@d.test\r\nRSET\r\n".encode()
    second = "MAIL FROM:<a@b.test>\r\nRCPT TO:<ä@d.test> ORCPT=utf-8;ä@d.test\r\n".encode()
    assert codes(first + second) == [250, 250, 250, 250, 501]


def test_no_reply_repeats_a_control_character_or_more_than_ascii():
    assert replies.render(replies.reply(451, "4.3.0", "a\r\n250 ä\x1b")) == b"451 4.3.0 a??250 ??\r\n"


# --- content ---------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b".", b"\n.\n", b"\r\n.", b".\r\n", b"a", b"\0", b"\xff", b"\r\n..\r\n"]
)
OCTETS = st.lists(PIECES | st.binary(max_size=5), max_size=40).map(b"".join)
PLACES = st.lists(st.integers(0, 400), max_size=12)


@given(OCTETS, PLACES)
def test_what_the_client_encodes_the_server_decodes(content, places):
    encoder = ContentEncoder(0)
    wire = encoder.encode(content) + encoder.end()
    played = Played(cut(TO_DATA + wire + FINAL_DOT + b"NOOP\r\n", places))
    unstuffed = b"".join(line.removeprefix(b".") + b"\r\n" for line in wire.split(b"\r\n")[:-1])
    assert played.contents == [unstuffed]
    assert played.codes == [250, 250, 354, 250, 250]


@given(OCTETS, PLACES, st.booleans())
def test_blocks_decode_as_the_whole_does(octets, places, lf_session):
    assert decode([octets], lf_session) == decode(cut(octets, places), lf_session)


def decode(blocks, lf_session):
    """Return the content, and what follows its end (None: it has none)."""
    decoder = ContentDecoder(lf_session)
    content = b""
    for i, block in enumerate(blocks):
        piece, rest = decoder.decode(block)
        content += piece
        if rest is not None:
            return content, rest + b"".join(blocks[i + 1 :])
    return content + decoder._held, None


@given(OCTETS)
def test_content_without_crlf_dot_crlf_does_not_end(octets):
    ends = (b"\r\n" + octets).find(b"\r\n.\r\n")
    _, rest = decode([octets], False)
    assert (rest is None) == (ends < 0)
    if rest is not None:
        assert rest == octets[ends + 3 :]


def test_two_dots_after_a_bare_line_feed_are_one_and_one_stays():
    assert decode([b"a\n..b\n.c\n.\n..\n\r\n.\r\n"], False) == (b"a\n.b\n.c\n.\n.\n\r\n", b"")


COMMANDS = st.sampled_from(
    [b"EHLO x\r\n", b"HELO x\n", TO_DATA, b"MAIL FROM:<>\r\n", b"RCPT TO:<\xc3\xa4@b> ORCPT=rfc822;+41\r\n",
     b"DATA\r\n", b".\r\n", b"RSET\r\n", b"QUIT\r\n", b"MAIL FROM:<a@b> SIZE=9 SMTPUTF8 ENVID=+00\r\n",
     b'RCPT TO:<"a\\"@b"@c>\n']
)  # fmt: skip


@given(st.lists(COMMANDS | OCTETS, max_size=20).map(b"".join), PLACES, st.booleans())
def test_no_octets_raise_and_no_cut_changes_what_happens(octets, places, lf_sessions):
    whole = Played([octets], lf_sessions=lf_sessions)
    parts = Played(cut(octets, places), lf_sessions=lf_sessions)
    assert (whole.said, whole.contents, whole.machine.state) == (parts.said, parts.contents, parts.machine.state)
    assert all(200 <= code < 600 for code in whole.codes)


@given(st.lists(COMMANDS | OCTETS, max_size=20).map(b"".join))
def test_what_is_told_of_a_command_can_stand_in_a_queue_file(octets):
    machine = SmtpServer("here.test", EXTENSIONS)
    machine.receive_data(octets)
    while (event := machine.next_event()) is not NEED_DATA:
        if isinstance(event, Mail):
            assert str(event.sender).isprintable() and event.envid.isascii() and event.envid.isprintable()
        elif isinstance(event, Rcpt):
            assert event.address and event.original.isascii() and event.original.isprintable()
        if not isinstance(event, Content):
            machine.send(event.answer)


def test_octets_after_starttls_are_seen_as_unread():
    for early, unread in ((b"", False), (b"EHLO x\r\n", True), (b"\0", True)):
        machine = SmtpServer("here.test", {"STARTTLS": ""})
        machine.receive_data(b"STARTTLS\r\n" + early)
        assert machine.next_event().verb is Verb.STARTTLS
        assert machine.has_unread() is unread


def test_starttls_is_a_command_only_where_it_is_offered_and_between_transactions():
    offered = Played([b"MAIL FROM:<a@b.test>\r\nSTARTTLS\r\n"])
    assert offered.said.endswith(b"502 5.5.1 Error: command not implemented\r\n")
    machine = SmtpServer("here.test", {"STARTTLS": ""})
    machine.receive_data(b"MAIL FROM:<a@b.test>\r\nSTARTTLS\r\n")
    machine.send(machine.next_event().answer)
    assert machine.next_event().answer.code == 503


def test_a_driver_says_what_counts_as_an_error():
    machine = SmtpServer("here.test", {}, error_limit=2)
    machine.receive_data(b"NOOP\r\n" * 5)
    for _ in range(2):
        machine.next_event()
        machine.send(NOT_NOW, is_error=False)
    assert machine.errors == 0
    for _ in range(2):
        machine.send(machine.next_event().answer, is_error=True)
    assert machine.next_event().answer == replies.TOO_MANY_ERRORS


def test_another_protocol_is_told_so_and_nothing_of_it_is_read():
    for line in (b"GET / HTTP/1.1", b"post /form", b"CONNECT a.test:25 HTTP/1.0", b"Host: here.test"):
        played = Played([line + b"\r\nMAIL FROM:<a@b.test>\r\n"])
        assert played.said.count(b"\r\n") == 1
        assert played.said.startswith(b"421 4.7.0")
        assert played.machine.state is State.CLOSED


def test_bare_newlines_of_command_lines_are_remembered():
    assert Played([b"NOOP\n"]).machine.bare_newlines
    assert not Played([b"NOOP\r\n"]).machine.bare_newlines
