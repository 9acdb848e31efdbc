"""The client machine: what may be said when, and which reply answers what."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.protocol.commands import Command, LocalProtocolError, Verb, is_sendable
from sendmail_py.protocol.reply import RemoteProtocolError
from sendmail_py.protocol.smtp_client import NEED_DATA, SmtpClient, State


def ready(*extensions):
    """Return a machine after its EHLO."""
    machine = SmtpClient()
    machine.receive_data(b"220 mx\r\n")
    machine.next_event()
    machine.send(Command(Verb.EHLO, "client.test"))
    lines = ["mx", *extensions]
    machine.receive_data(b"".join(f"250{'-' if w is not lines[-1] else ' '}{w}\r\n".encode() for w in lines))
    machine.next_event()
    return machine


def test_nothing_is_said_before_the_greeting():
    with pytest.raises(LocalProtocolError):
        SmtpClient().send(Command(Verb.EHLO, "x"))


@pytest.mark.parametrize("verb", [Verb.RCPT, Verb.DATA, Verb.DOT, Verb.EHLO])
def test_a_command_out_of_order_is_refused(verb):
    with pytest.raises(LocalProtocolError):
        ready("PIPELINING").send(Command(verb))


def test_commands_wait_for_replies_without_pipelining():
    machine = ready()
    machine.send(Command(Verb.MAIL, "FROM:<>"))
    with pytest.raises(LocalProtocolError):
        machine.send(Command(Verb.RCPT, "TO:<a@b>"))


def test_data_ends_a_group():
    machine = ready("PIPELINING")
    for verb in (Verb.MAIL, Verb.RCPT, Verb.DATA):
        machine.send(Command(verb))
    with pytest.raises(LocalProtocolError):
        machine.send(Command(Verb.DOT))


def test_the_final_dot_does_not_end_a_group():
    machine = ready("PIPELINING")
    for verb in (Verb.MAIL, Verb.RCPT, Verb.DATA):
        machine.send(Command(verb))
    machine.receive_data(b"250 a\r\n250 b\r\n354 c\r\n")
    assert [machine.next_event().verb for _ in range(3)] == [Verb.MAIL, Verb.RCPT, Verb.DATA]
    assert machine.next_event() is NEED_DATA
    assert machine.send(Command(Verb.DOT)) == b".\r\n"
    assert machine.send(Command(Verb.MAIL, "FROM:<>")) == b"MAIL FROM:<>\r\n"
    assert not machine.is_idle


def test_no_dot_without_354():
    machine = ready("PIPELINING")
    for verb in (Verb.MAIL, Verb.RCPT, Verb.DATA):
        machine.send(Command(verb))
    machine.receive_data(b"250 a\r\n250 b\r\n250 c\r\n")
    assert machine.state is State.RCPT
    with pytest.raises(LocalProtocolError):
        machine.send(Command(Verb.DOT))


def test_a_reply_before_the_dot_is_early_and_ends_the_session():
    machine = ready("PIPELINING")
    for verb in (Verb.MAIL, Verb.RCPT, Verb.DATA):
        machine.send(Command(verb))
    machine.receive_data(b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n")
    assert [machine.next_event().early for _ in range(4)] == [False, False, False, True]
    with pytest.raises(LocalProtocolError):
        machine.send(Command(Verb.DOT))


@pytest.mark.parametrize("surplus", [b"250 x\r\n", b"2", b"nonsense\r\n"])
def test_octets_that_nobody_asked_for_make_the_session_unfit(surplus):
    machine = ready("PIPELINING")
    assert machine.is_idle
    machine.receive_data(surplus)
    assert not machine.is_idle
    if surplus != b"2":
        with pytest.raises(RemoteProtocolError):
            machine.next_event()


@pytest.mark.parametrize(
    "argument", ["FROM:<a\r\nRCPT TO:<b>", "FROM:<a\nb>", "FROM:<a\0b>", "FROM:<a\tb>", "FROM:<a\x7fb>"]
)
def test_no_control_character_reaches_the_wire(argument):
    with pytest.raises(LocalProtocolError):
        ready().send(Command(Verb.MAIL, argument))


@pytest.mark.parametrize(
    ("word", "limit"), [("SIZE 100", 100), ("size 7", 7), ("SIZE", 0), ("SIZE x", 0), ("SIZE ١٢", 0), ("X", 0)]
)
def test_the_size_limit_is_what_digits_say(word, limit):
    assert ready(word).size_limit == limit


@pytest.mark.parametrize(
    ("address", "sendable"),
    [
        (Address("a", "b.test"), True),
        (Address("a b<>", "b.test"), True),
        (Address("ä", "ä.test"), True),
        (Address("a", "[192.0.2.1]"), True),
        (Address("a", "[IPv6:2001:db8::1]"), True),
        (Address("", ""), True),
        (Address("a", "'b.test'"), True),
        (Address("a", "b.test;id"), True),
        (Address("a", "b> SIZE=1"), False),
        (Address("a", "b.test>"), False),
        (Address("a", "b test"), False),
        (Address("a", "b:test"), False),
        (Address("a", "b\x7f"), False),
        (Address("a\x01", "b"), False),
        (Address("\udc80", "b"), False),
    ],
)
def test_only_what_cannot_leave_its_brackets_is_sendable(address, sendable):
    assert is_sendable(address) is sendable


def before_tls():
    """Return a machine that has asked for TLS."""
    machine = ready("STARTTLS", "AUTH PLAIN", "PIPELINING")
    assert machine.send(Command(Verb.STARTTLS)) == b"STARTTLS\r\n"
    return machine


def feed(machine, octets, byte_by_byte):
    for part in [octets[i : i + 1] for i in range(len(octets))] if byte_by_byte else [octets]:
        machine.receive_data(part)


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_after_starttls_everything_begins_anew(byte_by_byte):
    machine = before_tls()
    feed(machine, b"220 2.0.0 go\r\n", byte_by_byte)
    event = machine.next_event()
    assert (event.verb, event.reply.code) == (Verb.STARTTLS, 220)
    machine.begin_tls()
    assert not machine.extensions
    with pytest.raises(LocalProtocolError):
        machine.send(Command(Verb.MAIL, "FROM:<>"))
    assert machine.send(Command(Verb.EHLO, "client.test")) == b"EHLO client.test\r\n"


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize("injected", [b"250 mx\r\n", b"250-mx\r\n", b"2", b"\r\n", b"nonsense\r\n", b"\x16\x03\x01"])
def test_octets_in_clear_after_the_reply_to_starttls_end_the_session(injected, byte_by_byte):
    machine = before_tls()
    feed(machine, b"220 go\r\n" + injected, byte_by_byte)
    with pytest.raises(RemoteProtocolError):
        machine.next_event()
    with pytest.raises(RemoteProtocolError):
        machine.begin_tls()


def test_octets_that_come_while_tls_begins_are_found_too():
    machine = before_tls()
    machine.receive_data(b"220 go\r\n")
    machine.next_event()
    machine.receive_data(b"250 injected\r\n")
    with pytest.raises(RemoteProtocolError):
        machine.begin_tls()


def test_tls_may_begin_before_the_greeting_which_comes_then():
    machine = SmtpClient()
    machine.begin_tls()
    machine.receive_data(b"220 mx\r\n")
    assert machine.next_event().verb is Verb.CONNECT
    with pytest.raises(RemoteProtocolError):
        machine.begin_tls()


@pytest.mark.parametrize("said", [b"220 mx\r\n", b"2"])
def test_a_server_that_speaks_before_tls_has_another_idea_of_it(said):
    machine = SmtpClient()
    machine.receive_data(said)
    with pytest.raises(RemoteProtocolError):
        machine.begin_tls()


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"502 what?\r\n", b"250 sure\r\n"])
def test_a_refused_starttls_leaves_the_session_as_it_was(reply):
    machine = before_tls()
    machine.receive_data(reply)
    machine.next_event()
    assert machine.is_idle
    assert "STARTTLS" in machine.extensions
    with pytest.raises(LocalProtocolError):
        machine.begin_tls()


@pytest.mark.parametrize("verb", [Verb.STARTTLS, Verb.AUTH])
def test_nothing_is_pipelined_after_starttls_and_auth(verb):
    machine = ready("STARTTLS", "AUTH PLAIN", "PIPELINING")
    machine.send(Command(verb))
    for following in (Verb.MAIL, Verb.EHLO, Verb.QUIT, Verb.AUTH):
        with pytest.raises(LocalProtocolError):
            machine.send(Command(following))


@pytest.mark.parametrize("verb", [Verb.STARTTLS, Verb.AUTH])
def test_starttls_and_auth_are_for_before_a_transaction(verb):
    machine = ready("STARTTLS", "AUTH PLAIN", "PIPELINING")
    machine.send(Command(Verb.MAIL, "FROM:<>"))
    with pytest.raises(LocalProtocolError):
        machine.send(Command(verb))


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_each_question_of_auth_gets_one_answer(byte_by_byte):
    machine = ready("AUTH LOGIN", "PIPELINING")
    assert machine.send(Command(Verb.AUTH, "LOGIN")) == b"AUTH LOGIN\r\n"
    for answer in ("dXNlcg==", "cGFzcw=="):
        with pytest.raises(LocalProtocolError):
            machine.respond(answer)
        feed(machine, b"334 \r\n", byte_by_byte)
        assert machine.next_event().reply.code == 334
        assert machine.respond(answer) == answer.encode() + b"\r\n"
    feed(machine, b"235 2.7.0 welcome\r\n", byte_by_byte)
    assert machine.next_event().reply.code == 235
    assert machine.is_idle


def test_two_questions_of_auth_at_once_are_an_error():
    machine = ready("AUTH LOGIN")
    machine.send(Command(Verb.AUTH, "LOGIN"))
    machine.receive_data(b"334 a\r\n334 b\r\n")
    assert machine.next_event().reply.code == 334
    with pytest.raises(RemoteProtocolError):
        machine.next_event()


@pytest.mark.parametrize("answer", ["a\r\nMAIL", "a b", "a\n", "***", "=a", "\u00e4"])
def test_an_answer_of_auth_is_base64_or_gives_up(answer):
    machine = ready("AUTH LOGIN")
    machine.send(Command(Verb.AUTH, "LOGIN"))
    machine.receive_data(b"334 \r\n")
    with pytest.raises(LocalProtocolError):
        machine.respond(answer)
    assert machine.respond("*") == b"*\r\n"


@pytest.mark.parametrize(
    ("words", "mechanisms"),
    [
        (["AUTH PLAIN login"], ["PLAIN", "login"]),
        (["auth=LOGIN", "AUTH PLAIN"], ["PLAIN", "LOGIN"]),
        (["AUTH=LOGIN PLAIN"], ["LOGIN", "PLAIN"]),
        (["AUTH"], []),
        (["AUTHENTICATE PLAIN"], []),
    ],
)
def test_mechanisms_are_read_in_the_old_form_too(words, mechanisms):
    assert ready(*words).mechanisms == mechanisms


def in_rcpt(*extensions):
    """Return a machine whose server has taken a recipient."""
    machine = ready(*extensions)
    for verb in (Verb.MAIL, Verb.RCPT):
        machine.send(Command(verb))
        machine.receive_data(b"250 ok\r\n")
        machine.next_event()
    return machine


def test_a_chunk_goes_out_with_the_octets_that_it_announces():
    machine = in_rcpt("PIPELINING", "CHUNKING")
    assert machine.send_chunk(b"abc\r\n", is_last=False) == b"BDAT 5\r\nabc\r\n"
    assert machine.send_chunk(b"", is_last=True) == b"BDAT 0 LAST\r\n"
    assert machine.send(Command(Verb.MAIL, "FROM:<>")) == b"MAIL FROM:<>\r\n"
    machine.receive_data(b"250 a\r\n552 b\r\n250 c\r\n")
    assert [machine.next_event().verb for _ in range(3)] == [Verb.BDAT, Verb.LAST, Verb.MAIL]
    assert machine.is_answered


@pytest.mark.parametrize("verb", [Verb.BDAT, Verb.LAST])
def test_bdat_is_no_command_without_octets(verb):
    with pytest.raises(LocalProtocolError):
        in_rcpt("CHUNKING").send(Command(verb, "5"))


def test_no_chunk_is_sent_where_none_is_offered_or_due():
    for machine in (in_rcpt("PIPELINING"), ready("CHUNKING")):
        with pytest.raises(LocalProtocolError):
            machine.send_chunk(b"x", is_last=True)
    machine = in_rcpt("CHUNKING")
    machine.send_chunk(b"x", is_last=False)
    with pytest.raises(LocalProtocolError):
        machine.send_chunk(b"x", is_last=True)


def test_an_ignored_extension_is_not_there():
    machine = in_rcpt("CHUNKING", "PIPELINING")
    machine.ignore(["chunking"])
    assert (machine.chunking, machine.pipelining) == (False, True)
