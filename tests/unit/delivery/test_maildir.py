"""Maildir delivery as the user that runs the test."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import Outcome
from sendmail_py.delivery import maildir
from sendmail_py.delivery.copy import ContentError, Copy
from sendmail_py.host.users import User

Make = Callable[..., Copy]


@pytest.fixture
def me() -> User:
    return User("bob", os.getuid(), os.getgid(), "/", "/bin/sh", "", tuple(os.getgroups()))


@pytest.fixture
def copy(tmp_path: Path) -> Make:
    def make(queue_id: str = "Q1", content: bytes = b"Subject: x\n\nhello\n") -> Copy:
        path = tmp_path / "content"
        path.write_bytes(content)
        delivery = Delivery(
            queue_id, os.open(path, os.O_RDONLY), 0, len(content), Address("al", "x"), [Recipient(Address("bob", "x"))]
        )
        delivery.arrived_at = 1_795_435_041_123_456
        made = Copy(delivery, [0])
        made.address_to([0])
        return made

    return make


def test_a_message_appears_in_new_with_its_fields_and_octets(tmp_path: Path, me: User, copy: Make) -> None:
    one = copy(content=b"Subject: x\n\nFrom here\nno end")
    maildir.store([one], me, f"{tmp_path}/Maildir")
    (path,) = (tmp_path / "Maildir" / "new").iterdir()
    assert path.read_bytes() == b"Return-Path: <al@x>\nDelivered-To: bob@x\nSubject: x\n\nFrom here\nno end"
    assert one.delivery.results == [maildir.DELIVERED]
    for name in ("", "tmp", "new", "cur"):
        assert (tmp_path / "Maildir" / name).stat().st_mode & 0o777 == 0o700


def test_what_a_crash_left_in_tmp_is_replaced(tmp_path: Path, me: User, copy: Make) -> None:
    maildir.store([copy("Q0")], me, f"{tmp_path}/Maildir")
    one = copy("Q1")
    (tmp_path / "Maildir" / "tmp" / maildir.file_name(one, "bob")).write_bytes(b"half")
    maildir.store([one], me, f"{tmp_path}/Maildir")
    assert one.delivery.results == [maildir.DELIVERED]
    assert os.listdir(tmp_path / "Maildir" / "tmp") == []


def test_after_a_failed_sync_of_the_directory_nothing_is_left_to_trust(
    tmp_path: Path, me: User, copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir.store([copy("Q0")], me, f"{tmp_path}/Maildir")
    calls = []

    def fail_at_third(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_at_third)
    copies = [copy("Q1"), copy("Q2")]
    maildir.store(copies, me, f"{tmp_path}/Maildir")
    assert {one.delivery.results[0].outcome for one in copies if one.delivery.results[0]} == {Outcome.DEFERRED}
    assert len(os.listdir(tmp_path / "Maildir" / "new")) == 1


def test_a_file_that_cannot_be_synced_is_deferred_alone(
    tmp_path: Path, me: User, copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir.store([copy("Q0")], me, f"{tmp_path}/Maildir")
    calls = []

    def fail_at_first(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", fail_at_first)
    copies = [copy("Q1"), copy("Q2")]
    maildir.store(copies, me, f"{tmp_path}/Maildir")
    assert [one.delivery.results[0].status for one in copies if one.delivery.results[0]] == ["4.2.2", "2.0.0"]
    assert os.listdir(tmp_path / "Maildir" / "tmp") == []


def test_without_hard_links_a_message_is_renamed(
    tmp_path: Path, me: User, copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object, **more: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    one = copy()
    maildir.store([one], me, f"{tmp_path}/Maildir")
    assert one.delivery.results == [maildir.DELIVERED]


def test_a_file_name_holds_no_slash_colon_or_blank(copy: Make) -> None:
    name = maildir.file_name(copy("Q/1"), "a b:c")
    assert not set("/: ") & set(name)
    assert name.startswith("1795435041.QQ\\0571Ua\\040b\\072c.")


def test_what_another_agent_is_writing_under_the_same_name_is_never_shown(
    tmp_path: Path, me: User, copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue manager that was killed leaves an agent behind, which may still write what the next one gets again."""
    place = f"{tmp_path}/Maildir"
    maildir.store([copy("Q0")], me, place)
    early, late = copy("Q1"), copy("Q1")
    is_synced, goes_on, fsync = threading.Event(), threading.Event(), os.fsync

    def wait_at_first(descriptor: int) -> None:
        fsync(descriptor)
        if not is_synced.is_set():
            is_synced.set()
            goes_on.wait(20)

    def half() -> Iterator[bytes]:
        yield b"Subject: x\n"
        goes_on.set()
        first.join(20)
        raise ContentError("it is shorter than its size")

    monkeypatch.setattr(os, "fsync", wait_at_first)
    monkeypatch.setattr(Copy, "pieces", lambda self: half() if self is late else iter([self.content or b""]))
    first = threading.Thread(target=maildir.store, args=([early], me, place))
    first.start()
    assert is_synced.wait(20)
    maildir.store([late], me, place)
    monkeypatch.undo()
    again = copy("Q1")
    maildir.store([again], me, place)
    whole = b"Return-Path: <al@x>\nDelivered-To: bob@x\nSubject: x\n\nhello\n"
    assert [path.read_bytes() for path in (tmp_path / "Maildir" / "new").iterdir()] == [whole] * 2
    assert os.listdir(tmp_path / "Maildir" / "tmp") == []


