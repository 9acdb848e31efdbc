"""The queue's format: taken over from older programs, refused when a newer one has written it, and read for ever."""

from pathlib import Path

import pytest

from sendmail_py.core.envelope import Mark
from sendmail_py.core.errors import SpoolError
from sendmail_py.formats.queue_reader import parse
from sendmail_py.spool.format import FORMAT, claim

# What 0.1.0 wrote. A later version may write otherwise; it must read this.
FORMAT_1 = b"""\
sendmail-py-queue 1
id: 660EE6B8F4E4051A2B3
arrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000
submitter: uid=1000 login=alice pid=4711 cwd="/home/alice" command="/bin/sh\\x20-c\\x20backup"
from: <alice@example.org>
to: [ ] <bob@example.net> notify=FAILURE,DELAY orcpt=rfc822;bob@example.net
to: [x] <carol@example.com>
to: [-] <dan@example.org> target="|/usr/bin/vacation dan"
flags: [ ] delay-warned  [ ] expire  [x] queue-only  [ ] report  [ ] verify  [ ] reported
something-new: of a later format 1
size: 0000000014

Subject: hello
"""


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    (tmp_path / "lock").mkdir()
    return tmp_path


def test_a_queue_without_a_format_is_taken_over_and_says_so(queue: Path) -> None:
    claim(str(queue))
    assert (queue / "lock/format").read_text() == f"sendmail-py-queue {FORMAT}\n"
    claim(str(queue))
    assert [path.name for path in (queue / "lock").iterdir()] == ["format"]


def test_a_queue_of_an_older_format_is_taken_over(queue: Path) -> None:
    (queue / "lock/format").write_text("sendmail-py-queue 0\n")
    claim(str(queue))
    assert (queue / "lock/format").read_text() == f"sendmail-py-queue {FORMAT}\n"


def test_a_queue_of_a_newer_format_is_refused_and_left_as_it_is(queue: Path) -> None:
    (queue / "lock/format").write_text(f"sendmail-py-queue {FORMAT + 1}\n")
    with pytest.raises(SpoolError, match=f"queue format {FORMAT + 1}, written by a newer sendmail-py"):
        claim(str(queue))
    assert (queue / "lock/format").read_text() == f"sendmail-py-queue {FORMAT + 1}\n"


@pytest.mark.parametrize("text", ["", "sendmail-py-queue", "sendmail-py-queue two\n", "postfix 1\n"])
def test_a_format_that_cannot_be_read_is_refused(queue: Path, text: str) -> None:
    (queue / "lock/format").write_text(text)
    with pytest.raises(SpoolError, match="names no queue format"):
        claim(str(queue))


def test_no_link_is_followed(queue: Path) -> None:
    (queue / "lock/format").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        claim(str(queue))


def test_a_file_of_format_1_is_read() -> None:
    envelope = parse(FORMAT_1)
    assert (envelope.queue_id, str(envelope.reverse_path)) == ("660EE6B8F4E4051A2B3", "alice@example.org")
    assert envelope.submitter.command == "/bin/sh -c backup"
    marks = [(str(r.forward_path), r.mark) for r in envelope.recipients]
    assert marks == [
        ("bob@example.net", Mark.PENDING),
        ("carol@example.com", Mark.DELIVERED),
        ("dan@example.org", Mark.FAILED),
    ]
    assert envelope.recipients[2].target == "|/usr/bin/vacation dan"
    assert FORMAT_1[envelope.content_offset :] == b"Subject: hello"[: envelope.size] + b"\n"
