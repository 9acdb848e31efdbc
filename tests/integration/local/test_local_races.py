"""A user who swaps mailbox, .forward, home or file for others' at full speed, while root's agent delivers to them."""

import contextlib
import mailbox
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome
from tests.readable_tree import readable_tree

pytestmark = pytest.mark.real(root=True)

SWAPPER = """
import ctypes, os, sys
box, *others = sys.argv[1:]
rename = ctypes.CDLL(None).renameat2
print("ready", flush=True)
while True:
    for other in others:
        rename(-100, box.encode(), -100, other.encode(), 2)  # RENAME_EXCHANGE, there
        rename(-100, box.encode(), -100, other.encode(), 2)  # and back
"""


@contextlib.contextmanager
def swapping(place: Path, *others: Path) -> Iterator[None]:
    """Have the user games exchange a file with each of the others, there and back, for the length of the block."""
    games = pwd.getpwnam("games")
    command = [f"{readable_tree()}/.venv/bin/python", "-c", SWAPPER, *map(str, (place, *others))]
    with subprocess.Popen(command, user=games.pw_uid, group=games.pw_gid, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout and swapper.stdout.readline() == b"ready\n"
            yield
            assert swapper.poll() is None
        finally:
            swapper.kill()


def own(path: Path, user: str, text: str = "", mode: int = 0o644) -> Path:
    """Write a file that belongs to a user."""
    path.write_text(text)
    path.chmod(mode)
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def directory(path: Path, user: str, mode: int = 0o755) -> Path:
    """Make a directory that belongs to a user."""
    path.mkdir()
    path.chmod(mode)
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def traces(*paths: Path) -> list[object]:
    """Return all that a delivery could change about files and directories of others."""
    found: list[object] = []
    for path in paths:
        status = path.lstat()
        content = sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()
        found.append((status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content))
    return found


def test_a_user_who_swaps_his_mailbox_reaches_no_file_of_others(root_tree: Tree) -> None:
    games, daemon = pwd.getpwnam("games"), pwd.getpwnam("daemon")
    os.chown(root_tree.spool, games.pw_uid, games.pw_gid)
    spool, outside = root_tree.spool, root_tree.spool.parent
    box, symlink, hardlink, fifo = (spool / name for name in ("games", "symlink", "hardlink", "fifo"))
    canary, foreign = outside / "canary", outside / "foreign"
    for path, entry in ((canary, pwd.getpwnam("root")), (foreign, daemon), (box, games)):
        path.touch(0o600)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    symlink.symlink_to(canary)
    hardlink.hardlink_to(foreign)
    os.mkfifo(fifo)
    before = traces(canary, foreign)
    agent = root_tree.start(mailbox_size_limit="0")
    with swapping(box, symlink, hardlink, fifo):
        results = [agent.deliver("games", root_tree.message(b"Subject: %d\n\n" % n))[0] for n in range(500)]
    assert {r.outcome for r in results if r} <= {Outcome.DELIVERED, Outcome.DEFERRED}
    assert traces(canary, foreign) == before
    kept = next(
        path for path in (box, symlink, hardlink, fifo) if path.is_file() and path.stat().st_uid == games.pw_uid
    )
    delivered = [str(n) for n, r in enumerate(results) if r and r.outcome is Outcome.DELIVERED]
    assert [m["Subject"] for m in mailbox.mbox(kept)] == delivered


def forwarded_to(tree: Tree, count: int) -> set[str]:
    """Deliver to the user and return where the mail was sent on to, at any time."""
    agent = tree.agents[0]
    results = [agent.deliver("games", tree.message())[0] for _ in range(count)]
    assert {result.outcome for result in results if result} <= {Outcome.DELIVERED, Outcome.DEFERRED}
    assert len([result for result in results if result is None]) == len(agent.handed_back)
    return {line for _ in range(len(agent.handed_back)) for line in agent.forwarded()}


def test_a_user_who_swaps_his_forward_has_nothing_of_others_read(root_tree: Tree) -> None:
    outside = root_tree.spool.parent
    home = directory(outside / "home", "games")
    path, symlink, hardlink, fifo, zero = (home / n for n in (".forward", "symlink", "hardlink", "fifo", "zero"))
    own(path, "games", "mine@example.org\n")
    symlink.symlink_to(own(outside / "secret", "root", "secret@example.org\n", 0o600))
    hardlink.hardlink_to(own(outside / "foreign", "daemon", "foreign@example.org\n"))
    os.mkfifo(fifo)
    zero.symlink_to("/dev/zero")
    root_tree.start(forward_path=str(path))
    with swapping(path, symlink, hardlink, fifo, zero):
        assert forwarded_to(root_tree, 500) == {"mine@example.org"}
    assert "is ignored: it is a symbolic link" in root_tree.log.read_text()


def test_a_user_who_swaps_his_home_has_nothing_of_others_read(root_tree: Tree) -> None:
    outside = root_tree.spool.parent
    top = directory(outside / "top", "games")
    home = directory(top / "home", "games")
    own(home / ".forward", "games", "mine@example.org\n")
    locked = directory(outside / "locked", "root", 0o700)
    own(locked / ".forward", "games", "locked@example.org\n")
    foreign = directory(outside / "foreign", "daemon")
    own(foreign / ".forward", "games", "foreign@example.org\n")
    (top / "to-locked").symlink_to(locked)
    (top / "to-foreign").symlink_to(foreign)
    root_tree.start(forward_path=f"{home}/.forward")
    with swapping(home, top / "to-locked", top / "to-foreign"):
        assert forwarded_to(root_tree, 500) == {"mine@example.org"}


def test_a_user_who_swaps_a_file_that_gets_mail_has_nothing_of_others_written(root_tree: Tree) -> None:
    outside = root_tree.spool.parent
    place = directory(outside / "place", "games")
    box, symlink, hardlink = (place / name for name in ("box", "symlink", "hardlink"))
    own(box, "games", mode=0o600)
    canary, foreign = own(outside / "canary", "root", mode=0o666), own(outside / "foreign", "daemon", mode=0o666)
    symlink.symlink_to(canary)
    hardlink.hardlink_to(foreign)
    before = traces(canary, foreign)
    agent = root_tree.start(mailbox_size_limit="0")
    uid = pwd.getpwnam("games").pw_uid
    with swapping(box, symlink, hardlink):
        for _ in range(500):
            (result,) = agent.deliver("file", root_tree.message(), target=str(box), uid=uid)
            assert result and result.outcome in (Outcome.DELIVERED, Outcome.DEFERRED)
    assert traces(canary, foreign) == before


@pytest.mark.parametrize("part", ["", "new", "tmp", "cur"], ids=["whole", "new", "tmp", "cur"])
def test_a_user_who_swaps_his_maildir_or_a_part_of_it_has_nothing_of_others_written(root_tree: Tree, part: str) -> None:
    outside = root_tree.spool.parent
    top = directory(outside / "top", "games")
    maildirs = [directory(top / name, "games") for name in ("Maildir", "second")]
    of_root, of_daemon = directory(outside / "of_root", "root", 0o700), directory(outside / "of_daemon", "daemon")
    for maildir in (*maildirs, of_root, of_daemon):
        for name in ("new", "tmp", "cur"):
            directory(maildir / name, maildir.owner())
    others = [path for place in (of_root, of_daemon) for path in (place, *sorted(place.iterdir()))]
    box, second = maildirs[0] / part, maildirs[1] / part
    links = [top / f"link{number}" for number in range(2)]
    for link, place in zip(links, (of_root, of_daemon), strict=True):
        link.symlink_to(place / part)
    fifo, file = top / "fifo", own(top / "file", "games")
    os.mkfifo(fifo)
    before = traces(*others)
    agent, delivered = root_tree.start(), []
    uid = pwd.getpwnam("games").pw_uid
    with swapping(box, second, *links, fifo, file):
        for number in range(250):
            message = root_tree.message(b"Subject: %d\n\n" % number)
            (result,) = agent.deliver("maildir", message, target=f"{maildirs[0]}/", uid=uid)
            assert result and result.outcome in (Outcome.DELIVERED, Outcome.DEFERRED)
            if result.outcome is Outcome.DELIVERED:
                delivered.append(number)
    assert traces(*others) == before
    found = [path for path in top.rglob("*.Q*") if path.parent.name != "tmp" or part == "tmp"]
    assert {path.owner() for path in found} == {"games"}
    subjects = [int(path.read_bytes().partition(b"\nSubject: ")[2].split()[0]) for path in found]
    assert set(delivered) <= set(subjects) and len(delivered) > 0


LEASE = """
import fcntl, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = [open(path, "r+b") for path in sys.argv[1:]]
for file in held:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_user_who_holds_leases_on_what_we_open_holds_up_nobody(root_tree: Tree) -> None:
    home = directory(root_tree.spool.parent / "games", "games")
    path, box, lock = own(home / ".forward", "games"), own(home / "box", "games"), own(home / "box2.lock", "games")
    os.utime(lock, (1, 1))
    agent = root_tree.start(forward_path=f"{root_tree.spool.parent}/$user/.forward", stale_lock_time="1s")
    games = pwd.getpwnam("games")
    command = [f"{readable_tree()}/.venv/bin/python", "-c", LEASE, str(path), str(box), str(lock)]
    with subprocess.Popen(command, user=games.pw_uid, group=games.pw_gid, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == b"ready\n"
            sent = [agent.send("games", [root_tree.message()])]
            sent += [agent.send("x", [root_tree.message()], f"{home}/{name}", games.pw_uid) for name in ("box", "box2")]
            sent.append(agent.send("daemon", [root_tree.message()]))
            agent.collect(*sent)
            assert holder.poll() is None
        finally:
            holder.kill()
    waits, done = (Outcome.DEFERRED, "4.2.0"), (Outcome.DELIVERED, "2.0.0")
    results = [batch.deliveries[0].results[0] for batch in sent]
    assert [r and (r.outcome, r.status) for r in results] == [waits, waits, done, done]