LATER = 1_000_000 * 3600


@pytest.mark.parametrize(
    ("arrived", "active", "looks"),
    [
        (-LATER, -LATER, True),
        (1_000_000, 1_000_000, True),  # the clock may have been set by a second or two
        (LATER, LATER, False),
        (LATER, LATER - 1_000_000, True),  # the clock was set back since it arrived
    ],
)
def test_what_an_attempt_before_may_have_delivered_and_was_read_since_is_not_delivered_again(
    tmp_path: Path, me: User, copy: Make, arrived: int, active: int, looks: bool
) -> None:
    began = int(maildir._sure_since[0] * 1_000_000)
    for result in (maildir.DELIVERED, maildir.WAS_THERE if looks else maildir.DELIVERED):
        one = copy()
        one.delivery.arrived_at, one.delivery.active_at = began + arrived, began + active
        maildir.store([one], me, f"{tmp_path}/Maildir")
        assert one.delivery.results == [result]
        for path in (tmp_path / "Maildir" / "new").iterdir():
            path.rename(tmp_path / "Maildir" / "cur" / f"{path.name}:2,S")


def test_after_a_failed_sync_of_the_directory_it_is_looked_for_among_what_was_read(
    tmp_path: Path, me: User, copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir.store([copy("Q0")], me, f"{tmp_path}/Maildir")
    now = int(maildir._sure_since[0] * 1_000_000) + LATER
    monkeypatch.setattr(maildir, "_sure_since", list(maildir._sure_since))
    monkeypatch.setattr(maildir.time, "time", lambda: now / 1e6 + 1)
    calls = []

    def read_and_fail_at_second(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            (path,) = (tmp_path / "Maildir" / "new").glob("*QQ1U*")
            path.rename(tmp_path / "Maildir" / "cur" / f"{path.name}:2,S")
            raise OSError(errno.EIO, "Input/output error")

    for expected in (Outcome.DEFERRED, Outcome.DELIVERED):
        one = copy("Q1")
        one.delivery.arrived_at = one.delivery.active_at = now
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", read_and_fail_at_second)
            maildir.store([one], me, f"{tmp_path}/Maildir")
        (result,) = one.delivery.results
        assert result is not None and result.outcome is expected
    assert len(list((tmp_path / "Maildir").glob("*/*QQ1U*"))) == 1
