"""pickup against what users may put into maildrop/: it takes sendmail's files and nothing else, and does not hang."""

import os
import pwd
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.config import Config, Setting
from sendmail_py.formats.queue_file import render
from sendmail_py.formats.queue_text import MAGIC
from sendmail_py.host.syslog import Log
from sendmail_py.services.pickup import UNFINISHED_AGE, Pickup
from sendmail_py.services.service import Service
from sendmail_py.spool import directories
from sendmail_py.spool.layout import ACTIVE, CORRUPT, INCOMING, MAILDROP
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import envelope_for


class KeptLog(Log):
    """A log whose lines stay in memory."""

    def __init__(self) -> None:
        super().__init__("sendmail-py", "pickup")
        self.kept: list[str] = []

    def lines(self, texts: list[str]) -> None:
        """Keep the lines."""
        self.kept += texts


class Played(Service):
    """What master gives a pickup; the test is master."""

    def __init__(self, config: Config) -> None:
        ours, self.master = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__("pickup", ours, config, KeptLog(), {})

    def __del__(self) -> None:
        self.lifeline.close()
        self.master.close()


def config_of(store: Store) -> Config:
    values = {
        "queue_directory": store.top,
        "run_directory": f"{store.top}/nowhere",
        "myorigin": "example.org",
        "myhostname": "mx.example.org",
    }
    return Config({name: Setting(text, "test") for name, text in values.items()})


@pytest.fixture
def pickup(store: Store) -> Pickup:
    return Pickup(Played(config_of(store)))


def lines(pickup: Pickup) -> list[str]:
    return cast(KeptLog, pickup.log).kept


def submitted(store: Store, *recipients: str, content: bytes = b"Subject: x\n\nhi\n") -> str:
    """Do what sendmail(1) does; returns the name of the file."""
    envelope = envelope_for(*recipients or ("bob",), queue_id="FORGED0123456789", sender="alice")
    envelope.size, envelope.submitter.uid = len(content), os.getuid() + 1
    envelope.submitter.pid, envelope.submitter.cwd, envelope.submitter.command = 4711, "/home/alice", "/bin/sh secret"
    drop = Drop(store.top)
    drop.write(render(envelope) + content)
    drop.finish()
    return drop.name


def path_of(store: Store, name: str) -> Path:
    return Path(f"{store.top}/{MAILDROP}/{name}")


def queued(store: Store) -> list[str]:
    return sorted(queue_id for queue_id, _ in store.entries(INCOMING))


def test_an_honest_file_is_copied_with_the_kernels_word_for_who_wrote_it(pickup: Pickup, store: Store) -> None:
    name = submitted(store)
    pickup.take(name, from_scan=False)
    (queue_id,) = queued(store)
    e = read_message(store.path(INCOMING, queue_id))
    status = path_of(store, name).stat()
    assert e.submitter.uid == os.getuid()
    assert e.maildrop == (name, status.st_ino, status.st_ctime_ns)
    assert e.queue_id == queue_id != "FORGED0123456789" and e.arrived_at == status.st_ctime_ns // 1000
    who = pwd.getpwuid(os.getuid()).pw_name
    assert pickup.qmgr.ids == [queue_id], "qmgr's own lines come after these"
    assert lines(pickup)[0] == (
        f'{queue_id}: uid={os.getuid()} from=<alice@example.org> login={who} pid=4711 cwd="/home/alice"'
    )
    assert lines(pickup)[1].startswith(f"{queue_id}: message-id=<")


def test_a_file_is_taken_once_however_often_it_is_named(pickup: Pickup, store: Store) -> None:
    name = submitted(store)
    for from_scan in (False, False, True, True):
        pickup.take(name, from_scan)
    assert len(queued(store)) == 1 and len(pickup.qmgr.ids) == 1


def test_a_file_whose_copy_was_made_before_a_crash_is_not_taken_again(pickup: Pickup, store: Store) -> None:
    name = submitted(store)
    pickup.take(name, from_scan=True)
    (queue_id,) = queued(store)
    store.move(queue_id, INCOMING, ACTIVE)
    again = Pickup(pickup.service)
    again.take(name, from_scan=True)
    assert queued(store) == [] and again.qmgr.ids == []


@pytest.mark.parametrize("state", [INCOMING, CORRUPT])
def test_a_torn_copy_is_made_again_while_its_original_is_there(pickup: Pickup, store: Store, state: str) -> None:
    name = submitted(store)
    pickup.take(name, from_scan=True)
    (queue_id,) = queued(store)
    copy = store.path(INCOMING, queue_id)
    whole = Path(copy).read_bytes()
    os.truncate(copy, len(whole) - 3)
    if state == CORRUPT:
        store.move(queue_id, INCOMING, CORRUPT)
    Pickup(pickup.service).take(name, from_scan=True)
    assert Path(copy).read_bytes() == whole


def link_twice(path: Path) -> None:
    os.link(path, path.with_name("second"))
    path.with_name("second").rename(path.parent.parent / "elsewhere")


