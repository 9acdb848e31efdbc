"""What mailq shows of the messages on the disk, however large or odd they are."""

import os
import pwd
import tempfile

import pytest

from sendmail_py.core.envelope import Mark
from sendmail_py.formats.listing import ListedMessage
from sendmail_py.formats.queue_file import history_line
from sendmail_py.spool import directories
from sendmail_py.spool import listed as module
from sendmail_py.spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING
from sendmail_py.spool.listed import LIMIT, listed
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, drop_one

NOBODY = 65534


def test_a_listing_has_sender_size_pending_recipients_and_the_last_reason(store: Store, put: PutMessage) -> None:
    e = put("a@x", "b@x", "c@x", state=DEFERRED)
    lines = [history_line(n, e.recipients[1].forward_path, "deferred", "4.4.1", "none", f"reason {n}") for n in (1, 2)]
    store.mark(DEFERRED, e.queue_id, [(e.recipients[0], Mark.DELIVERED)], history=b"".join(lines))
    (message,) = listed(store)
    assert message is not None
    assert (message.queue_id, message.size, message.sender) == (e.queue_id, 4, "alice@example.org")
    assert message.recipients == [("b@x", "reason 2"), ("c@x", "")]


@pytest.mark.parametrize(("recipients", "octets"), [(1, 30_000), (2000, 10), (2000, 30_000)])
def test_a_listing_is_complete_where_one_read_does_not_do(
    store: Store, put: PutMessage, recipients: int, octets: int
) -> None:
    e = put(*(f"user{n}@x" for n in range(recipients)), state=DEFERRED, content=b"\n" + b"x" * octets)
    last = e.recipients[-1].forward_path
    line = history_line(1, last, "deferred", "4.4.1", "none", "timed out")
    store.mark(DEFERRED, e.queue_id, [], history=line)
    (message,) = listed(store)
    assert message is not None and (message.size, len(message.recipients)) == (octets + 1, recipients)
    assert message.recipients[-1] == (str(last), "timed out")


def test_a_submitted_message_without_a_sender_is_listed_by_the_login_of_its_owner(store: Store) -> None:
    _, queue_id = drop_one(store)
    (message,) = listed(store)
    assert message is not None
    assert (message.queue_id, message.sender, message.size) == (queue_id, pwd.getpwuid(os.getuid()).pw_name, 4)


def only(store: Store) -> ListedMessage:
    """Return the one message that is listed."""
    (message,) = listed(store)
    assert message is not None
    return message


def test_an_odd_address_is_listed_with_its_reason(store: Store, put: PutMessage) -> None:
    e = put('"a b"@x', "b@x", "j\u00f6rg@x", state=DEFERRED, sender='"c d"@x')
    lines = [history_line(1, r.forward_path, "deferred", "4.4.1", "none", f'"{r.forward_path}"') for r in e.recipients]
    store.mark(DEFERRED, e.queue_id, [], history=b"".join(lines))
    message = only(store)
    assert message.sender == '"c d"@x'
    assert message.recipients == [(text, f'"{text}"') for text in ('"a b"@x', "b@x", "j\u00f6rg@x")]


def test_an_address_and_a_reason_without_end_are_cut(store: Store, put: PutMessage) -> None:
    e = put("b" * 9000 + "@x", "c@x", state=DEFERRED, sender="a" * 9000)
    line = history_line(1, e.recipients[1].forward_path, "deferred", "4.4.1", "none", "why" * 3000)
    store.mark(DEFERRED, e.queue_id, [], history=line)
    message = only(store)
    assert message.sender == "a" * 4000 + " ..."
    assert message.recipients == [("b" * 4000 + " ...", ""), ("c@x", ("why" * 3000)[:4000] + " ...")]


def test_of_a_history_without_end_the_last_lines_are_read(
    store: Store, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 100_000)
    e = put("b@x", "c@x", state=DEFERRED)
    first, second = (r.forward_path for r in e.recipients)
    early = history_line(1, first, "deferred", "4.4.1", "none", "early")
    late = [history_line(n, second, "deferred", "4.4.1", "none", f"turn {n}") for n in range(2000)]
    store.mark(DEFERRED, e.queue_id, [], history=early + b"".join(late))
    assert only(store).recipients == [("b@x", ""), ("c@x", "turn 1999")]


def test_a_head_without_end_is_passed_over(store: Store, put: PutMessage) -> None:
    put(state=HOLD)
    with open(f"{store.top}/{INCOMING}/0123456789ABD", "wb") as file:
        file.write(b"sendmail-py-queue 1\nx: ")
        file.truncate(4 * LIMIT)
    read = []
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(descriptor, length, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", counted)
        assert [message and message.queue_name for message in listed(store)] == [None, HOLD]
    assert sum(read) <= LIMIT + 16384  # and the first piece of the other


def test_a_look_leaves_the_time_of_access_as_it_was(store: Store, put: PutMessage) -> None:
    e = put(state=DEFERRED)
    path = store.path(DEFERRED, e.queue_id)
    os.utime(path, ns=(1, 2**60))
    assert only(store).queue_id == e.queue_id
    assert os.stat(path).st_atime_ns == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_what_is_somebody_elses_is_looked_at_all_the_same() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        store = Store(f"{place}/queue")
        directories.create(store.top, NOBODY, NOBODY)
        _, queue_id = drop_one(store)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            message = only(store)
        finally:
            os.seteuid(0)
            os.setegid(0)
    assert (message.queue_id, message.sender) == (queue_id, "root")


def test_a_torn_or_vanished_message_is_left_out_and_the_others_are_listed(store: Store, put: PutMessage) -> None:
    put(queue_id="0123456789AB0", state=INCOMING)
    put(queue_id="0123456789AB1", state=ACTIVE)
    put(queue_id="0123456789AB2", state=HOLD)
    os.truncate(store.path(INCOMING, "0123456789AB0"), 30)
    os.chmod(store.path(ACTIVE, "0123456789AB1"), 0)  # nobody but root may open it
    found = [message and message.queue_id for message in listed(store)]
    assert found == [None, "0123456789AB1" if os.getuid() == 0 else None, "0123456789AB2"]
    rest = listed(store)
    assert next(rest) is None
    os.unlink(store.path(ACTIVE, "0123456789AB1"))
    assert [message and message.queue_id for message in rest] == ["0123456789AB2"]
