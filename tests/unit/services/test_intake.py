"""Intake: what a submitted file becomes in the queue, octet for octet."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import MAILBOX, Envelope
from sendmail_py.services import content
from sendmail_py.services.content import blocks, unix_line_ends, unix_line_ends_whole
from sendmail_py.services.intake import Intake
from sendmail_py.spool.layout import INCOMING, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import envelope_for

PADDING = b"12345"


def submit(
    store: Store,
    content: bytes,
    *recipients: str,
    sender: str = "alice@x",
    target: str = "",
    client: str = "",
    **values: str,
) -> Envelope:
    """Submit content that stands in a file after something else; returns the envelope queued."""
    settings = {"myorigin": "example.org", "myhostname": "mx.example.org", **values}
    config = Config({name: Setting(text, "test") for name, text in settings.items()})
    envelope = envelope_for(*recipients or ("bob@here",), sender=sender)
    envelope.size = len(content)
    envelope.client = client
    for recipient in envelope.recipients:
        recipient.target = target
    with tempfile.TemporaryFile() as file:
        file.write(PADDING + content + b"2026 history, not content\n")
        file.flush()
        Intake(config, store).submitted(envelope, file.fileno(), len(PADDING))
    assert os.listdir(f"{store.top}/{TMP}") == []
    queued = read_message(store.path(INCOMING, envelope.queue_id))
    assert queued.size == envelope.size
    return queued


def content_of(store: Store, envelope: Envelope) -> tuple[bytes, bytes]:
    """Return header and body as they are queued."""
    data = Path(store.path(INCOMING, envelope.queue_id)).read_bytes()[envelope.content_offset :]
    assert len(data) == envelope.size
    header, _, body = data.partition(b"\n\n")
    return header + b"\n", body


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"", b"\r\r\n"]), max_size=10))
@example([b"a\r", b"\n"])
@example([b"\r", b"", b"\n", b"\r"])
def test_line_ends_are_the_same_whatever_blocks_the_text_comes_in(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert b"".join(unix_line_ends(b"", parts)) == unix_line_ends_whole(whole) == whole.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17])
def test_blocks_are_the_part_of_the_file_that_was_asked_for(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(content, "_BLOCK", 8)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(range(20)))
        file.flush()
        assert b"".join(blocks(file.fileno(), 2, size)) == bytes(range(2, 2 + size))
        with pytest.raises(OSError, match="ends too early"):
            list(blocks(file.fileno(), 10, 11))


@pytest.mark.parametrize("block", [1, 3, 64, 1 << 18])
def test_a_large_body_is_queued_whole_with_unix_line_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(content, "_BLOCK", block)
    body = b"line\r\nlone\rcr\r\n" * 40 + b"no end"
    queued = submit(store, b"Subject: x\r\nTo: a@b\r\n\r\n" + body)
    header, kept = content_of(store, queued)
    assert kept == body.replace(b"\r\n", b"\n")
    assert b"Subject: x\nTo: a@b\n" in header and b"\r" not in header


def test_a_file_that_is_shorter_than_it_says_is_an_error_and_nothing_is_queued(store: Store) -> None:
    envelope = envelope_for("bob@here")
    envelope.size = 1 << 20
    config = Config({"myorigin": Setting("x", "test"), "myhostname": Setting("x", "test")})
    with tempfile.TemporaryFile() as file:
        file.write(b"Subject: x\n\n" + b"a" * 400_000)
        file.flush()
        with pytest.raises(OSError, match="ends too early"):
            Intake(config, store).submitted(envelope, file.fileno(), 0)
    assert store.find(envelope.queue_id) is None and os.listdir(f"{store.top}/{TMP}") == []


def test_a_from_line_at_the_top_is_dropped_and_one_in_the_body_stays(store: Store) -> None:
    header, body = content_of(store, submit(store, b"From alice Mon Nov 23 11:57:21 2026\nSubject: x\n\nFrom here\n"))
    assert b"From alice" not in header and b"Subject: x\n" in header and body == b"From here\n"


def test_a_body_without_a_header_gets_one(store: Store) -> None:
    header, body = content_of(store, submit(store, b"just text: no, words\nmore\n"))
    assert header.startswith(b"Received: ") and body.endswith(b"more\n")
    assert all(b"\n" + name in header for name in (b"Message-Id: ", b"Date: ", b"From: "))


def test_an_empty_message_is_queued(store: Store) -> None:
    header, body = content_of(store, submit(store, b""))
    assert body == b"" and b"\nFrom: alice@x\n" in header


def test_bare_addresses_are_qualified_and_duplicates_merged_in_order(store: Store) -> None:
    queued = submit(store, b"\n", "bob", "carol@x", "bob@EXAMPLE.org", "Bob", "carol@x", sender="alice")
    assert [str(r.forward_path) for r in queued.recipients] == ["bob@example.org", "carol@x", "Bob@example.org"]
    assert str(queued.sender) == "alice@example.org"


def test_the_null_sender_stays_null(store: Store) -> None:
    assert not submit(store, b"\n", sender="").sender


def test_an_address_above_ascii_asks_for_smtputf8(store: Store) -> None:
    assert not submit(store, b"\n", "bob").smtputf8
    assert submit(store, b"\n", "j\u00f6rg").smtputf8
    assert submit(store, b"\n", sender="j\u00f6rg@x").smtputf8


@pytest.mark.parametrize("padding", [0, 400_000])
@pytest.mark.parametrize(("end", "body"), [(b"", ""), (b"\xe4\n", "8BITMIME"), ("ä".encode(), "8BITMIME")])
def test_content_above_ascii_is_declared(store: Store, padding: int, end: bytes, body: str) -> None:
    assert submit(store, b"Subject: x\n\n" + b"x" * padding + end).body == body


def test_a_header_above_ascii_is_content_too(store: Store) -> None:
    assert submit(store, "Subject: Größe\n\nx\n".encode()).body == "8BITMIME"


@pytest.mark.parametrize(("hops", "refused"), [(2, ""), (3, "5.4.6 too many hops")])
def test_a_message_with_too_many_hops_is_queued_as_refused(store: Store, hops: int, refused: str) -> None:
    assert submit(store, b"Received: by x\n" * hops + b"\nhi\n", hopcount_limit="2").refused == refused


@pytest.mark.parametrize(("limit", "refused"), [("10", "5.3.4 message is larger"), ("11", ""), ("0", "")])
def test_a_message_over_the_size_limit_is_queued_as_refused(store: Store, limit: str, refused: str) -> None:
    queued = submit(store, b"\n0123456789", message_size_limit=limit)
    assert queued.refused.startswith(refused) and bool(queued.refused) == bool(refused)


def test_the_spellings_of_one_local_user_are_one_recipient(store: Store) -> None:
    spellings = "bob", "Bob", "bob@here.test", "BOB@HERE.TEST", "bob@localhost", "bob+tag"
    queued = submit(store, b"", *spellings, mydestination="here.test localhost", myorigin="here.test")
    assert [str(recipient.forward_path) for recipient in queued.recipients] == ["bob@here.test", "bob+tag@here.test"]


def test_only_users_of_this_host_can_be_asked_for_past_their_aliases(store: Store) -> None:
    envelope = submit(store, b"\nhi\n", "bob", "carol@example.net", target=MAILBOX, myorigin="mx.example.org")
    assert [(str(r.forward_path), r.target) for r in envelope.recipients] == [
        ("bob@mx.example.org", MAILBOX),
        ("carol@example.net", ""),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob%here.test@localhost", "bob@here.test"),
        ("x%y.test@here.test", "x@y.test"),
        ("x%y.test", "x@y.test"),
        ("x%z.test%y.test", "x%z.test@y.test"),
        ("localhost!bob", "bob@localhost"),
        ("a!localhost!bob@here.test", "localhost!bob@a"),
        ("x%y.test@other.test", "x%y.test@other.test"),
        ("y.test!x@other.test", "y.test!x@other.test"),
        ("100%", "100%@here.test"),
        ("hi!", "hi!@here.test"),
        ("a%b c", '"a%b c"@here.test'),
    ],
)
def test_a_route_in_the_local_part_of_our_own_users_mail_is_followed(store: Store, text: str, expected: str) -> None:
    queued = submit(store, b"", text, mydestination="here.test localhost", myorigin="here.test")
    assert [str(recipient.forward_path) for recipient in queued.recipients] == [expected]


def test_a_route_in_the_local_part_is_not_followed_for_clients(store: Store) -> None:
    queued = submit(store, b"", "x%y.test@here.test", "y.test!x", client="c.test[192.0.2.1]", mydestination="here.test")
    assert [r.forward_path.domain for r in queued.recipients] == ["here.test", "example.org"]


def test_elsewhere_only_the_domain_ignores_case(store: Store) -> None:
    queued = submit(store, b"", "bob@x.test", "Bob@x.test", "bob@X.TEST", mydestination="here.test")
    assert [str(recipient.forward_path) for recipient in queued.recipients] == ["bob@x.test", "Bob@x.test"]
