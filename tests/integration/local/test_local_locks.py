"""Our locks and those of other programs on one mailbox: dotlockfile (liblockfile), procmail's lockfile, fcntl."""

import os
import subprocess
from pathlib import Path

import pytest
from local_service import Tree, wait_until

from sendmail_py.core.result import Outcome


def as_owner(tree: Tree, *words: object) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as whom the instance runs as."""
    options = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    return subprocess.run(list(map(str, words)), timeout=60, capture_output=True, **options)  # type: ignore[call-overload, no-any-return]


LOCKERS = [
    pytest.param(["dotlockfile", "-l", "-r", "0"], ["dotlockfile", "-u"], marks=pytest.mark.real("dotlockfile")),
    pytest.param(["lockfile", "-r", "0"], ["rm", "-f"], marks=pytest.mark.real("lockfile")),
]


@pytest.mark.parametrize(("lock", "unlock"), LOCKERS, ids=["dotlockfile", "lockfile"])
def test_a_lock_of_another_program_is_waited_for(tree: Tree, lock: list[str], unlock: list[str]) -> None:
    path = tree.spool / "daemon.lock"
    agent = tree.start(deliver_lock_attempts="100")
    assert as_owner(tree, *lock, path).returncode == 0
    waiting = agent.send("daemon", [tree.message()])
    agent.deliver("bin", tree.message())
    assert waiting.number in agent.aside and not (tree.spool / "daemon").exists()
    assert as_owner(tree, *unlock, path).returncode == 0
    agent.collect(waiting)
    assert waiting.deliveries[0].results[0] and waiting.deliveries[0].results[0].outcome is Outcome.DELIVERED
    assert not path.exists()


@pytest.mark.real("strace")
@pytest.mark.parametrize(("lock", "unlock"), LOCKERS, ids=["dotlockfile", "lockfile"])
def test_another_program_does_not_get_a_mailbox_that_we_write_to(
    tree: Tree, lock: list[str], unlock: list[str]
) -> None:
    path = tree.spool / "daemon.lock"
    slow = "inject=fsync:delay_enter=1500ms"
    trace = tree.spool.parent / "trace"
    agent = tree.start(wrapper=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fsync", "-e", slow))
    written = agent.send("daemon", [tree.message()])
    wait_until(lambda: (tree.spool / "daemon").exists() and (tree.spool / "daemon").stat().st_size > 0)
    assert as_owner(tree, *lock, path).returncode != 0
    agent.collect(written)
    assert as_owner(tree, *lock, path).returncode == 0
    assert as_owner(tree, *unlock, path).returncode == 0


@pytest.mark.real("dotlockfile")
def test_a_lock_whose_program_is_gone_is_broken_when_it_is_old(tree: Tree) -> None:
    path: Path = tree.spool / "daemon.lock"
    assert as_owner(tree, "sh", "-c", f"dotlockfile -l -p -r 0 {path}; exit $?").returncode == 0  # it names this shell
    os.utime(path, (1, 1))
    (result,) = tree.start(stale_lock_time="1s").deliver("daemon", tree.message())
    assert result and result.outcome is Outcome.DELIVERED
    assert not path.exists()