def become_a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    path.chmod(0o640)


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    path.chmod(0o640)


def write_to(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, 1))

    return change


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "two links": (link_twice, "more than one link"),
    "a link": (become_a_link, ""),
    "a FIFO": (become_a_fifo, "not a regular file"),
    "a directory": (become_a_directory, "not a regular file"),
    "mode 644": (lambda path: path.chmod(0o644), "mode 644"),
    "mode 2640": (lambda path: path.chmod(0o2640), "mode 2640"),
    "mode 0": (lambda path: path.chmod(0), "mode 0"),
    "empty": (lambda path: os.truncate(path, 0), "not a queue file"),
    "another version": (write_to(MAGIC, b"sendmail-py-queue 2\n"), "version"),
    "torn": (lambda path: os.truncate(path, path.stat().st_size - 1), "torn"),
    "a negative size": (write_to(b"size: 0000000015", b"size: -000000015"), "bad size"),
    "no size": (write_to(b"size: 0000000015\n", b""), "size"),
    "a size beyond the end": (write_to(b"size: 0000000015", b"size: 9999999999"), "torn"),
    "no recipients": (write_to(b"to: [ ] <bob>\n", b""), "no recipients"),
    "a recipient already marked": (write_to(b"to: [ ]", b"to: [x]"), "bad recipient"),
    "a bad notify": (write_to(b"<bob>", b"<bob> notify=ALWAYS"), "bad recipient"),
    "a line break in an address": (write_to(b"<bob>", b"<bob\\x0aBCC>"), "line break"),
    "a bad body type": (write_to(b"size:", b"body: BINARYMIME\nsize:"), "bad body type"),
    "a bad ret": (write_to(b"size:", b"ret: SOME\nsize:"), "bad body type or return option"),
}


def all_but_atime(path: Path) -> list[int]:
    """Return what a status tells, but for the time of the last reading."""
    status = os.lstat(path)
    return [getattr(status, name) for name in dir(status) if name.startswith("st_") and "atime" not in name]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_left_alone_and_logged_once(pickup: Pickup, store: Store, kind: str) -> None:
    change, reason = HOSTILE[kind]
    name = submitted(store)
    path = path_of(store, name)
    change(path)
    before = all_but_atime(path)
    for from_scan in (False, True, False):
        pickup.take(name, from_scan)
    assert queued(store) == [] and os.listdir(f"{store.top}/tmp") == []
    assert len(lines(pickup)) == 1
    assert lines(pickup)[0].startswith(f"warning: {MAILDROP}/{name} is left alone: ") and reason in lines(pickup)[0]
    assert all_but_atime(path) == before


def test_a_head_that_never_ends_is_not_read_for_ever(pickup: Pickup, store: Store) -> None:
    name = submitted(store)
    with path_of(store, name).open("wb") as file:
        file.write(MAGIC)
        file.truncate(1 << 30)  # nearly all of it a hole
    pickup.take(name, from_scan=False)
    assert queued(store) == [] and "too long" in lines(pickup)[0]


def test_a_file_of_another_group_is_left_alone(pickup: Pickup, store: Store) -> None:
    pickup.group += 1
    pickup.take(submitted(store), from_scan=False)
    assert queued(store) == [] and "group" in lines(pickup)[0]


def test_a_file_whose_owner_has_no_uid_here_is_left_alone(pickup: Pickup, store: Store) -> None:
    pickup.overflow_uid = os.getuid()
    pickup.take(submitted(store), from_scan=False)
    assert queued(store) == [] and "overflow uid" in lines(pickup)[0]


def test_a_file_being_written_waits_in_silence_and_is_removed_after_36_hours(pickup: Pickup, store: Store) -> None:
    drop = Drop(store.top)
    drop.write(MAGIC)
    pickup.take(drop.name, from_scan=True)
    assert os.path.exists(drop.path) and lines(pickup) == []
    long_ago = time.time() - UNFINISHED_AGE - 60
    os.utime(drop.path, (long_ago, long_ago))
    pickup.take(drop.name, from_scan=True)
    assert not os.path.exists(drop.path) and lines(pickup) == [f"removed {drop.path}: never finished"]


def test_claims_of_the_envelope_that_are_not_the_submitters_to_make_are_dropped(pickup: Pickup, store: Store) -> None:
    name = submitted(store)
    forged = b'refused: "5.7.1 no"\nvisited: bob\nclient: mx\n'
    forged += b"parent: 0123456789ABC 3\ncontrolling-uid: 0\nunheard: of\n"
    write_to(b"size:", forged + b"size:")(path_of(store, name))
    pickup.take(name, from_scan=False)
    (queue_id,) = queued(store)
    e = read_message(store.path(INCOMING, queue_id))
    assert (e.refused, e.parent, e.visited, e.controlling_uid, e.client, e.unknown) == ("", None, (), -1, "", [])


