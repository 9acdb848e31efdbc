"""The milter protocol as octets: what is told, what a filter may say, and everything that it may not."""

import struct

import pytest

from sendmail_py.protocol import milter_packets as packets
from sendmail_py.protocol.milter import MilterProtocol, connect_payload, field_octets, field_payload
from sendmail_py.protocol.milter_packets import (
    Answer,
    Body,
    Decision,
    Event,
    Field,
    MilterError,
    PacketReader,
    Path,
    Quarantine,
    answer,
    packet,
    strings,
)
from sendmail_py.protocol.reply import Reply


def agreed(version: int = 6, actions: int = 0x1FF, flags: int = 0, rest: bytes = b"") -> MilterProtocol:
    machine = MilterProtocol()
    machine.take_agreement(b"O", struct.pack("!III", version, actions, flags) + rest)
    return machine


def test_packets_are_read_however_they_are_cut() -> None:
    sent = [(b"c", b""), (b"h", b"A\0b\0"), (b"b", b"x" * 70000), (b"a", b"")]
    octets = b"".join(packet(*one) for one in sent)
    for size in (1, 7, 4096, len(octets)):
        reader, found = PacketReader(), []
        for at in range(0, len(octets), size):
            reader.feed(octets[at : at + size])
            while (one := reader.next()) is not None:
                found.append(one)
        assert found == sent
        assert reader.is_empty


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack("!I", packets.PACKET_LIMIT + 1)])
def test_a_packet_of_no_octets_or_too_many_is_an_error_at_once(head: bytes) -> None:
    reader = PacketReader()
    reader.feed(head)
    with pytest.raises(MilterError):
        reader.next()


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"c", Decision("continue")),
        (b"a", Decision("accept")),
        (b"d", Decision("discard")),
        (b"s", Decision("skip")),
        (b"p", Decision("progress")),
        (b"r", Decision("refuse", Reply(550, ("5.7.1 Command rejected",)))),
        (b"t", Decision("refuse", Reply(451, ("4.7.1 Service unavailable - try again later",)))),
        (b"4", Decision("refuse", Reply(421, ("4.7.0 Service unavailable",)))),
        (b"y550 5.1.1 gone\0", Decision("refuse", Reply(550, ("5.1.1 gone",)))),
        (b"y451 100%% %later\0", Decision("refuse", Reply(451, ("4.7.1 100% later",)))),
        (b"y550-5.1.1 a\r\n550 5.1.1 b\0", Decision("refuse", Reply(550, ("5.1.1 a", "5.1.1 b")))),
        (b"y550 4.1.1 odd\0", Decision("refuse", Reply(550, ("5.7.1 4.1.1 odd",)))),
        (b"qwhy\0", Quarantine("why")),
        (b"bx\r\n", Body(b"x\r\n")),
        (b"hA\0 b\0", Field(-1, "A", " b")),
        (b"i\0\0\0\1A\0b\0", Field(1, "A", "b")),
        (b"m\0\0\0\0A\0\0", Field(1, "A", "", True)),
        (b"m\0\0\0\2A\0b\0", Field(2, "A", "b", True)),
        (b"+<a@b>\0", Path("add", "<a@b>")),
        (b"2<a@b>\0NOTIFY=NEVER\0", Path("add", "<a@b>", "NOTIFY=NEVER")),
        (b"-<a@b>\0", Path("delete", "<a@b>")),
        (b"e<>\0", Path("sender", "<>")),
    ],
)
def test_a_filter_says(octets: bytes, said: Answer) -> None:
    assert answer(octets[:1], octets[1:]) == said


@pytest.mark.parametrize(
    "octets",
    [
        b"cx",
        b"z",
        b"y250 ok\0",
        b"y\0",
        b"y550 a\r\n250 b\0",
        b"ynonsense\0",
        b"y550 a\r\n550 b\0",
        b"hA\0",
        b"hA b\0c\0",
    ]
    + [b"h\0b\0", b"hA:\0b\0", b"hA\r\nB\0c\0", b"hA\0b", b"i\0\0A\0b\0", b"+<a@b>", b"m\0\0\0\1A\0b\0c\0"],
)
def test_a_filter_may_not_say(octets: bytes) -> None:
    with pytest.raises(MilterError):
        answer(octets[:1], octets[1:])


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (b"c", b""),
        (b"O", b"\0\0\0\6"),
        (b"O", struct.pack("!III", 7, 0, 0)),
        (b"O", struct.pack("!III", 1, 0, 0)),
        (b"O", struct.pack("!III", 6, 0x200, 0)),
    ],
)
def test_no_session_begins_on_other_terms_than_were_offered(command: bytes, payload: bytes) -> None:
    with pytest.raises(MilterError):
        MilterProtocol().take_agreement(command, payload)


