"""The queue file: what is written is read back, marks stand where offsets say, and nothing odd is taken."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import MAILBOX, Envelope, Mark, Recipient, Submitter
from sendmail_py.core.errors import QueueFileError
from sendmail_py.formats import queue_file, queue_reader
from sendmail_py.formats.queue_file import render, size_digits, size_offset
from sendmail_py.formats.queue_reader import head_end, parse, unescape
from sendmail_py.formats.queue_text import escape, quote

GOLDEN = b"""sendmail-py-queue 1
id: 660EE6B8F4E4051A2B3
arrived: 1795435041.000007 Mon, 23 Nov 2026 11:57:21 +0000
submitter: uid=1000 login=alice pid=4711 cwd="/home/al ice" command="/bin/sh -c \\x22date\\x22" helo=[192.0.2.1]
from: <alice@example.org>
to: [ ] <bob@example.net> notify=FAILURE,DELAY orcpt=rfc822;bob@example.net
to: [x] <\\x22a\\x20b\\x22@j\xc3\xb6rg.example>
to: [-] <no\\xffutf8@example.com>
to: [ ] <carol@example.org> notify=NEVER target="|/usr/bin/vacation -a \\x22J\xc3\xb6rg\\x22 carol"
to: [ ] <dan@example.org> target="\\x5c"
flags: [x] delay-warned  [ ] expire  [x] queue-only  [ ] report  [x] verify  [ ] reported
body: 8BITMIME
smtputf8: yes
envid: QQ314159
ret: HDRS
maildrop: 660EE6B8F4E40.12F 41651 1795435041000007123
parent: 660EE6B8F4E4051A2B2 217
visited: bob postmaster
controlling-uid: 1000
client: mx.example.org[192.0.2.1]
origin: smtp
refused: "5.4.6 too many hops"
full-name: "Alice \\x5cQ. J\xc3\xb6rg"
of-another-version: what it meant <nobody knows>
size: 0000000003

