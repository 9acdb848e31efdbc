"""A glance at a queue file shows what reading it in full does, or leaves it to that."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Envelope, Mark, Recipient, Submitter
from sendmail_py.core.errors import QueueFileError
from sendmail_py.formats import queue_glance, queue_reader
from sendmail_py.formats.queue_file import history_line, render
from tests.unit.formats.test_queue_file import GOLDEN, addresses, envelopes, octets

Shown = tuple[int, int, str | None, list[tuple[str, str]], bool]
PLAIN = [
    "alice@example.org",
    "Bob.B@Example.NET",
    "bob.b@example.net",
    "root",
    "a+b=c/d@[192.0.2.1]",
    "x@[IPv6:2001:db8::1]",
]
ODD = [
    '"a b"@x',
    "a..b@x",
    "@x",
    "a@",
    "j\u00f6rg@x",
    "b@stra\u00dfe.example",
    "b@\u212aelvin.example",
    "\udcff@x",
    '"a@b"',
]
PIECES = [
    *(b"\n", b" ", b"  ", b"<", b">", b'"', b"\\", b"\\x41", b"\\xfg", b"[x]", b"[ ]", b"[-]", b"@", b".", b".."),
    *(b"\xc3\xa9", b"\xff", b"\r", b"\0", b"\t", b"\x0b", b"X", b"0", b"-", b"=", b":"),
    *(b"size: 0000000001\n", b"to: [ ] <c@x>\n", b"to:\n", b"flags: [x] expire\n", b"from: <z@x>\n"),
    *(b"x: y\n", b"x\n", b"\n\n"),
    *(b" notify=NEVER", b" orcpt=rfc822;a", b" target=\"|x\"", b"[x] expire", b"K", b"\xe2\x84\xaa", b"id: x\n"),
]  # fmt: skip


def in_full(data: bytes) -> Shown:
    """Return what a listing shows of a file, by the readers of whole files; raises QueueFileError."""
    e = queue_reader.parse(data, queue_reader.LISTED)
    history = queue_reader.read_history(data[e.content_offset + e.size :])
    reasons = {row[1]: row[5] for row in history if row[2] == "deferred"}
    recipients = [(str(r.forward_path), reasons.get(r.forward_path, "")) for r in e.pending()]
    return e.arrived_at, e.size, None if e.reverse_path is None else str(e.reverse_path), recipients, e.expire


def at_a_glance(data: bytes) -> Shown | None:
    found = queue_glance.head(data)
    if found is None:
        return None
    arrived, size, sender, pending, expired, start = found
    return arrived, size, sender, queue_glance.with_reasons(pending, data[start + size :]), expired


def addressed(texts: list[str], content: bytes = b"\nhello\n", history: bytes = b"", sender: str = "alice@x") -> bytes:
    """Return a file for these recipients, of whom the last but one is done with."""
    recipients = [Recipient(Address.parse(text)) for text in texts]
    if len(recipients) > 1:
        recipients[-2].mark = Mark.DELIVERED
    e = Envelope("0123456789ABC", 1_795_435_041_000_007, Address.parse(sender), recipients, Submitter(1000, "alice"))
    e.size = len(content)
    return render(e) + content + history


@st.composite
def histories(draw: st.DrawFn) -> bytes:
    """Return lines of history, about plain and odd addresses, some torn."""
    known = st.sampled_from(PLAIN + ODD).map(Address.parse)
    outcomes = st.sampled_from(["deferred", "deferred", "deferred", "bounced"])
    reasons = (
        st.sampled_from(["timed out", 'said: "no" <bob>', "x" * 2001, "gr\u00fc\u00df dich", "\udcff", ""]) | octets
    )
    lines = st.builds(history_line, st.integers(0, 2**31), known, outcomes, st.just("4.4.1"), octets, reasons)
    torn = st.builds(lambda line, cut: line[:cut], lines, st.integers(0, 60))
    return b"".join(draw(st.lists(lines | torn, max_size=6)))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Return a queue file: what we write, or the golden one, with some octets changed now and then."""
    plain = st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4)
    texts = draw(plain | st.lists(st.sampled_from(PLAIN + ODD), max_size=4))
    e = draw(envelopes())
    e.size = 3
    data = draw(
        st.sampled_from(
            [addressed(texts, b"hi\n"), addressed(texts, b"hi\n", sender=""), GOLDEN + b"hi\n", render(e) + b"hi\n"]
        )
    )
    data += draw(histories())
    for _ in range(draw(st.integers(0, 2))):
        at, gone = draw(st.integers(0, len(data))), draw(st.integers(0, 3))
        data = data[:at] + draw(st.sampled_from(PIECES)) + data[at + gone :]
    return data


@given(files())
def test_a_glance_shows_what_reading_in_full_shows_or_nothing(data: bytes) -> None:
    found = at_a_glance(data)
    try:
        wanted = in_full(data)
    except QueueFileError:
        assert found is None
    else:
        assert found is None or found == wanted


@given(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=5), histories(), st.sampled_from(["", *PLAIN]))
@example(["bob@x"], history_line(0, Address("bob", "x"), "deferred", "4.4.1", "", "a\\b")[:-1], "")
def test_a_glance_is_enough_for_plain_addresses(texts: list[str], history: bytes, sender: str) -> None:
    data = addressed(texts, history=history, sender=sender)
    assert at_a_glance(data) == in_full(data)


@given(st.lists(addresses, min_size=1, max_size=3))
def test_addresses_are_shown_as_they_are_in_full(some: list[Address]) -> None:
    data = addressed([str(address) for address in some])
    assert at_a_glance(data) in (None, in_full(data))


def test_every_damage_by_one_octet_is_seen_as_in_full() -> None:
    whole = addressed(
        ["bob@example.net", "c@x", "d@x"], history=history_line(0, Address("d", "x"), "deferred", "4.4.1", "mx", "no")
    )
    assert at_a_glance(whole) == in_full(whole)
    for at in range(len(whole)):
        for octet in (b"", b"\n", b" ", b"x", b"<", b"\xff"):
            data = whole[:at] + octet + whole[at + 1 :]
            try:
                wanted: Shown | None = in_full(data)
            except QueueFileError:
                wanted = None
            assert at_a_glance(data) in (None, wanted)


@pytest.mark.parametrize("count", [1, 2, 20_000])
def test_the_last_reason_is_shown_whoever_has_others(count: int) -> None:
    texts = [f"user{n}@Far{n % 7}.example" for n in range(count)]
    lines = []
    for turn in range(2):
        for text in texts:
            lines.append(history_line(turn, Address.parse(text.lower()), "deferred", "4.4.1", "mx", f"turn {turn}"))
    data = addressed(texts, history=b"".join(lines))
    found = at_a_glance(data)
    assert found == in_full(data) and found is not None
    assert {reason for _, reason in found[3]} == {"turn 1"}


def test_the_end_of_a_head_that_is_not_there_is_not_seen() -> None:
    data = addressed(["bob@x", "c@x"])
    for length in range(len(data) - len(b"\nhello\n")):
        assert queue_glance.head(data[:length]) is None
