"""Writing into maildrop/: complete and durable, or gone."""

import errno
import os
import posix
import resource
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.errors import SpoolError
from sendmail_py.spool.blocked import blocked_until
from sendmail_py.spool.layout import BLOCKED, MAILDROP, TRIGGER
from sendmail_py.spool.maildrop import Drop, check_space, is_name, poke
from sendmail_py.spool.store import Store


def drops(store: Store) -> list[str]:
    return os.listdir(f"{store.top}/{MAILDROP}")


def test_a_finished_file_holds_what_was_written_and_is_marked_complete(store: Store) -> None:
    drop = Drop(store.top)
    assert stat.S_IMODE(os.stat(drop.path).st_mode) == 0o600
    drop.write(b"head 0000\n")
    drop.write(b"content")
    drop.rewrite(5, b"0007")
    drop.finish()
    assert drops(store) == [drop.name] and is_name(drop.name)
    assert Path(drop.path).read_bytes() == b"head 0007\ncontent"
    assert stat.S_IMODE(os.stat(drop.path).st_mode) == 0o640
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(drop.descriptor)


def test_an_umask_that_takes_everything_away_does_no_harm(store: Store) -> None:
    old = os.umask(0o777)
    try:
        drop = Drop(store.top)
        drop.finish()
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(drop.path).st_mode) == 0o640


def test_an_abandoned_file_is_gone(store: Store) -> None:
    drop = Drop(store.top)
    drop.write(b"half a message")
    drop.abandon()
    assert drops(store) == []


def test_two_files_of_one_process_have_two_names(store: Store) -> None:
    names = {Drop(store.top).name for _ in range(20)}
    assert len(names) == 20 == len(drops(store))


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a directory away")
def test_a_maildrop_of_another_owner_than_the_queue_is_refused(store: Store) -> None:
    drop = Drop(store.top)
    os.chown(f"{store.top}/{MAILDROP}", 65534, -1)
    os.chmod(f"{store.top}/{MAILDROP}", 0o3733)
    with pytest.raises(SpoolError, match="wrong owner"):
        drop.finish()
    assert drops(store) == []


@pytest.mark.parametrize("mode", [0o3777, 0o1733, 0o2733, 0o700])
def test_a_maildrop_of_another_mode_is_refused_and_the_file_removed(store: Store, mode: int) -> None:
    drop = Drop(store.top)
    os.chmod(f"{store.top}/{MAILDROP}", mode)
    with pytest.raises(SpoolError, match="wrong owner, group or mode"):
        drop.finish()
    assert drops(store) == []


def test_no_maildrop_at_all_is_an_error_for_people(store: Store) -> None:
    os.rmdir(f"{store.top}/{MAILDROP}")
    with pytest.raises(SpoolError, match="No such file or directory"):
        Drop(store.top)


@pytest.mark.parametrize(
    "step",
    [lambda drop: drop.write(b"x"), lambda drop: drop.rewrite(0, b"x"), lambda drop: drop.finish()],
    ids=["write", "rewrite", "finish"],
)
def test_an_error_at_any_step_leaves_no_file(store: Store, step: Callable[[Drop], None]) -> None:
    drop = Drop(store.top)
    os.close(drop.descriptor)  # every later call fails with EBADF
    with pytest.raises(SpoolError):
        step(drop)
    assert drops(store) == []


def test_too_little_room_is_refused_with_the_figure(store: Store) -> None:
    check_space(store.top, 1, 0)
    with pytest.raises(SpoolError, match="not enough free space"):
        check_space(store.top, 2**62, 0)
    with pytest.raises(SpoolError, match="not enough free space"):
        check_space(store.top, 0, 2**62)


def test_who_is_kept_out_of_the_spool_is_told_so_by_the_file_not_by_the_room(store: Store) -> None:
    check_space(store.top + "/nowhere", 0, 2**62)
    with pytest.raises(SpoolError, match="No such file") as caught:
        Drop(store.top + "/nowhere")
    assert caught.value.no_way_in


