"""Instances for the tests of compatibility, and what a call leaves in their maildrop/."""

from dataclasses import dataclass

import pytest

from sendmail_py.formats import queue_reader
from tests.integration.instance import Instance

SIMPLE = b"Subject: x\n\nhello\n"


@dataclass
class Dropped:
    """An accepted message in maildrop/: sender None is the caller's login; recipients in order; the content."""

    sender: str | None
    recipients: list[str]
    content: bytes
    text: str


class Resting:
    """An instance whose services are down: what a call leaves behind can be looked at, and is then removed."""

    def __init__(self, path) -> None:
        self.instance = Instance(path)
        self.maildrop = self.instance.path / "queue" / "maildrop"

    def call(self, *words, input=SIMPLE, program="sendmail", **more):
        """Run a program; returns how it ended and the messages it left."""
        done = self.instance.run(program, *words, input=input, **more)
        return done, self.taken()

    def taken(self) -> list[Dropped]:
        """Take all messages out of maildrop/."""
        found = []
        for path in self.maildrop.iterdir():
            data = path.read_bytes()
            path.unlink()
            envelope = queue_reader.parse(data)
            sender = None if envelope.reverse_path is None else str(envelope.reverse_path)
            start = envelope.content_offset
            head = data[:start].decode("utf-8", "surrogateescape")
            found.append(Dropped(sender, [str(r.forward_path) for r in envelope.recipients], data[start:], head))
        return found

    def accepted(self, *words, **more) -> Dropped:
        """Run sendmail; it must succeed in silence and leave one message, which is returned."""
        done, found = self.call(*words, **more)
        assert (done.returncode, done.stdout, done.stderr, len(found)) == (0, b"", b"", 1)
        return found[0]

    def refused(self, status, *words, **more) -> str:
        """Run sendmail; it must end with this status and one line, and leave nothing. Returns the line."""
        done, files = self.call(*words, **more)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n"), files) == (status, b"", 1, []), done.stderr
        return done.stderr.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    return Resting(tmp_path_factory.mktemp("resting") / "i")
