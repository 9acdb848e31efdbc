"""Files and Maildirs that an expansion names: written with the rights that apply, under the same rules as mailboxes."""

import fcntl
import os
import pwd
from pathlib import Path

import pytest
from local_service import Agent, Tree

from sendmail_py.core.delivery import Delivery
from sendmail_py.core.result import DeliveryResult, Outcome

ME = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


@pytest.fixture
def place(tree: Tree) -> Path:
    """A directory of the user whose rights apply."""
    path = tree.spool.parent / "place"
    path.mkdir(0o700)
    if os.getuid() == 0:
        os.chown(path, ME.pw_uid, ME.pw_gid)
    return path


def write_to(agent: Agent, path: object, *messages: Delivery, uid: int = -1) -> DeliveryResult:
    """Deliver to a file; returns the first result."""
    result = agent.deliver(str(path), *messages, target=str(path), uid=uid)[0]
    assert result is not None
    return result


def test_a_file_gets_messages_in_mbox_form(tree: Tree, place: Path) -> None:
    agent = tree.start()
    messages = [tree.message(b"Subject: x\n\nFrom here\n", "list@example.net") for _ in range(2)]
    assert write_to(agent, place / "archive", *messages).outcome is Outcome.DELIVERED
    text = (place / "archive").read_bytes()
    assert text.count(b"\nDelivered-To: list@example.net\nSubject: x\n\n>From here\n\n") == 2
    status = (place / "archive").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (ME.pw_uid, 0o600)
    assert os.listdir(place) == ["archive"]


def test_a_path_with_a_slash_at_its_end_is_a_maildir(tree: Tree, place: Path) -> None:
    agent = tree.start()
    assert write_to(agent, f"{place}/box/", tree.message()).outcome is Outcome.DELIVERED
    assert len(os.listdir(place / "box" / "new")) == 1


@pytest.mark.parametrize("kind", ["symlink", "fifo", "two names", "directory", "no directory", "no right"])
def test_what_is_no_plain_file_of_ones_own_is_left_alone(tree: Tree, place: Path, kind: str) -> None:
    path, other = place / "archive", tree.spool.parent / "other"
    other.write_bytes(b"untouched")
    other.chmod(0o666)
    if kind == "symlink":
        path.symlink_to(other)
    elif kind == "fifo":
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
    elif kind == "two names":
        os.link(other, path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "no directory":
        path = place / "not" / "there"
    else:
        path = Path("/sys/kernel/archive")
    result = write_to(tree.start(), path, tree.message())
    assert result.outcome is Outcome.DEFERRED
    assert other.read_bytes() == b"untouched"


def test_the_size_limit_holds_for_files_too(tree: Tree, place: Path) -> None:
    result = write_to(tree.start(mailbox_size_limit="100"), place / "archive", tree.message(b"x" * 200))
    assert (result.outcome, result.status) == (Outcome.FAILED, "5.2.2")
    assert (place / "archive").stat().st_size == 0


def test_a_locked_file_waits_for_its_lock_while_others_go_on(tree: Tree, place: Path) -> None:
    agent = tree.start(deliver_lock_attempts="100")
    assert write_to(agent, place / "archive", tree.message()).outcome is Outcome.DELIVERED
    with (place / "archive").open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        locked = agent.send("archive", [tree.message()], target=str(place / "archive"))
        assert write_to(agent, place / "other", tree.message()).outcome is Outcome.DELIVERED
        assert locked.number in agent.aside
    agent.collect(locked)
    assert locked.deliveries[0].results[0]
    assert locked.deliveries[0].results[0].outcome is Outcome.DELIVERED


@pytest.mark.real(root=True)
@pytest.mark.parametrize(("uid", "user"), [(-1, "daemon"), (0, "daemon"), (5, "games")])
def test_a_file_belongs_to_whose_rights_apply(root_tree: Tree, uid: int, user: str) -> None:
    place = root_tree.spool.parent / "open"
    place.mkdir()
    place.chmod(0o1777)
    agent = root_tree.start(default_privs="daemon")
    assert write_to(agent, place / "archive", root_tree.message(), uid=uid).outcome is Outcome.DELIVERED
    assert (place / "archive").stat().st_uid == pwd.getpwnam(user).pw_uid


@pytest.mark.real(root=True)
def test_roots_files_are_out_of_reach(root_tree: Tree) -> None:
    path = root_tree.spool.parent / "roots"
    path.write_bytes(b"safe")
    path.chmod(0o666)
    result = write_to(root_tree.start(), path, root_tree.message(), uid=0)
    assert result.outcome is Outcome.DEFERRED and "belongs to uid 0" in result.reason
    assert path.read_bytes() == b"safe"


@pytest.mark.real(root=True)
def test_an_instance_that_root_runs_for_itself_writes_no_files(root_tree: Tree) -> None:
    agent = root_tree.start(one_user=True)
    result = write_to(agent, root_tree.spool.parent / "file", root_tree.message())
    assert result.outcome is Outcome.DEFERRED and "root runs for itself" in result.reason
    assert not (root_tree.spool.parent / "file").exists()


@pytest.mark.real(root=True)
def test_a_user_who_keeps_many_files_locked_leaves_room_for_others(root_tree: Tree) -> None:
    games = pwd.getpwnam("games")
    place = root_tree.spool.parent / "place"
    place.mkdir()
    os.chown(place, games.pw_uid, games.pw_gid)
    agent = root_tree.start(deliver_lock_attempts="1000", deliver_lock_delay="1s")
    paths = [place / f"box{n}" for n in range(15)]
    for path in paths:
        (place / f"{path.name}.lock").write_text(f"{os.getpid()}\n")
    sent = [agent.send("x", [root_tree.message()], str(path), uid=games.pw_uid) for path in paths]
    agent.collect(*sent[10:])
    assert {d.results[0] and d.results[0].status for batch in sent[10:] for d in batch.deliveries} == {"4.2.0"}
    (mine,), (others,) = (agent.deliver(user, root_tree.message()) for user in ("games", "daemon"))
    assert mine and others and mine.outcome is others.outcome is Outcome.DELIVERED
    for path in paths:
        (place / f"{path.name}.lock").unlink()
    agent.collect(*sent[:10])
    assert all(b.deliveries[0].results[0].outcome is Outcome.DELIVERED for b in sent[:10])  # type: ignore[union-attr]