def test_a_full_table_of_files_is_no_lack_of_a_way_in(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(SpoolError, match="Too many open files") as caught:
            Drop(store.top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not caught.value.no_way_in


def test_a_blocked_user_is_found_in_pickups_file_and_nobody_in_another_users(store: Store) -> None:
    assert blocked_until(store.top, 1000) == 0
    path = Path(f"{store.top}/{MAILDROP}/{BLOCKED}")
    path.write_text("100 1795438000\n1000 1795439999\n")
    assert [blocked_until(store.top, uid) for uid in (1000, 100, 10, 0)] == [1795439999, 1795438000, 0, 0]
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert blocked_until(store.top, 0) == 0
    path.unlink()
    path.mkdir()
    assert blocked_until(store.top, 0) == 0


@pytest.mark.real(root=True)
def test_a_file_that_a_user_made_blocks_nobody(store: Store) -> None:
    path = Path(f"{store.top}/{MAILDROP}/{BLOCKED}")
    path.write_text("1000 1795439999\n")
    os.chown(path, 65534, -1)
    assert blocked_until(store.top, 1000) == 0


def test_a_poke_reaches_whoever_reads_the_trigger_and_nobody_is_missed_when_none_does(store: Store) -> None:
    poke(store.top, "nobody.listens")
    reader = os.open(f"{store.top}/{TRIGGER}", os.O_RDWR | os.O_NONBLOCK)
    try:
        poke(store.top, "0000.1F")
        assert os.read(reader, 100).strip(b"\n") == b"0000.1F"
    finally:
        os.close(reader)
    os.unlink(f"{store.top}/{TRIGGER}")
    poke(store.top, "no.trigger")


@given(st.text(st.characters(max_codepoint=0x180), max_size=70))
def test_a_name_that_pickup_looks_at_is_short_and_plain_and_not_hidden(name: str) -> None:
    plain = name.isascii() and all(c.isalnum() or c in "._-" for c in name)
    assert is_name(name) == (plain and 0 < len(name) <= 64 and not name.startswith("."))


def test_a_file_that_is_taken_away_while_it_is_written_is_written_again(store: Store) -> None:
    """pickup removes what looks forgotten: a job was silent for days, or the clock has jumped."""
    drop = Drop(store.top)
    content = b"x" * 200_000
    drop.write(b"head 0000\n" + content)
    os.unlink(drop.path)
    drop.write(b"the rest")
    drop.rewrite(5, b"0007")
    drop.finish()
    assert drops(store) == [drop.name]
    assert Path(drop.path).read_bytes() == b"head 0007\n" + content + b"the rest"
    assert stat.S_IMODE(os.stat(drop.path).st_mode) == 0o640
    assert drop.identity == (os.stat(drop.path).st_ctime_ns, os.stat(drop.path).st_ino)


def test_a_file_that_was_silent_for_so_long_that_it_may_be_removed_now_is_written_again(store: Store) -> None:
    drop = Drop(store.top)
    drop.write(b"head and content")
    old, long_ago = drop.path, time.time() - 25 * 3600
    os.utime(old, (long_ago, long_ago))
    drop.finish()
    assert drops(store) == [drop.name] and drop.path != old
    assert Path(drop.path).read_bytes() == b"head and content"
    assert drop.identity == (os.stat(drop.path).st_ctime_ns, os.stat(drop.path).st_ino)


def test_a_message_that_is_delivered_before_its_sender_has_looked_again_was_accepted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Drop(store.top)
    drop.write(b"head and content")
    fsync = posix.fsync

    def it_is_delivered_meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        os.unlink(drop.path)

    monkeypatch.setattr(posix, "fsync", it_is_delivered_meanwhile)
    drop.finish()  # an error here would have the caller send it once more
    assert drops(store) == []


@pytest.mark.parametrize("is_delivered", [True, False])
def test_an_fsync_that_fails_refuses_only_what_was_not_delivered_before(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_delivered: bool
) -> None:
    drop = Drop(store.top)
    drop.write(b"head and content")

    def failing(descriptor: int) -> None:
        if is_delivered:
            os.unlink(drop.path)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(posix, "fsync", failing)
    if is_delivered:
        drop.finish()
    else:
        with pytest.raises(SpoolError, match="no"):
            drop.finish()
    assert drops(store) == []


def test_nothing_is_refused_once_it_is_complete(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drop = Drop(store.top)
    drop.write(b"head and content")
    fchmod = posix.fchmod

    def no_more_answers(*_: object) -> None:
        raise OSError(errno.EDQUOT, "no")

    def complete(descriptor: int, mode: int) -> None:
        fchmod(descriptor, mode)
        for name in ("fstat", "stat", "close"):
            monkeypatch.setattr(posix, name, no_more_answers)

    with monkeypatch.context() as patch:
        patch.setattr(posix, "fchmod", complete)
        drop.finish()
    monkeypatch.undo()
    assert drops(store) == [drop.name]
    os.close(drop.descriptor)
