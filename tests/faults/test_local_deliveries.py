"""Kills and errors at the system calls of root's agent that touch a user's Maildir or .forward.

Whatever fails, a Maildir ends with one copy, whole and the user's; and a .forward that cannot be
read just now never means the mailbox.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.core.delivery import Delivery
from sendmail_py.core.result import DeliveryResult, Outcome
from tests.faults.harness import new_marker
from tests.faults.tracing import Fault, Strace, faults_in, sample, was_hit, with_effects
from tests.integration.local.local_service import Agent, Tree

pytestmark = pytest.mark.real("strace", root=True)

LONG_AGO = 1_600_000_000_000_000
GAMES = pwd.getpwnam("games")
RIGHTS = [
    Fault("main", call, "", number, effect)
    for call in ("setgroups", "setresgid", "setresuid")
    for number in (1, 2)
    for effect in ("error=EAGAIN", "signal=SIGKILL")
]
ANSWER = [Fault("main", call, "", 1) for call in ("sendmsg", "memfd_create")]
ANSWER += [Fault("main", "memfd_create", "", 1, f"error={error}") for error in ("EMFILE", "ENOMEM")]


class Place:
    """A tree with a user's home, whose agent is started again when it has died."""

    def __init__(self, path: Path) -> None:
        self.tree = Tree(path, "")
        self.home = path / "home"
        self.home.mkdir()
        os.chown(self.home, GAMES.pw_uid, GAMES.pw_gid)
        self.trace = path / "trace"

    def agent(self) -> Agent:
        if not self.tree.agents or self.tree.agents[-1].process.poll() is not None:
            self.tree.start(forward_path=f"{self.home}/.forward", stale_lock_time="1s")
        return self.tree.agents[-1]

    def deliver(self, message: Delivery, target: str) -> DeliveryResult | None:
        """Hand one delivery over; None when it is handed back, or when the agent died of it."""
        agent = self.agent()
        try:
            return agent.deliver("games", message, target=target, uid=GAMES.pw_uid)[0]
        except (AssertionError, OSError):
            agent.process.wait(60)
            return None

    def attempt(
        self, fault: Fault | None, paths: dict[str, str], message: Delivery, target: str = ""
    ) -> tuple[DeliveryResult | None, list[str]]:
        """Deliver under strace, with a fault; returns the result and the trace."""
        wanted = [path for path, pattern in paths.items() if fault is None or pattern == fault.path]
        strace = Strace(self.trace, [self.agent().process.pid], wanted, fault)
        try:
            result = self.deliver(message, target)
        finally:
            lines = strace.end()
        return result, lines


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="faults") as path:
        os.chmod(path, 0o755)
        made = Place(Path(path))
        try:
            yield made
        finally:
            for agent in made.tree.agents:
                agent.stop()


def missing(faults: list[Fault], missed: list[Fault]) -> set[str]:
    """Return the names of calls that were never disturbed."""
    return {fault.syscall for fault in faults} - {fault.syscall for fault in faults if fault not in missed}


@pytest.mark.parametrize("is_new", [False, True], ids=["old-maildir", "new-maildir"])
def test_a_fault_in_a_delivery_to_a_maildir_leaves_one_whole_copy(place: Place, is_new: bool) -> None:
    maildir = place.home / "Maildir"
    paths = {str(maildir): "maildir"} | {f"{maildir}/{name}": name for name in ("tmp", "new", "cur")}
    if is_new:
        paths[str(place.home)] = "home"

    def begin() -> tuple[bytes, Delivery, dict[str, str]]:
        if is_new:
            shutil.rmtree(maildir, ignore_errors=True)
        content = f"Subject: {new_marker()}\n\n".encode() + b"line\n" * 1000
        message = place.tree.message(content)
        message.arrived_at = LONG_AGO  # before the agent began, so that it looks into cur/, too
        name = f"{message.arrived_at // 1_000_000}.Q{message.queue_id}Ugames.{os.uname().nodename}"
        return content, message, paths | {f"{maildir}/tmp/{name}": "file", f"{maildir}/new/{name}": "file in new"}

    def again(content: bytes, first: Delivery) -> Delivery:
        message = place.tree.message(content, queue_id=first.queue_id)
        message.arrived_at = first.arrived_at
        return message

    _, message, all_paths = begin()
    place.deliver(message, f"{maildir}/")
    _, message, all_paths = begin()
    result, lines = place.attempt(None, all_paths, message, f"{maildir}/")
    assert result and result.outcome is Outcome.DELIVERED, result
    sites = faults_in(lines, "main", all_paths)
    assert {"openat", "writev", "fsync", "linkat", "unlinkat"} <= {site.syscall for site in sites}
    too_big = [Fault("main", f.syscall, f.path, f.ordinal, "error=EFBIG") for f in sites if f.syscall == "writev"]
    faults = sample(with_effects(sites) + too_big + RIGHTS + ANSWER[:1], 16)
    missed = []
    for fault in faults:
        content, message, all_paths = begin()
        result, lines = place.attempt(fault, all_paths, message, f"{maildir}/")
        if not was_hit(lines) and place.tree.agents[-1].process.poll() is None:
            missed.append(fault)
        if result is None or result.outcome is Outcome.DEFERRED:
            result = place.deliver(again(content, message), f"{maildir}/")
        assert result, fault
        found = [path for path in maildir.rglob("*") if path.is_file() and content in path.read_bytes()]
        if "EFBIG" in fault.effect and result.outcome is Outcome.FAILED:
            assert found == [] and result.status == "5.2.2"
            continue
        assert result.outcome is Outcome.DELIVERED, (fault, result)
        # A name in tmp/ that could not be removed shows nobody anything; readers remove it in time.
        if fault.syscall == "unlinkat":
            for path in (maildir / "tmp").iterdir():
                path.unlink()
                found.remove(path)
        assert [(path.parent.name, path.owner()) for path in found] == [("new", "games")], fault
        assert found[0].read_bytes().endswith(content) and not os.listdir(maildir / "tmp"), fault
    assert not missing(faults, missed), f"never disturbed: {missed}"


def test_a_fault_in_reading_or_handing_back_a_forward_never_means_the_mailbox(place: Place) -> None:
    path = place.home / ".forward"
    path.write_text("carol@example.org\n/home/box\n")
    path.chmod(0o600)
    os.chown(path, GAMES.pw_uid, GAMES.pw_gid)
    paths = {str(place.home): "home", str(path): ".forward"}
    result, lines = place.attempt(None, paths, place.tree.message())
    assert result is None and place.agent().forwarded() == ["carol@example.org", '"/home/box"']
    sites = faults_in(lines, "main", paths)
    assert {"openat", "read", "newfstatat"} <= {site.syscall for site in sites}
    faults = sample([*with_effects(sites), *RIGHTS, *ANSWER], 16)
    missed = []
    for fault in faults:
        result, lines = place.attempt(fault, paths, place.tree.message())
        if not was_hit(lines) and place.tree.agents[-1].process.poll() is None:
            missed.append(fault)
        assert result is None or result.outcome is Outcome.DEFERRED, (fault, result)
        agent = place.agent()
        if result is not None or not agent.handed_back:
            result = place.deliver(place.tree.message(), "")
            assert result is None, (fault, result)
        assert place.agent().forwarded() == ["carol@example.org", '"/home/box"'], fault
        place.agent().handed_back.clear()
    assert not missing(faults, missed), f"never disturbed: {missed}"
    assert os.listdir(place.tree.spool) == []