"""

octets = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
one_line = octets.filter(lambda text: not set("\0\r\n") & set(text))
domains = st.text("abcXYZ019-._\u00e4", max_size=9).map(lambda text: text.strip("."))
addresses = st.builds(Address, one_line, domains)
words = st.text("abcXYZ019.-=", min_size=1, max_size=8)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    notify = st.lists(st.sampled_from(["SUCCESS", "FAILURE", "DELAY"]), max_size=2, unique=True).map(tuple)
    marks = st.sampled_from([Mark.PENDING, Mark.DELIVERED, Mark.FAILED])
    targets = st.just("") | st.just(MAILBOX) | st.builds("{}{}".format, st.sampled_from("|/"), octets)
    recipients = st.lists(st.builds(Recipient, addresses, octets, notify, marks, target=targets), max_size=4)
    submitter = Submitter(draw(st.integers(0, 2**32 - 2)), draw(octets), draw(st.integers(0, 2**22)))
    submitter.cwd, submitter.command, submitter.helo = draw(octets), draw(octets), draw(octets)
    e = Envelope(draw(words), draw(st.integers(0, 2**51)), draw(st.none() | addresses), draw(recipients), submitter)
    e.delay_warned, e.expire, e.queue_only, e.smtputf8 = (draw(st.booleans()) for _ in range(4))
    e.report, e.verify, e.reported = (draw(st.booleans()) for _ in range(3))
    e.envid, e.client, e.origin, e.full_name, e.refused = (draw(octets) for _ in range(5))
    e.maildrop = draw(st.none() | st.tuples(words, st.integers(0), st.integers(0)))
    e.parent = draw(st.none() | st.tuples(words, st.integers(0)))
    e.visited = draw(st.lists(octets.filter(bool), max_size=3).map(tuple))
    e.controlling_uid = draw(st.integers(-1, 2**31))
    e.size = draw(st.integers(0, 10**10 - 1))
    return e


def described(item: object) -> object:
    """Return everything that an envelope holds, as comparable values."""
    if isinstance(item, Address):
        return item.local_part, item.domain
    if isinstance(item, list):
        return [described(one) for one in item]
    names = getattr(type(item), "__slots__", None) or getattr(item, "__dict__", ())
    return {name: described(getattr(item, name)) for name in names} if names else item


@given(envelopes())
@settings(max_examples=30)
def test_an_envelope_is_read_back_as_it_was_written(e: Envelope) -> None:
    assert described(parse(render(e))) == described(e)


@given(envelopes())
@settings(max_examples=30)
def test_every_offset_points_at_the_octet_of_the_mark(e: Envelope) -> None:
    data = render(e)
    for recipient in e.recipients:
        assert data[recipient.offset : recipient.offset + 1].decode() == recipient.mark
        assert data[recipient.offset - 1 : recipient.offset] == b"["
    for name, on in (("delay-warned", e.delay_warned), ("expire", e.expire), ("reported", e.reported)):
        box = f"[{'x' if on else ' '}] {name}".encode()
        assert data[e.boxes[name] - 1 :][: len(box)] == box
    assert head_end(data) == e.content_offset == len(data)


@given(envelopes(), st.integers(0, 10**10 - 1))
@settings(max_examples=30)
def test_the_size_can_be_written_last(e: Envelope, size: int) -> None:
    data = render(e)
    at = size_offset(e)
    digits = size_digits(size)
    assert parse(data[:at] + digits + data[at + len(digits) :]).size == size


@given(envelopes())
@settings(max_examples=30)
def test_a_head_is_printable_lines_of_utf_8_that_no_value_can_break(e: Envelope) -> None:
    text = render(e).decode("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\n\n") == 1


def test_a_flags_line_of_an_earlier_file_has_no_box_for_reports() -> None:
    e = parse(GOLDEN.replace(b"  [ ] report  [x] verify  [ ] reported", b"") + b"hi\n")
    assert (e.delay_warned, e.queue_only, e.report, e.verify, e.reported) == (True, True, False, False, False)
    assert list(e.boxes) == ["delay-warned", "expire", "queue-only"]


def test_the_golden_file_means_what_it_says() -> None:
    e = parse(GOLDEN + b"hi\n")
    assert (e.queue_id, e.arrived_at, e.sender) == (
        "660EE6B8F4E4051A2B3",
        1_795_435_041_000_007,
        Address("alice", "example.org"),
    )
    assert (e.submitter.uid, e.submitter.cwd, e.submitter.command) == (1000, "/home/al ice", '/bin/sh -c "date"')
    assert [(r.forward_path, r.mark, r.notify, r.original) for r in e.recipients] == [
        (Address("bob", "example.net"), " ", ("FAILURE", "DELAY"), "rfc822;bob@example.net"),
        (Address("a b", "j\u00f6rg.example"), "x", (), ""),
        (Address("no\udcffutf8", "example.com"), "-", (), ""),
        (Address("carol", "example.org"), " ", ("NEVER",), ""),
        (Address("dan", "example.org"), " ", (), ""),
    ]
    assert [r.target for r in e.recipients[2:]] == ["", '|/usr/bin/vacation -a "J\u00f6rg" carol', MAILBOX]
    assert (e.delay_warned, e.expire, e.queue_only, e.smtputf8, e.body, e.ret) == (
        True,
        False,
        True,
        True,
        "8BITMIME",
        "HDRS",
    )
    assert (e.maildrop, e.parent) == (
        ("660EE6B8F4E40.12F", 41651, 1795435041000007123),
        ("660EE6B8F4E4051A2B2", 217),
    )
    assert (e.visited, e.controlling_uid, e.refused) == (("bob", "postmaster"), 1000, "5.4.6 too many hops")
    assert (e.full_name, e.size) == ("Alice \\Q. J\u00f6rg", 3)


def test_the_golden_file_is_written_again_octet_for_octet_with_its_unknown_line() -> None:
    assert render(parse(GOLDEN)) == GOLDEN


@dataclass
class Damage:
    old: bytes
    new: bytes


@pytest.mark.parametrize(
    "damage",
    [
        Damage(b"queue 1\n", b"queue 2\n"),
        Damage(b"sendmail-py-queue 1\n", b""),
        Damage(b"to: [x]", b"to: [X]"),
        Damage(b"to: [x]", b"to: [\xc3\xb6]"),
        Damage(b"to: [x] ", b"to: [x]"),
        Damage(b"to: [x]", b"to:"),
        Damage(b"to: [x]", b"to: (x)"),
        Damage(b"<bob@example.net>", b"bob@example.net"),
        Damage(b"<bob@example.net>", b"<bob@example.net"),
        Damage(b"<bob@example.net>", b"<bob\\x0a@example.net>"),
        Damage(b"<bob@example.net>", b"<bob\\x00@example.net>"),
        Damage(b" notify=", b" unheard-of="),
        Damage(b'target="|', b'target="x'),
        Damage(b'target="|', b"target=|"),
        Damage(b'carol"', b"carol"),
        Damage(b' carol"', b'" carol"'),
        Damage(b'target="\\x5c"', b'target=""'),
        Damage(b"\\xff", b"\\yff"),
        Damage(b"\\xff", b"\\xfg"),
        Damage(b"\\xffutf8", b"\\x+1"),
        Damage(b"\\xffutf8", b"\\x 1"),
        Damage(b"\\xffutf8@example.com", b"\\xf"),
        Damage(b"size: 0000000003", b"size: 3"),
        Damage(b"size: 0000000003", b"size: -000000003"),
        Damage(b"size: 0000000003", b"size: +000000003"),
        Damage(b"size: 0000000003", b"size: 0_00000003"),
        Damage(b"size: 0000000003", "size: 000000000\u0663".encode()),
        Damage(b"size: 0000000003\n", b""),
        Damage(b"size: 0000000003", b"size: 0000000003\nsize: 0000000004"),
        Damage(b"arrived: 1795435041.000007", b"arrived: yesterday"),
        Damage(b"uid=1000 ", b""),
        Damage(b"uid=1000 ", b"uid=root "),
        Damage(b"parent: 660EE6B8F4E4051A2B2 217", b"parent: 660EE6B8F4E4051A2B2"),
        Damage(b"body: 8BITMIME", b"body 8BITMIME"),
        Damage(b"\n\n", b"\n"),
    ],
)
def test_a_damaged_head_is_refused(damage: Damage) -> None:
    assert damage.old in GOLDEN
    with pytest.raises(QueueFileError):
        parse(GOLDEN.replace(damage.old, damage.new, 1))


@given(st.integers(0, len(GOLDEN) - 1))
def test_a_head_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(QueueFileError):
        parse(GOLDEN[:length])
    assert head_end(GOLDEN[:length]) == -1


@given(st.binary(max_size=200))
def test_noise_after_the_first_line_raises_nothing_but_a_queue_file_error(noise: bytes) -> None:
    try:
        parse(queue_file.MAGIC + noise + b"\n\n")
    except QueueFileError:
        pass


@given(octets)
def test_an_escaped_value_is_one_printable_word_that_comes_back(text: str) -> None:
    written = escape(text)
    assert unescape(written) == text
    assert written.isprintable() and not set(written) & set(' "<>')
    assert unescape(quote(text)[1:-1]) == text and '"' not in quote(text)[1:-1]


def test_a_command_is_cut_at_256_characters() -> None:
    e = Envelope("A", 0, None, [], Submitter(1, command="c" * 1000))
    assert parse(render(e)).submitter.command == "c" * 256


@given(addresses, octets, octets)
def test_a_line_of_history_is_read_back_as_it_was_written(address: Address, relay: str, reason: str) -> None:
    line = queue_file.history_line(1_795_435_267, address, "deferred", "4.4.1", relay, reason)
    assert line.count(b"\n") == 1
    assert queue_reader.read_history(line) == [
        ("2026-11-23T12:01:07Z", address, "deferred", "4.4.1", relay, reason),
    ]


def test_a_line_of_history_that_a_crash_tore_is_left_out_and_the_others_are_read() -> None:
    line = queue_file.history_line(0, Address("bob", "x"), "deferred", "4.4.1", "mx[192.0.2.1]:25", "timed out")
    for length in range(len(line) - 1):
        assert queue_reader.read_history(line[:length]) == []
        assert len(queue_reader.read_history(line + line[:length])) == 1
    assert queue_reader.read_history(line[: -len("out\n")] + line) == []


def test_a_line_of_flags_without_end_is_refused() -> None:
    data = GOLDEN
    at = data.index(b"flags: ") + len(b"flags: ")
    with pytest.raises(QueueFileError):
        parse(data[:at] + b"[ ] later  " * 200 + data[at:])
