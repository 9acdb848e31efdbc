"""Every recorded call of a real program, made again: what it asked for is what is queued.

All are made while the services are down, and looked at in maildrop/; then the services take
them in, with every transport deferred, and they are looked at in the queue.
"""

import os
import re
import subprocess
from dataclasses import dataclass

import pytest

from sendmail_py.core.envelope import Envelope
from sendmail_py.formats import queue_reader
from tests.compat.recordings import Outcome, Recording, load, of_kind, replay
from tests.integration.instance import DOMAIN, Instance, me

SUBMISSIONS = of_kind("submission")
# Written by the mailer that delivers, whatever stood there.
REMOVED = {"bcc", "return-path"}
QUALIFIED = {"from", "sender", "reply-to", "to", "cc", "errors-to", "disposition-notification-to"}


@dataclass
class Replayed:
    """A call with its outcome; (envelope, content) of the maildrop file and of the queue file."""

    outcome: Outcome
    dropped: tuple[Envelope, bytes]
    queued: tuple[Envelope, bytes]


def read(path) -> tuple[Envelope, bytes]:
    data = path.read_bytes()
    envelope = queue_reader.parse(data)
    return envelope, data[envelope.content_offset : envelope.content_offset + envelope.size]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory) -> dict[str, Replayed]:
    instance = Instance(tmp_path_factory.mktemp("recorded") / "i", defer_transports="local smtp")
    maildrop, deferred = instance.path / "queue/maildrop", instance.path / "queue/deferred"
    outcomes, drops = {}, {}
    seen: set[str] = set()
    for recording in SUBMISSIONS:
        outcomes[recording.caller] = replay(recording, instance)
        new = set(os.listdir(maildrop)) - seen
        seen |= new
        for name in new:  # exactly one, which the tests check
            drops.setdefault(recording.caller, []).append(name)
    dropped = {caller: read(maildrop / names[0]) for caller, names in drops.items() if len(names) == 1}
    with instance:
        instance.start()
        instance.wait_for(lambda: os.listdir(maildrop) == [], "all messages deferred, their originals removed")
    queued = {}
    for path in deferred.glob("*/*"):
        envelope, content = read(path)
        if envelope.maildrop:  # no report about one
            queued[envelope.maildrop[0]] = envelope, content
    return {caller: Replayed(outcomes[caller], dropped[caller], queued[drops[caller][0]]) for caller in dropped}


def by_caller(recordings: list[Recording]):
    return pytest.mark.parametrize("recording", recordings, ids=[recording.caller for recording in recordings])


def header_fields(header: bytes) -> list[tuple[str, bytes]]:
    """Return (name in lower case, octets of the whole field) of a header with LF line ends."""
    found = re.findall(rb"^([!-9;-~]+)[ \t]*:((?:.*\n[ \t])*.*\n)", header, re.MULTILINE)
    return [(name.decode().lower(), value) for name, value in found]


def sections(content: bytes) -> tuple[bytes, bytes]:
    """Part a message at its first empty line, whatever its line ends are; both parts come with LF."""
    text = content.replace(b"\r\n", b"\n")
    if text.startswith(b"From "):
        text = text.partition(b"\n")[2]
    header, _, body = text.partition(b"\n\n")
    return header.removesuffix(b"\n") + b"\n", body


@by_caller(SUBMISSIONS)
def test_the_call_succeeds_in_silence(recording, replayed):
    outcome = replayed[recording.caller].outcome
    sender = me() if recording.sender is None else recording.sender
    report = f"Mail Delivery Status Report will be mailed to <{sender}>.\n".encode() if "-v" in recording.argv else b""
    output = b"" if recording.fds.get("1") == "closed" else report
    assert (outcome.status, outcome.output, outcome.said) == (0, output, b"")


