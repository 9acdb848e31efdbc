"""What a submitted header gains and loses on its way into the queue."""

from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendmail_py.core.address import NULL_SENDER, Address
from sendmail_py.formats.submission_header import Submission, change_field, full_name_from_gecos, prepare_header

FACTS = Submission(
    queue_id="6A24F0C1B3D2",
    arrived_at=1795435041_123456,
    utc_offset=3600,
    uid=1000,
    sender=Address("alice", "example.org"),
    full_name="Alice Example",
    myorigin="example.org",
    myhostname="host.example.org",
)
COMPLETE = b"From: a@x\nDate: now\nMessage-Id: <1@x>\n"


def prepared(header: bytes, **changes: object) -> bytes:
    return prepare_header(header, replace(FACTS, **changes)).header  # type: ignore[arg-type]


def test_blanks_before_a_colon_go_but_not_in_mail_of_strangers() -> None:
    header = b"Subject : a : b\nTo \t:bob\nX:y\nX-A: b\n c : d\n"
    assert b"Subject: a : b\nTo:bob@example.org\nX:y\nX-A: b\n c : d\n" in prepared(header, myorigin="example.org")
    assert header in prepared(header, complete=False)


def test_an_empty_header_gains_all_that_a_message_needs() -> None:
    assert prepared(b"") == (
        b"Received: by host.example.org (sendmail-py, from userid 1000)\n"
        b"\tid 6A24F0C1B3D2; Mon, 23 Nov 2026 12:57:21 +0100\n"
        b"Message-Id: <20261123115721.6A24F0C1B3D2@host.example.org>\n"
        b"Date: Mon, 23 Nov 2026 12:57:21 +0100\n"
        b"From: Alice Example <alice@example.org>\n"
    )


def test_what_is_there_stays_octet_for_octet() -> None:
    header = COMPLETE + b'subject: \xe9\0 x\n\t folded  \nX-Odd:\nTo: "B, C"   <b@x>,\n (c) d@y\n'
    assert prepared(header).partition(b"+0100\n")[2] == header


def test_crlf_becomes_lf_and_a_cut_header_gets_its_line_end() -> None:
    assert prepared(COMPLETE.replace(b"\n", b"\r\n") + b"X: a\r\n b").endswith(b"\nX: a\n b\n")
    assert b"\r" not in prepared(COMPLETE.replace(b"\n", b"\r\n"))


def test_private_fields_are_removed_in_any_case() -> None:
    header = COMPLETE + b"BCC: x,\n y\nResent-Bcc: z\nreturn-path: <q>\nContent-Length: 5\nKeep: yes\n"
    out = prepared(header)
    assert b"Keep: yes\n" in out
    for name in (b"bcc", b"return-path", b"content-length", b" y\n"):
        assert name not in out.lower()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"From: root (Cron Daemon)\n", b"From: root@o.org (Cron Daemon)\n"),
        (b"From: Anacron <root>\n", b"From: Anacron <root@o.org>\n"),
        (b'From: "(Cron Daemon)" <alice>\n', b'From: "(Cron Daemon)" <alice@o.org>\n'),
        (b"To: a,\n\tb@x , c\n", b"To: a@o.org,\n\tb@x , c@o.org\n"),
        (b"To: J\xf6rg <j>, \xc3\xa9 <e>\n", b"To: J\xf6rg <j@o.org>, \xc3\xa9 <e@o.org>\n"),
        (b'To: friends: a, "b c";, d@x\n', b'To: friends: a@o.org, "b c"@o.org;, d@x\n'),
        (b"To: undisclosed-recipients:;\n", b"To: undisclosed-recipients:;\n"),
        (b"To: <>\n", b"To: <>\n"),
        (b"To:\n", b"To:\n"),
        (b"To : a\n", b"To : a@o.org\n"),
        (b"To: not an address, a\n", b"To: not an address, a\n"),
        (b"To: a\r b\n", b"To: a\r b\n"),
        (b"To:\n a\n \n", b"To:\n a@o.org\n \n"),
    ],
)
def test_bare_addresses_are_qualified_in_place(raw: bytes, expected: bytes) -> None:
    assert change_field(b"to", raw, "o.org") == expected


@given(
    st.lists(st.sampled_from(["a", "b.c", "@", "@x.org", "<", ">", ",", " ", "\t", "\n", "-", "+", '"', ":", "(", "é"]))
)
@example(["a", "@x.org", ",", " ", "b.c", " ", "<", "a", "@x.org", ">"])
@example(["a", "@x.org", ",", "b.c"])
def test_what_is_seen_at_once_to_be_whole_is_what_reading_it_shows(parts: list[str]) -> None:
    raw = f"To: {''.join(parts)}\n".encode()
    assert change_field(b"to", raw, "o.org") == change_field(b"to", raw, "o.org", lambda name, address: address)


def test_only_address_fields_are_qualified() -> None:
    out = prepared(COMPLETE + b"Subject: root\nX-To: root\nreply-to: root\nResent-To: root\n")
    assert b"Subject: root\nX-To: root\nreply-to: root@example.org\nResent-To: root@example.org\n" in out


