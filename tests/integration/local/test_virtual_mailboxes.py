"""The agent of virtual domains: mailboxes below one directory, written as who owns them and nobody else."""

import os
from pathlib import Path

import pytest
from local_service import Agent, Tree, wait_until

from sendmail_py.core.delivery import Delivery
from sendmail_py.core.result import DeliveryResult, Outcome

OWNER = 65534 if os.getuid() == 0 else os.getuid()
ADDRESS = "bob@boxes.example"


@pytest.fixture
def base(tree: Tree) -> Path:
    """The directory of the mailboxes, in an instance of one user."""
    path = tree.spool.parent / "vmail"
    path.mkdir(0o700)
    os.chown(path, OWNER, -1)
    return path


@pytest.fixture
def root_base(root_tree: Tree) -> Path:
    """The same in root's instance, for uid 5000."""
    path = root_tree.spool.parent / "vmail"
    path.mkdir(0o755)
    os.chown(path, 5000, 5001)
    return path


def deliver(agent: Agent, path: object, *messages: Delivery, uid: int = OWNER, gid: int = OWNER) -> DeliveryResult:
    """Deliver to the mailbox of bob@boxes.example; returns the first result."""
    batch = agent.send(ADDRESS, list(messages), f"{gid}:{path}", uid, "virtual")
    agent.collect(batch)
    (result, *_) = [result for delivery in messages for result in delivery.results]
    assert result is not None
    return result


def new(tree: Tree, **more: str) -> Delivery:
    return tree.message(b"Subject: x\n\nhello\n", ADDRESS, **more)


def test_a_maildir_is_made_with_the_directories_above_it(tree: Tree, base: Path) -> None:
    agent = tree.start(virtual_mailbox_base=str(base))
    result = deliver(agent, f"{base}/boxes.example/b/bob/", new(tree), new(tree))
    assert (result.outcome, result.relay, result.reason) == (Outcome.DELIVERED, "virtual", "delivered to maildir")
    texts = [path.read_text() for path in (base / "boxes.example/b/bob/new").iterdir()]
    assert len(texts) == 2 and all(f"\nDelivered-To: {ADDRESS}\n" in text for text in texts)
    assert (base / "boxes.example").stat().st_mode & 0o777 == 0o700


def test_a_path_without_a_slash_is_an_mbox_with_limits_of_its_own(tree: Tree, base: Path) -> None:
    settings = {"virtual_mailbox_limit": "1000", "mailbox_size_limit": "10", "virtual_mailbox_lock": "fcntl"}
    agent = tree.start(virtual_mailbox_base=str(base), **settings)
    assert deliver(agent, f"{base}/bob", new(tree)).outcome is Outcome.DELIVERED
    assert deliver(agent, f"{base}/bob", tree.message(b"Subject: x\n\n" + b"x" * 1000)).status == "5.2.2"
    (base / "bob.lock").write_text("locked by another program\n")
    assert deliver(agent, f"{base}/bob", new(tree)).outcome is Outcome.DELIVERED
    assert (base / "bob").read_text().count("Subject: x\n") == 2


def test_an_extension_leads_to_a_folder(tree: Tree, base: Path) -> None:
    agent = tree.start(virtual_mailbox_base=str(base), maildir_extension_folders="yes")
    deliver(agent, f"{base}/bob/", new(tree))
    (base / "bob/.News").mkdir()
    os.chown(base / "bob/.News", OWNER, -1)
    assert deliver(agent, f"{base}/bob/", new(tree, extension="News")).outcome is Outcome.DELIVERED
    assert len(os.listdir(base / "bob/.News/new")) == 1


@pytest.mark.parametrize(
    ("path", "uid", "gid"),
    [
        ("{base}/../outside/", OWNER, OWNER),
        ("{base}/bob/../../outside/", OWNER, OWNER),
        ("{base}", OWNER, OWNER),
        ("{base}/", OWNER, OWNER),
        ("{base}//bob", OWNER, OWNER),
        ("{base}-not/bob", OWNER, OWNER),
        ("/etc/passwd", OWNER, OWNER),
        ("bob/", OWNER, OWNER),
        ("{base}/bob/", 0, OWNER),
        ("{base}/bob/", 99, OWNER),
        ("{base}/bob/", -1, OWNER),
        ("{base}/bob/", OWNER, 0),
    ],
)
def test_what_leads_elsewhere_or_to_other_rights_waits(tree: Tree, base: Path, path: str, uid: int, gid: int) -> None:
    agent = tree.start(virtual_mailbox_base=str(base))
    result = deliver(agent, path.format(base=base), new(tree), uid=uid, gid=gid)
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")
    assert os.listdir(base) == [] and not (base.parent / "outside").exists()


def test_without_the_directory_of_mailboxes_nothing_is_made(tree: Tree, base: Path) -> None:
    agent = tree.start(virtual_mailbox_base=f"{base}/unmounted")
    assert deliver(agent, f"{base}/unmounted/bob/", new(tree)).outcome is Outcome.DEFERRED
    assert os.listdir(base) == []


def test_a_locked_mailbox_waits_and_others_do_not(tree: Tree, base: Path) -> None:
    agent = tree.start(virtual_mailbox_base=str(base), deliver_lock_attempts="20")
    (base / "bob.lock").write_text(f"{os.getpid()}\n")
    late = new(tree)
    batch = agent.send(ADDRESS, [late], f"{OWNER}:{base}/bob", OWNER, "virtual")
    assert deliver(agent, f"{base}/carol", new(tree)).outcome is Outcome.DELIVERED
    (base / "bob.lock").unlink()
    agent.collect(batch)
    assert late.results[0] and late.results[0].outcome is Outcome.DELIVERED
    wait_until(lambda: not (base / "bob.lock").exists())


@pytest.mark.real(root=True)
def test_a_root_instance_writes_as_the_uid_of_the_mailbox(root_tree: Tree, root_base: Path) -> None:
    agent = root_tree.start(virtual_mailbox_base=str(root_base))
    for path in ("d/bob/", "carol"):
        assert deliver(agent, f"{root_base}/{path}", new(root_tree), uid=5000, gid=5001).outcome is Outcome.DELIVERED
    made = [root_base / name for name in ("d", "d/bob", "d/bob/new", "carol")] + list(
        (root_base / "d/bob/new").iterdir()
    )
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(5000, 5001)}


@pytest.mark.real(root=True)
@pytest.mark.parametrize("kind", ["link to a file", "link to a directory", "second name", "foreign file"])
def test_what_the_owner_of_mailboxes_puts_there_leads_to_nobody_elses_files(
    root_tree: Tree, root_base: Path, kind: str
) -> None:
    agent = root_tree.start(virtual_mailbox_base=str(root_base))
    outside = root_tree.spool.parent / "outside"
    outside.mkdir(0o755)
    canary = outside / "canary"
    canary.write_text("untouched")
    path = root_base / "bob"
    if kind == "link to a file":
        path.symlink_to(canary)
    elif kind == "link to a directory":
        for name in ("new", "cur", "tmp"):
            (outside / name).mkdir()
        path.symlink_to(outside)
        assert deliver(agent, f"{path}/", new(root_tree), uid=5000, gid=5001).outcome is Outcome.DEFERRED
    elif kind == "second name":
        os.chown(canary, 5000, 5001)
        os.link(canary, path)
    else:
        path.write_text("untouched")
        path.chmod(0o666)
    assert deliver(agent, path, new(root_tree), uid=5000, gid=5001).outcome is Outcome.DEFERRED
    assert canary.read_text() == "untouched" and not list(outside.glob("*/*"))
    assert kind != "foreign file" or path.read_text() == "untouched"
