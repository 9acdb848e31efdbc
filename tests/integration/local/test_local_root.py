"""A root instance: mailboxes of several users, and what root must not be made to do."""

import errno
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome

pytestmark = pytest.mark.real(root=True)


def owned(path: Path, user: str, content: bytes = b"") -> Path:
    """Write a file that belongs to a user."""
    path.write_bytes(content)
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o2775, 0o775])
def test_each_user_gets_a_mailbox_of_his_own_with_the_spools_group(root_tree: Tree, mode: int) -> None:
    root_tree.spool.chmod(mode)
    agent = root_tree.start()
    for user in ("daemon", "games", "root"):
        (result,) = agent.deliver(user, root_tree.message())
        assert result and result.outcome is Outcome.DELIVERED
        status = (root_tree.spool / user).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (pwd.getpwnam(user).pw_uid, 8, 0o600)
    assert sorted(os.listdir(root_tree.spool)) == ["daemon", "games", "root"]


def test_in_a_directory_open_to_all_the_mailbox_has_the_users_group(root_tree: Tree) -> None:
    root_tree.spool.chmod(0o1777)
    (result,) = root_tree.start().deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert (root_tree.spool / "games").stat().st_gid == pwd.getpwnam("games").pw_gid


def test_in_a_directory_of_roots_alone_root_makes_the_mailbox_and_the_user_writes_it(root_tree: Tree) -> None:
    os.chown(root_tree.spool, 0, 0)
    root_tree.spool.chmod(0o755)
    agent = root_tree.start()
    for _ in range(2):
        (result,) = agent.deliver("games", root_tree.message())
        assert result and result.outcome is Outcome.DELIVERED
    status = (root_tree.spool / "games").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (pwd.getpwnam("games").pw_uid, 0o600)
    assert os.listdir(root_tree.spool) == ["games"]


def test_a_mailbox_of_somebody_else_is_refused(root_tree: Tree) -> None:
    box = owned(root_tree.spool / "games", "games")
    os.chown(box, pwd.getpwnam("daemon").pw_uid, -1)
    box.chmod(0o666)
    (result,) = root_tree.start().deliver("games", root_tree.message())
    assert result and result.status == "4.2.0" and "belongs to uid 1" in result.reason
    assert box.stat().st_size == 0


@pytest.mark.parametrize("user", ["games", "root"])
def test_a_symbolic_link_leads_nowhere(root_tree: Tree, user: str) -> None:
    canary = owned(root_tree.spool.parent / "canary", "root", b"safe")
    (root_tree.spool / user).symlink_to(canary)
    (result,) = root_tree.start().deliver(user, root_tree.message())
    assert result and result.outcome is Outcome.DEFERRED and "symbolic link" in result.reason
    assert canary.read_bytes() == b"safe"


@pytest.mark.real("strace")
def test_root_opens_nothing_in_the_mail_spool_itself(root_tree: Tree) -> None:
    trace = root_tree.spool.parent / "trace"
    calls = "trace=openat,link,linkat,unlinkat,setreuid,setresuid"
    agent = root_tree.start(wrapper=("strace", "-f", "-qq", "-o", str(trace), "-e", calls))
    agent.deliver("games", root_tree.message())
    agent.deliver("games", root_tree.message())
    agent.stop()
    uid = 0
    touched = 0
    for line in trace.read_text().splitlines():
        if switched := re.search(r"setresuid\(-1, (\d+), -1\)", line):
            uid = int(switched[1])
        elif "games" in line:
            touched += 1
            assert uid == pwd.getpwnam("games").pw_uid, line
    assert touched >= 8


@pytest.mark.real("mount")
def test_a_full_disk_defers_the_batch_and_leaves_the_mailbox_as_it_was(root_tree: Tree) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=2775,gid=8", "none", root_tree.spool], check=True)
    try:
        box = owned(root_tree.spool / "games", "games", b"From a\n\n")
        agent = root_tree.start()
        results = agent.deliver("games", *(root_tree.message(b"Subject: x\n\n" + b"x" * 50_000) for _ in range(10)))
        assert {(r.outcome, r.status) for r in results if r} == {(Outcome.DEFERRED, "4.3.1")}
        assert os.strerror(errno.ENOSPC) in str(results[0])
        assert box.read_bytes() == b"From a\n\n"
        (result,) = agent.deliver("games", root_tree.message())
        assert result and result.outcome is Outcome.DELIVERED
    finally:
        subprocess.run(["umount", root_tree.spool], check=True)


def home_setting(root_tree: Tree, name: str) -> tuple[Path, str]:
    """Return a home of `games` below the tree, and a home_mailbox that leads there from the real one."""
    home = root_tree.spool.parent / "home"
    home.mkdir(0o700)
    entry = pwd.getpwnam("games")
    os.chown(home, entry.pw_uid, entry.pw_gid)
    if not Path(entry.pw_dir).is_dir():
        pytest.skip("the user games has no home directory")
    return home, os.path.relpath(home, os.path.realpath(entry.pw_dir)) + "/" + name