def test_a_message_sent_again_gains_resent_fields_only() -> None:
    result = prepare_header(b"Resent-To: b@x\nTo: c@x\n", FACTS)
    message = message_from_bytes(result.header)
    assert message["Resent-Message-Id"] == "<20261123115721.6A24F0C1B3D2@host.example.org>"
    assert message["Resent-From"] == "Alice Example <alice@example.org>"
    assert message["Resent-Date"] and result.message_id == ""
    assert message["From"] is message["Date"] is message["Message-Id"] is None


def test_hops_and_message_id_are_told() -> None:
    result = prepare_header(b"Received: a\nreceived: b\n c\nMessage-ID:\n <1@x>\n", FACTS)
    assert (result.hops, result.message_id) == (2, "<1@x>")
    assert prepare_header(b"", FACTS).message_id == "<20261123115721.6A24F0C1B3D2@host.example.org>"


@pytest.mark.parametrize(
    ("sender", "name", "expected"),
    [
        (Address("x", "y.org"), "Alice", "Alice <x@y.org>"),
        (Address("alice"), "", "alice@example.org"),
        (NULL_SENDER, "Alice", "MAILER-DAEMON@example.org"),
        (Address("a b", "y.org"), "", '"a b"@y.org'),
        (Address("x", "y"), "Alice Q. Public", '"Alice Q. Public" <x@y>'),
        (Address("x", "y"), 'Al "the\\" Ice', '"Al \\"the\\\\\\" Ice" <x@y>'),
        (Address("x", "y"), "(Cron Daemon)", '"(Cron Daemon)" <x@y>'),
        (Address("x", "y"), "evil\r\nBcc: z", '"evil Bcc: z" <x@y>'),
        (Address("x", "y"), "=?utf-8?q?x?=", '"=?utf-8?q?x?=" <x@y>'),
        (Address("x", "y"), " \t", "x@y"),
    ],
)
def test_the_missing_from_is_made_of_name_and_sender(sender: Address, name: str, expected: str) -> None:
    assert prepared(b"", sender=sender, full_name=name).decode().endswith(f"\nFrom: {expected}\n")


@pytest.mark.parametrize("name", ["Jörg Müller", "漢字" * 40, "é", "A" * 44 + "é" * 60])
def test_a_name_beyond_ascii_becomes_encoded_words_that_decode_again(name: str) -> None:
    out = prepared(b"", full_name=name)
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 100
    value = message_from_bytes(out)["From"].replace("\n", "")
    assert str(make_header(decode_header(value.rpartition("<")[0].strip()))) == name


def test_octets_that_are_no_utf8_in_a_name_are_taken_for_latin_1() -> None:
    out = prepared(b"", full_name="J\udcf6rg")
    assert str(make_header(decode_header(out.split(b"From: ")[1].split(b" <")[0].decode()))) == "Jörg"


def test_a_sender_that_is_no_utf8_keeps_its_octets() -> None:
    assert prepared(b"", sender=Address("j\udcf6", "y"), full_name="").endswith(b"From: j\xf6@y\n")


@pytest.mark.parametrize(
    ("gecos", "expected"),
    [
        ("Alice Example,Room 1,,", "Alice Example"),
        ("& Example", "Alice Example"),
        ("", ""),
        (",x", ""),
        ("A & B", "A Alice B"),
    ],
)
def test_gecos_gives_the_name_up_to_the_comma(gecos: str, expected: str) -> None:
    assert full_name_from_gecos(gecos, "alice") == expected


def test_a_hundred_thousand_fields_are_prepared() -> None:
    result = prepare_header(b"X-A: b\n" * 100_000 + b"To: " + b"a, " * 50_000 + b"b\n", FACTS)
    assert result.header.count(b"@example.org") == 50_002


def test_a_field_over_the_limit_is_left_as_it_is_and_the_next_is_not() -> None:
    out = prepared(b"To: a, b, c\nCc: a, b\n", header_size_limit=10)
    assert b"\nTo: a, b, c\nCc: a@example.org, b@example.org\n" in out


def test_address_fields_of_absurd_size_are_left_as_they_are() -> None:
    monster = b"To: " + b"a," * 1_000_000 + b"b\n"
    out = prepared(b"Cc: c\n" + monster + b"Reply-To: d\n")
    assert b"\nCc: c@example.org\n" + monster + b"Reply-To: d\n" in out


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"From: Bob <bob@old>\n", b"From: Bob <robert@new.org>\n"),
        (b'From: "bob@old" (x) <bob@old>,\n eve@far\n', b'From: "bob@old" (x) <robert@new.org>,\n eve@far\n'),
        (
            b"To: a@b, B\xc3\xb6b <bob@old> (c), bob@old\n",
            b"To: a@b, B\xc3\xb6b <robert@new.org> (c), robert@new.org\n",
        ),
        (b"To: bare, bob@old\n", b"To: bare@o.org, robert@new.org\n"),
        (b"To: g: bob@old;\n", b"To: g: robert@new.org;\n"),
        (b"To: broken <bob@old\n", b"To: broken <bob@old\n"),
    ],
)
def test_an_address_that_changes_is_replaced_and_every_other_octet_stays(raw: bytes, expected: bytes) -> None:
    def change(name: bytes, address: Address) -> Address:
        return Address("robert", "new.org") if address == Address("bob", "old") else address

    assert change_field(b"to", raw, "o.org", change) == expected