@pytest.mark.parametrize("data", [b"../../etc/passwd\n", b"\xff\xfe\n", b".hidden\n", b"a" * 70_000, b"\n\n", b"a/b\n"])
def test_a_name_that_is_none_does_nothing(pickup: Pickup, store: Store, data: bytes) -> None:
    pickup.triggered(data)
    assert queued(store) == [] and lines(pickup) == []


def test_names_from_the_trigger_may_come_in_pieces(pickup: Pickup, store: Store) -> None:
    names = [submitted(store), submitted(store)]
    data = b"".join(name.encode() + b"\n" for name in names)
    for i in range(len(data)):
        pickup.triggered(data[i : i + 1])
    assert len(queued(store)) == 2


def test_a_scan_takes_what_lost_its_trigger_and_passes_junk_by(pickup: Pickup, store: Store) -> None:
    submitted(store)
    become_a_fifo(path_of(store, submitted(store)))
    submitted(store)
    pickup.scan()
    pickup.scan()
    assert len(queued(store)) == 2
    assert sum("left alone" in line for line in lines(pickup)) == 1


def test_what_comes_after_masters_word_is_left_to_the_pickup_that_has_the_new_configuration(
    pickup: Pickup, store: Store
) -> None:
    name = submitted(store)
    cast(Played, pickup.service).master.send(b"{}")
    pickup.scan()
    pickup.triggered(f"\n{name}\n".encode())
    assert queued(store) == [] and path_of(store, name).exists()
    pickup.service.lifeline.recv(100)
    pickup.scan()
    assert len(queued(store)) == 1


@pytest.mark.parametrize("error", [UnicodeError("x"), RecursionError(), MemoryError()])
def test_a_file_that_we_cannot_cope_with_is_left_alone_and_does_not_end_pickup(
    pickup: Pickup, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad, good = submitted(store), submitted(store)

    def submitted_at_first(*arguments: object) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(pickup.intake, "submitted", submitted_at_first)
    pickup.take(bad, from_scan=False)
    assert [line.partition("internal error: ")[2] for line in lines(pickup)] == [f"{type(error).__name__}: {error}"]
    pickup.take(good, from_scan=False)
    assert len(queued(store)) == 1
    pickup.take(bad, from_scan=True)
    assert len(queued(store)) == 2, "a scan tries it again"


WORDS = (
    *(b"bob", b"@", b"example.org", b"<", b">", b"'", b'"', b"(" * 300, b")", b",", b";", b":", b" ", b"[::1]", b"\\"),
    *(
        "é".encode(),
        b"xn--a",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\x0A",
        b"\\xED\\xA0\\x80",
        b"9" * 5000,
        b"\xd9\xa3",
        b"a" * 300,
    ),
    *(b"=?utf-8?b?//?=", b"\r\n\t", b"\n", b"%", b"!", b"|", b"\xe2\x80\xa8", b"."),
)
NAMES = (b"from: <", b"envid: ", b"ret: FULL", b"body: 8BITMIME", b'full-name: "', b"submitter: uid=1 pid=", b"flags: ")
FIELDS = (
    b"From: ",
    b"To: ",
    b"Subject:",
    b"Resent-Cc: ",
    b"Message-Id: ",
    b"Received : ",
    b"Content-Type: ",
    b"\xff",
    b"",
)
text = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=5)), max_size=5).map(b"".join)
option = st.tuples(st.sampled_from((b"", b" orcpt=", b' target="|', b" notify=")), text).map(b"".join)
recipient = st.tuples(st.just(b"to: [ ] <bob"), text, st.just(b">"), option).map(b"".join)
line = st.one_of(recipient, st.tuples(st.sampled_from(NAMES), text, st.sampled_from((b"", b">", b'"'))).map(b"".join))
field = st.tuples(st.sampled_from(FIELDS), text, st.just(b"\n")).map(b"".join)


@given(st.lists(line, max_size=3), st.lists(field, max_size=5).map(b"".join), text)
def test_whatever_a_user_writes_is_taken_as_a_message_or_left_alone(
    tmp_path_factory: pytest.TempPathFactory, head: list[bytes], header: bytes, body: bytes
) -> None:
    store = Store(str(tmp_path_factory.mktemp("queue")))
    directories.create(store.top, os.getuid(), os.getgid())
    taker = Pickup(Played(config_of(store)))
    content = header + b"\n" + body
    envelope = [
        b"arrived: 1795435041.1 x",
        b'submitter: uid=1 cwd=""',
        b"to: [ ] <bob>",
        *head,
        b"size: %010d" % len(content),
    ]
    drop = Drop(store.top)
    drop.write(MAGIC + b"\n".join(envelope) + b"\n\n" + content)
    drop.finish()
    taker.take(drop.name, from_scan=False)
    for queue_id in queued(store):
        read_message(store.path(INCOMING, queue_id))
    logged = " ".join(lines(taker))
    assert "internal error" not in logged and ("left alone" in logged) == (not queued(store))
