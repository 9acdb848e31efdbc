"""Kills and errors at the system calls by which the local agent runs a program.

Whatever fails, a program sees the whole message or nothing; a message whose program did not run
is deferred, or its agent is gone without a word, so that it is tried again. And nothing that fails
lets a program run with more rights.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.core.result import Outcome
from tests.faults.tracing import Fault, sample, was_hit
from tests.integration.instance import wait_until
from tests.integration.local.local_service import Agent, Tree

pytestmark = pytest.mark.real("strace", root=True)

BEFORE = ("memfd_create", "fcntl", "pipe2", "clone", "pidfd_open", "epoll_ctl", "waitid")
CHILD = ("setsid", "dup2", "prlimit64", "setgroups", "setresgid", "setresuid", "execve")
EFFECTS = ("error=EAGAIN", "error=ENOMEM", "error=EMFILE", "error=EIO", "signal=SIGKILL")
FAULTS = [Fault("program", call, "", 1, effect) for call in BEFORE + CHILD for effect in EFFECTS]
CONTENT = b"Subject: whole\n\n" + b"0123456789abcde\n" * 1000


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="programs") as path:
        os.chmod(path, 0o755)
        made = Tree(Path(path), "")
        (made.spool.parent / "out").mkdir()
        (made.spool.parent / "out").chmod(0o1777)
        try:
            yield made
        finally:
            for agent in made.agents:
                agent.stop()


@contextlib.contextmanager
def injected(agent: Agent, fault: Fault, trace: Path) -> Iterator[None]:
    """Have a fault happen to the agent, or to the program that it starts."""
    inject = f"inject={fault.syscall}:{fault.effect}:when={fault.ordinal}"
    words = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={fault.syscall}", "-e", inject]
    pid = agent.process.pid
    with subprocess.Popen([*words, "-p", str(pid)], stderr=subprocess.DEVNULL) as tracer:
        status = Path(f"/proc/{pid}/status")
        wait_until(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace is attached")
        try:
            yield
            wait_until(lambda: was_hit(trace.read_text().splitlines()), f"{fault} has happened")
        finally:
            tracer.terminate()
            try:
                tracer.wait(20)
            except subprocess.TimeoutExpired:  # it waits for what it follows, where the agent has left that behind
                tracer.kill()


def outputs(tree: Tree) -> list[bytes]:
    """Return what programs have read."""
    return [path.read_bytes() for path in sorted((tree.spool.parent / "out").iterdir())]


def command(tree: Tree) -> str:
    return f'|f={tree.spool.parent}/out/$$; (id -u; cat) >"$f"'


def is_whole(read: bytes) -> bool:
    uid, _, message = read.partition(b"\n")
    return uid == b"1" and message.startswith(b"From ") and message.endswith(CONTENT)


@pytest.mark.parametrize("fault", sample(FAULTS, 16), ids=str)
def test_a_fault_on_the_way_to_a_program_neither_loses_mail_nor_tears_it(tree: Tree, fault: Fault) -> None:
    agent = tree.start(default_privs="daemon")
    trace = tree.spool.parent / "trace"
    result = None
    with injected(agent, fault, trace), contextlib.suppress(AssertionError):  # the service closed its channel: it died
        (result,) = agent.deliver("program", tree.message(CONTENT), target=command(tree))
    first = outputs(tree)
    if result is not None and result.outcome is Outcome.DELIVERED:
        assert len(first) == 1 and is_whole(first[0])
    else:
        assert result is None or result.outcome is Outcome.DEFERRED, result
        assert len(first) <= 1
    if agent.process.poll() is not None or result is None:
        agent = tree.start(default_privs="daemon")
    (again,) = agent.deliver("program", tree.message(CONTENT), target=command(tree))
    assert again and again.outcome is Outcome.DELIVERED, again
    assert len(outputs(tree)) <= len(first) + 1 or result is None
    if fault.effect != "signal=SIGKILL":
        assert all(map(is_whole, outputs(tree))), "torn"


@pytest.mark.parametrize("call", ["setgroups", "setresgid", "setresuid"])
def test_a_change_of_rights_that_only_seems_to_succeed_runs_nothing(tree: Tree, call: str) -> None:
    agent = tree.start(default_privs="daemon")
    trace = tree.spool.parent / "trace"
    fault = Fault("program", call, "", 1, "retval=0")
    with injected(agent, fault, trace):
        (result,) = agent.deliver("program", tree.message(CONTENT), target=command(tree))
    assert result and (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0"), result
    assert outputs(tree) == []
