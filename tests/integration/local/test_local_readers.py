"""Mail readers on the mailboxes that we write: mutt, and Python's mailbox module, as they lock and as they read."""

import mailbox
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_service import Tree

from sendmail_py.core.result import Outcome

ME = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
CONTENTS = {
    "quotes": b"Subject: quotes\n\nFrom here\n>From there\n\nFrom the end\n",
    "begins": b"From the beginning it is no header\n\nSubject: begins\n",
    "empty": b"Subject: empty\n\n",
    "no end": b"Subject: no end\n\nwithout a line end\n\nFrom",
    "only a header": b"Subject: only a header",
    "blank lines": b"Subject: blank lines\n\n\n\n\n",
    "a header that lies": b"Subject: a header that lies\nContent-Length: 3\n\nlonger than that\nFrom x\n\nend\n",
    "large": b"Subject: large\n\n" + b"From x\n" * 40_000,
}


def as_owner(*words: object, **more: object) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as whom the instance runs as."""
    options = {"user": ME.pw_uid, "group": ME.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    return subprocess.run(list(map(str, words)), timeout=60, capture_output=True, **options, **more)  # type: ignore[call-overload, no-any-return]


@contextmanager
def locked_by_mutt(box: Path) -> Iterator[None]:
    assert as_owner("mutt_dotlock", "-r", "0", box).returncode == 0
    try:
        yield
    finally:
        assert as_owner("mutt_dotlock", "-u", box).returncode == 0


@contextmanager
def locked_by_python(box: Path) -> Iterator[None]:
    held = mailbox.mbox(box, create=False)
    held.lock()
    try:
        yield
    finally:
        held.unlock()
        held.close()


@pytest.mark.parametrize(
    "locked",
    [pytest.param(locked_by_mutt, marks=pytest.mark.real("mutt_dotlock")), locked_by_python],
    ids=["mutt", "python"],
)
def test_mail_for_a_mailbox_that_a_reader_has_locked_is_deferred_and_delivered_later(tree: Tree, locked) -> None:  # type: ignore[no-untyped-def]
    agent = tree.start(deliver_lock_attempts="2")
    assert agent.deliver("daemon", tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    box = tree.spool / "daemon"
    before = box.read_bytes()
    with locked(box):
        (result,) = agent.deliver("daemon", tree.message())
        assert result and (result.outcome, result.status) == (Outcome.DEFERRED, "4.2.0")
        assert box.read_bytes() == before
    assert agent.deliver("daemon", tree.message())[0].outcome is Outcome.DELIVERED  # type: ignore[union-attr]
    assert len(mailbox.mbox(box)) == 2


def deliver_all(tree: Tree) -> Path:
    """Deliver each content in a message of its own; returns the mailbox."""
    results = tree.start(mailbox_size_limit="0").deliver("daemon", *map(tree.message, CONTENTS.values()))
    assert {r and r.outcome for r in results} == {Outcome.DELIVERED}
    return tree.spool / "daemon"


def quoted(content: bytes) -> bytes:
    """Return how a content stands in an mbox, without the line ends at its end."""
    return (b"\n" + content).replace(b"\nFrom ", b"\n>From ")[1:].rstrip(b"\n")


def test_pythons_mailbox_module_reads_each_message_as_it_was_sent(tree: Tree) -> None:
    found = [message.as_bytes() for message in mailbox.mbox(deliver_all(tree))]
    assert len(found) == len(CONTENTS)
    for text, content in zip(found, CONTENTS.values(), strict=True):
        body = quoted(content).partition(b"\n\n")[2]
        assert body in text, content


@pytest.mark.real("mutt", "script")
def test_mutt_reads_each_message_as_it_was_sent(tree: Tree) -> None:
    box = deliver_all(tree)
    out = tree.spool.parent / "out"
    out.mkdir()
    out.chmod(0o777)
    settings = tree.spool.parent / "muttrc"
    settings.write_text(f'set folder={out} record= spoolfile={box} pipe_split mbox_type=mbox pipe_sep=""\n')
    keys = f"<tag-pattern>~A<enter><tag-prefix><pipe-message>cat>{out}/$$<enter><exit>"
    command = f"mutt -n -R -F {settings} -f {box} -e 'push \"{keys}\"'"
    environment = {"TERM": "dumb", "HOME": str(out), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    as_owner("script", "-qec", command, "/dev/null", env=environment, stdin=subprocess.DEVNULL)
    found = [path.read_bytes() for path in out.iterdir() if path.name.isdigit()]
    assert len(found) == len(CONTENTS)
    for content in CONTENTS.values():
        assert any(text.rstrip(b"\n").endswith(quoted(content)) for text in found), content