def test_a_maildir_is_made_by_the_user_and_a_replay_leaves_one_copy(root_tree: Tree) -> None:
    home, setting = home_setting(root_tree, "Maildir/")
    agent = root_tree.start(home_mailbox=setting)
    messages = [root_tree.message(b"Subject: x\n\nFrom here\n", queue_id=f"Q{n}") for n in range(3)]
    arrived = [m.arrived_at for m in messages]
    assert {r and r.reason for r in agent.deliver("games", *messages)} == {"delivered to maildir"}
    new = sorted((home / "Maildir" / "new").iterdir())
    assert [path.stat().st_uid for path in new] == [pwd.getpwnam("games").pw_uid] * 3
    assert new[0].read_bytes().endswith(b"\nDelivered-To: bob@example.net\nSubject: x\n\nFrom here\n")
    new[1].rename(home / "Maildir" / "cur" / (new[1].name + ":2,S"))

    again = root_tree.start(home_mailbox=setting)
    replay = [root_tree.message(b"Subject: x\n\nFrom here\n", queue_id=f"Q{n}") for n in range(3)]
    for old, delivery in zip(arrived, replay, strict=True):
        delivery.arrived_at = old
    assert {r and r.reason for r in again.deliver("games", *replay)} == {"delivered to maildir (was there already)"}
    assert [len(os.listdir(home / "Maildir" / d)) for d in ("new", "cur", "tmp")] == [2, 1, 0]


def test_an_extension_leads_to_its_folder_where_there_is_one_and_a_full_maildir_fails_mail(root_tree: Tree) -> None:
    home, setting = home_setting(root_tree, "Maildir/")
    agent = root_tree.start(home_mailbox=setting, maildir_extension_folders="yes")
    box = home / "Maildir"
    assert agent.deliver("games", root_tree.message())[0].reason == "delivered to maildir"
    for name in ("", "/new", "/cur", "/tmp"):
        (box / f".Lists{name}").mkdir(0o700)
        os.chown(box / f".Lists{name}", box.stat().st_uid, box.stat().st_gid)
    (box / "maildirsize").write_text("1000S\n0 0\n")
    os.chown(box / "maildirsize", box.stat().st_uid, box.stat().st_gid)
    messages = [root_tree.message(extension=word) for word in ("Lists", "lists", "../..", "", "Lists")]
    messages.append(root_tree.message(b"Subject: x\n\n" + b"x" * 2000, extension="Lists"))
    results = [(r.outcome, r.status) for r in agent.deliver("games", *messages) if r]
    assert results == [(Outcome.DELIVERED, "2.0.0")] * 5 + [(Outcome.FAILED, "5.2.2")]
    assert [len(os.listdir(box / name)) for name in (".Lists/new", "new", ".Lists/tmp")] == [2, 4, 0]
    lines = (box / "maildirsize").read_text().splitlines()
    assert lines[:2] == ["1000S", "0 0"] and sum(int(line.split()[1]) for line in lines[1:]) == 5


def test_a_mailbox_file_in_the_home_is_written_by_the_user(root_tree: Tree) -> None:
    home, setting = home_setting(root_tree, "mbox")
    (result,) = root_tree.start(home_mailbox=setting).deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert (home / "mbox").stat().st_uid == pwd.getpwnam("games").pw_uid
    assert os.listdir(home) == ["mbox"]


def test_a_maildir_that_leads_to_another_users_files_is_not_written(root_tree: Tree) -> None:
    home, setting = home_setting(root_tree, "Maildir/")
    other = root_tree.spool.parent / "other"
    for name in ("", "tmp", "new", "cur"):
        (other / name).mkdir(0o700)
    (home / "Maildir").symlink_to(other)
    (result,) = root_tree.start(home_mailbox=setting).deliver("games", root_tree.message())
    assert result and result.outcome is Outcome.DEFERRED
    assert not os.listdir(other / "new")


def test_a_home_that_is_not_there_defers(root_tree: Tree) -> None:
    homeless = next((e.pw_name for e in pwd.getpwall() if not Path(e.pw_dir).exists() and e.pw_name.islower()), None)
    if homeless is None:
        pytest.skip("every user has a home directory")
    (result,) = root_tree.start(home_mailbox="Maildir/").deliver(homeless, root_tree.message())
    assert result and (result.outcome, result.status) == (Outcome.DEFERRED, "4.2.0")
    (result,) = root_tree.start().deliver(homeless, root_tree.message())
    assert result and result.outcome is Outcome.DELIVERED