@by_caller(SUBMISSIONS)
def test_the_envelope_is_what_was_asked_for(recording, replayed):
    envelope, _ = replayed[recording.caller].dropped
    sender = None if envelope.reverse_path is None else str(envelope.reverse_path)
    assert sender == recording.sender
    assert sorted(str(r.forward_path) for r in envelope.recipients) == sorted(recording.recipients)


@by_caller(SUBMISSIONS)
def test_the_octets_are_kept_as_they_came(recording, replayed):
    assert replayed[recording.caller].dropped[1] == recording.content


@by_caller(SUBMISSIONS)
def test_the_queue_has_the_same_body_with_lf(recording, replayed):
    body = sections(recording.content)[1]
    assert replayed[recording.caller].queued[1].partition(b"\n\n")[2] == body


@by_caller(SUBMISSIONS)
def test_the_queue_has_every_field_but_bcc_and_return_path_and_none_that_is_needed_is_missing(recording, replayed):
    given = header_fields(sections(recording.content)[0])
    kept = header_fields(replayed[recording.caller].queued[1].partition(b"\n\n")[0] + b"\n")
    names = [name for name, _ in kept]
    untouched = [field for field in given if field[0] not in QUALIFIED | REMOVED]
    assert [field for field in kept if field in untouched] == untouched
    assert REMOVED.isdisjoint(names)
    assert [names.count(name) for name in ("from", "date", "message-id")] == [1, 1, 1]
    assert b"@" in dict(kept)["from"]


@by_caller(SUBMISSIONS)
def test_the_sender_is_the_user_who_called_whatever_the_environment_says(recording, replayed):
    envelope, _ = replayed[recording.caller].queued
    assert envelope.submitter.uid == os.getuid()
    if recording.sender is None:
        assert str(envelope.reverse_path) == f"{me()}@{DOMAIN}"
    elif recording.sender and "@" not in recording.sender:
        assert str(envelope.reverse_path) == f"{recording.sender}@{DOMAIN}"


@by_caller(of_kind("usage"))
def test_a_call_that_cannot_work_ends_at_once_with_64_and_one_line(recording, tmp_path):
    instance = Instance(tmp_path / "i")
    outcome = replay(recording, instance)
    assert (outcome.status, outcome.output, outcome.said.count(b"\n")) == (64, b"", 1)
    assert b"unrecognized option" not in outcome.said  # where netdata then leaves -F out
    assert os.listdir(instance.path / "queue/maildrop") == []


@by_caller(of_kind("usage"))
def test_a_call_that_cannot_work_leaves_stdin_to_the_next_program(recording, tmp_path):
    instance = Instance(tmp_path / "i")
    words = " ".join(f"'{word}'" for word in recording.argv[1:])
    script = f"{instance.tree}/bin/sendmail {words} 2>/dev/null; cat"
    done = subprocess.run(
        ["/bin/sh", "-c", script], input=recording.stdin, capture_output=True, timeout=60, env=instance.environment
    )
    assert done.stdout == recording.stdin


@by_caller(of_kind("newaliases"))
def test_newaliases_without_arguments_says_how_many_there_are(recording, tmp_path):
    instance = Instance(tmp_path / "i")
    (instance.path / "aliases").write_text("postmaster: root\nroot: alice, bob\n")
    outcome = replay(recording, instance)
    said = f"{instance.path}/aliases: 2 aliases, longest 10 bytes, 28 bytes total\n".encode()
    assert (outcome.status, outcome.output, outcome.said) == (0, said, b"")


@by_caller(of_kind("mailq"))
def test_mailq_of_an_empty_queue_says_so(recording, tmp_path):
    outcome = replay(recording, Instance(tmp_path / "i"))
    assert (outcome.status, outcome.output, outcome.said) == (0, b"Mail queue is empty\n", b"")


def test_every_recording_is_of_a_kind_that_is_replayed():
    assert {recording.kind for recording in load()} == {"submission", "smtp", "usage", "newaliases", "mailq"}
    assert len(SUBMISSIONS) == 110