def test_a_filter_gets_the_events_that_it_wants_and_its_macros_in_any_case() -> None:
    machine = agreed(flags=packets.HELO.skip | packets.MAIL.no_reply)
    assert machine.octets(packets.HELO, b"x\0", [("j", "host")]) == packet(b"D", b"Hj\0host\0")
    assert not machine.is_answered(packets.HELO)
    assert machine.is_sent(packets.MAIL)
    assert not machine.is_answered(packets.MAIL)
    assert machine.octets(packets.RCPT, b"x\0") == packet(b"R", b"x\0")
    assert not agreed(version=2).is_sent(packets.DATA)
    assert agreed(rest=struct.pack("!I", 2) + b"i {mail_addr}\0").macros_for("mail") == ["i", "{mail_addr}"]


def test_what_is_skipped_is_skipped_until_the_next_message() -> None:
    machine = agreed()
    machine.answer(packets.BODY, b"s", b"")
    assert not machine.is_sent(packets.BODY)
    assert machine.is_sent(packets.END)
    machine.begin_message()
    assert machine.is_sent(packets.BODY)


@pytest.mark.parametrize(
    ("event", "octets", "actions"),
    [
        (packets.RCPT, b"hA\0b\0", 0x1FF),
        (packets.END, b"bx", 0x1FF & ~packets.CHANGE_BODY),
        (packets.END, b"hA\0b\0", packets.CHANGE_BODY),
        (packets.END, b"m\0\0\0\1A\0b\0", packets.ADD_FIELDS),
        (packets.END, b"+x\0", packets.DELETE_RECIPIENTS),
        (packets.END, b"-x\0", packets.ADD_RECIPIENTS),
        (packets.END, b"ex\0", 0x1FF & ~packets.CHANGE_SENDER),
        (packets.END, b"qx\0", 0x1FF & ~packets.QUARANTINE),
    ],
)
def test_a_change_is_made_at_the_end_and_only_if_it_was_agreed(event: Event, octets: bytes, actions: int) -> None:
    with pytest.raises(MilterError):
        agreed(actions=actions).answer(event, octets[:1], octets[1:])
    if event is packets.END:
        agreed().answer(event, octets[:1], octets[1:])


def test_nothing_is_discarded_before_there_is_a_message() -> None:
    assert agreed().answer(packets.CONNECT, b"d", b"") == Decision("continue")


def test_no_value_holds_a_nul() -> None:
    assert strings("a\0b", b"c\0") == b"a?b\0c?\0"


def test_a_client_is_told_with_its_family() -> None:
    assert connect_payload("mx.a.test", "192.0.2.1", 25) == b"mx.a.test\x004\0\x19192.0.2.1\0"
    assert connect_payload("unknown", "2001:db8::1", 0) == b"[2001:db8::1]\x006\0\x002001:db8::1\0"


@pytest.mark.parametrize(
    ("raw", "plain", "with_blanks"),
    [
        (b"A: b\n", b"A\0b\0", b"A\0 b\0"),
        (b"A:  b\n c\n\td\n", b"A\0 b\n c\n\td\0", b"A\0  b\n c\n\td\0"),
        (b"A:\n b\n", b"A\0\n b\0", b"A\0\n b\0"),
        (b"A:\n", b"A\0\0", b"A\0\0"),
    ],
)
def test_a_field_is_told_with_its_lines(raw: bytes, plain: bytes, with_blanks: bytes) -> None:
    assert field_payload(b"A", raw, False) == plain
    assert field_payload(b"A", raw, True) == with_blanks


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("b", b"A: b\n"),
        ("b\n c\r\n\td\n", b"A: b\n c\n\td\n"),
        ("b\nBcc: evil@a.test", b"A: b\n\tBcc: evil@a.test\n"),
        ("b\n\n\nbody", b"A: b\n\tbody\n"),
        ("b\rc", b"A: b c\n"),
        ("", b"A: \n"),
    ],
)
def test_a_field_that_is_added_cannot_end_the_header_or_begin_another(value: str, octets: bytes) -> None:
    assert field_octets(Field(-1, "A", value), False) == octets
