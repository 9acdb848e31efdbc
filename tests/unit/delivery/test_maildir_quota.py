"""The quota of a Maildir: kept to, brought up to date, and counted again where it seems to be used up."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.delivery import Delivery
from sendmail_py.core.envelope import Recipient
from sendmail_py.delivery import maildir
from sendmail_py.delivery.copy import Copy
from sendmail_py.host.users import User

OLD = time.time() - 3600
Deliver = Callable[..., list[str]]


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (path / name).mkdir(parents=True)
    return path


@pytest.fixture
def deliver(tmp_path: Path, box: Path) -> Deliver:
    """Return a function that delivers messages of 100 octets each, and returns their statuses."""
    user = User("bob", os.getuid(), os.getgid(), "/", "/bin/sh", "", tuple(os.getgroups()))
    content = tmp_path / "content"

    def run(*ids: str, path: Path = box) -> list[str]:
        copies = []
        for queue_id in ids:
            fields = len(b"Return-Path: <al@x>\nDelivered-To: bob@x\n")
            content.write_bytes(b"S: x\n\n".ljust(100 - fields, b"."))
            descriptor = os.open(content, os.O_RDONLY)
            made = Delivery(
                queue_id, descriptor, 0, 100 - fields, Address("al", "x"), [Recipient(Address("bob", "x"))],
                arrived_at=int(time.time() * 1e6),
            )  # fmt: skip
            copies.append(Copy(made, [0]))
            copies[-1].address_to([0])
        maildir.store(copies, user, str(path))
        for copy in copies:
            os.close(copy.delivery.fd)
        return [result.status for copy in copies for result in copy.delivery.results if result]

    return run


def quota(box: Path, text: str, mtime: float = 0.0) -> None:
    (box / "maildirsize").write_text(text)
    if mtime:
        os.utime(box / "maildirsize", (mtime, mtime))


def sizes(box: Path) -> str:
    return (box / "maildirsize").read_text()


def test_what_is_delivered_is_added_in_one_line(box: Path, deliver: Deliver) -> None:
    quota(box, "1000S,10C\n300 3\n")
    assert deliver("Q1", "Q2") == ["2.0.0", "2.0.0"]
    assert sizes(box) == "1000S,10C\n300 3\n200 2\n"


@pytest.mark.parametrize("limit", ["350S", "0S,4C", "350S,4C", "350"])
def test_what_does_not_fit_fails_and_the_rest_of_the_batch_does_not(box: Path, deliver: Deliver, limit: str) -> None:
    quota(box, f"{limit}\n200 3\n")
    if limit == "350":  # neither S nor C: it says nothing
        assert deliver("Q1", "Q2") == ["2.0.0", "2.0.0"]
        return
    assert deliver("Q1", "Q2") == ["2.0.0", "5.2.2"]
    assert len(os.listdir(box / "new")) == 1 and os.listdir(box / "tmp") == []


def test_a_mailbox_that_only_seems_full_is_counted_again(box: Path, deliver: Deliver) -> None:
    (box / ".Lists" / "cur").mkdir(parents=True)
    (box / "cur" / "1.a.b:2,S").write_bytes(b"x" * 50)
    (box / ".Lists" / "cur" / "2.a.b,S=70:2,").write_bytes(b"x")
    quota(box, "400S\n900 9\n", OLD)
    assert deliver("Q1") == ["2.0.0"]
    assert sizes(box) == "400S\n120 2\n100 1\n"


def test_a_sum_of_several_lines_is_counted_again_however_new_it_is(box: Path, deliver: Deliver) -> None:
    quota(box, "400S\n200 2\n200 2\n")
    assert deliver("Q1") == ["2.0.0"]
    assert sizes(box) == "400S\n0 0\n100 1\n"


def test_a_sum_that_was_counted_just_now_is_believed(box: Path, deliver: Deliver) -> None:
    quota(box, "400S\n400 4\n")
    assert deliver("Q1") == ["5.2.2"]
    assert sizes(box) == "400S\n400 4\n"


def test_a_folder_counts_in_the_quota_of_its_maildir(box: Path, deliver: Deliver) -> None:
    for name in ("new", "cur", "tmp"):
        (box / ".Lists" / name).mkdir(parents=True)
    (box / "maildirfolder").touch()  # as Dovecot does
    quota(box, "150S\n0 0\n")
    assert deliver("Q1", "Q2", path=box / ".Lists") == ["2.0.0", "5.2.2"]
    assert sizes(box) == "150S\n0 0\n100 1\n"


@pytest.mark.parametrize("text", ["", "0S\n", "x\n", "S,C\n1 1\n", "99999999999999999999S\n", "-5S\n7\n"])
def test_what_is_no_quota_limits_nothing(box: Path, deliver: Deliver, text: str) -> None:
    quota(box, text)
    assert deliver("Q1") == ["2.0.0"]
    assert sizes(box) == text


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_what_is_no_file_holds_nothing_up(box: Path, deliver: Deliver, kind: str) -> None:
    path = box / "maildirsize"
    (box.parent / "elsewhere").write_text("1S\n0 0\n")
    make = {"fifo": os.mkfifo, "directory": os.mkdir, "link": lambda it: os.symlink(box.parent / "elsewhere", it)}
    make[kind](path)
    assert deliver("Q1") == ["2.0.0"]


def test_lines_that_nobody_wrote_with_care_are_passed_over(box: Path, deliver: Deliver) -> None:
    quota(box, "1000S\nabc\n1 2 3\n100 1\n\n" + "9" * 400 + " 1\n", OLD)
    assert deliver("Q1") == ["2.0.0"]
    assert sizes(box) == "1000S\n0 0\n100 1\n"


def test_a_folder_is_named_by_the_extension_only_where_it_is_one(box: Path, tmp_path: Path) -> None:
    user = User("bob", os.getuid(), os.getgid(), "/", "/bin/sh", "", tuple(os.getgroups()))
    (box / ".Lists.py").mkdir()
    (box / "..").joinpath("outside").mkdir()
    os.symlink(tmp_path / "outside", box / ".Link")

    def folder(extension: str) -> str:
        return maildir.folder_of(extension, user, str(box))

    assert folder("Lists.py") == ".Lists.py"
    for extension in (
        "lists.py",
        "Lists",
        "Lists.",
        ".Lists",
        "./outside",
        "/outside",
        "Link",
        "Lists.py/cur",
        "",
        "é",
    ):
        assert folder(extension) == ""
