"""Exim, OpenSMTPD and Postfix relay into our server: what arrives is what they were given, and they tell of refusals.

Each in its own way: BDAT, all recipients in one go with DATA behind them, or each command by itself.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.instance import Instance, wait_until
from tests.integration.relaying_mtas import Exim, Mta, OpenSmtpd, Postfix
from tests.integration.smtp_server import Served, Submission

pytestmark = pytest.mark.real("unshare", "nsenter", root=True)
# Who reads SIZE in the answer to EHLO does not even ask.
TOO_LARGE = {
    Exim: "552 5.3.4 Message size exceeds the limit",
    OpenSmtpd: "message too large for peer",
    Postfix: "exceeds size limit 2000000 of server 127.0.0.1",
}
ALICE = ("alice", "secret word")
MTAS: list[type[Mta]] = [Exim, OpenSmtpd, Postfix]
DATE = "Mon, 1 Jan 2024 00:00:00 +0000"
HEAD = f"From: w@w.test\r\nDate: {DATE}\r\nMessage-Id: <{{subject}}@w.test>\r\nSubject: {{subject}}\r\n"
CONTENTS = {
    "short": b"\r\nhello\r\n",
    "empty": b"\r\n",
    "headeronly": b"",
    "dots": b"\r\n.\r\n..\r\n...\r\n.dot\r\n\r\n.\r\n",
    "long": b"\r\n" + b"\r\n".join(b"x" * length for length in (997, 998)) + b"\r\n",
    "endless": b"\r\n" + b"\r\n".join(b"y" * length for length in (2049, 9999, 30000)) + b"\r\n",
    "eight": "\r\nGrüße aus Łódź €\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "blank": b"\r\n\r\n\r\n  \r\n\t\r\nx \r\n\r\n\r\n",
    "folded": b"X-Folded: one\r\n two\r\n\tthree\r\nX-Odd:\r\n\r\nbody\r\n",
    "large": b"\r\n" + b"".join(b"%07d and a line of text\r\n" % n for n in range(30000)),
    "manydots": b"\r\n" + b".\r\n" * 5000,
}


def message(subject: str, content: bytes = b"\r\nhello\r\n") -> bytes:
    return HEAD.format(subject=subject).encode() + content


def arrived(served: Instance, user: str, subject: str) -> bytes:
    """Wait for a message; returns it as it is in the mailbox, with what each server has set before it."""
    (line,) = served.wait_for_log(f"message-id=<{subject}@w.test>")
    served.wait_for_log(f"{line.split()[5]} removed")
    mark = f"\nSubject: {subject}\n".encode()
    found = [part for part in (served.mailbox(user) + b"From ").split(b"\nFrom ") if mark in part]
    assert len(found) == 1, f"{len(found)} times {subject}"
    return found[0].partition(b"\n")[2]


def without_traces(text: bytes) -> bytes:
    """Return a message of a mailbox without the fields that servers set before it."""
    return re.sub(rb"\A(?:(?:Return-Path|Delivered-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)+", b"", text)


def report(served: Instance, *texts: str) -> str:
    """Wait for a report to the sender with all these texts; returns it."""

    def found() -> str:
        parts = served.mailbox("news").decode("utf-8", "replace").split("\nFrom ")
        return next((part for part in parts if all(text in re.sub(r"\s+", " ", part) for text in texts)), "")

    return str(served.wait_for(found, f"a report that says {texts}"))


def settle(served: Instance) -> None:
    """Wait until no client is connected."""
    log = served.log
    served.wait_for(lambda: log().count(": connect from ") == log().count(": disconnect from "), "all have left")


def configure(served: Instance, **settings: object) -> None:
    """Reload with other settings, when nobody is connected who would go on with those of before."""
    settle(served)
    served.configure(**settings)
    served.reload()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    refused = "check_sender_access inline:{ {late@here.test=550 5.7.1 Nothing of yours is wanted} }"
    path = tmp_path_factory.mktemp("relayed") / "i"
    with Served(path, smtpd_end_of_data_restrictions=refused, message_size_limit=2000000) as instance:
        instance.start()
        yield instance


@pytest.fixture(scope="module", params=MTAS, ids=lambda kind: kind.name)
def mta(served: Served, request: pytest.FixtureRequest) -> Iterator[Mta]:
    with request.param(served.port) as running:
        yield running


@pytest.fixture(params=["", "starttls", "chunking, starttls", "chunking, pipelining, 8bitmime, dsn, size"])
def without(served: Served, mta: Mta, request: pytest.FixtureRequest) -> Iterator[str]:
    """What EHLO does not offer."""
    configure(served, smtpd_discard_ehlo_keywords=request.param)
    yield request.param
    configure(served, smtpd_discard_ehlo_keywords="")


def test_content_arrives_octet_for_octet(served: Served, mta: Mta, without: str) -> None:
    at = len(served.log())
    sent = {f"{name}-{mta.name}-{without.replace(', ', '-')}": content for name, content in CONTENTS.items()}
    for subject, content in sent.items():
        mta.send(message(subject, content), "games@here.test")
    for subject, content in sent.items():
        text = arrived(served, "games", subject)
        assert without_traces(text) == message(subject, content or b"\r\n").replace(b"\r\n", b"\n")
        assert (b" with ESMTPS id " in text) == ("starttls" not in without)
    log = served.log()[at:]
    assert (" bdat=" in log) == (type(mta) is Exim and "chunking" not in without), log


def test_of_several_recipients_the_refused_ones_come_back_with_our_words(served: Served, mta: Mta) -> None:
    subject = f"several-{mta.name}"
    mta.send(message(subject), "games@here.test", "nobody-there@here.test", "daemon@here.test", "bad+x@nowhere.invalid")
    for user in ("games", "daemon"):
        assert without_traces(arrived(served, user, subject)) == message(subject).replace(b"\r\n", b"\n")
    report(served, f"{subject}@w.test", "550 5.1.1 <nobody-there@here.test>: Recipient address rejected: User unknown")


def test_what_is_refused_when_it_has_come_comes_back_with_our_words(served: Served, mta: Mta) -> None:
    subject = f"refused-{mta.name}"
    mta.send(message(subject), "games@here.test", sender="late@here.test")
    mta.wait_for_log("550 5.7.1 <late@here.test>: Sender address rejected: Nothing of yours is wanted")
    assert f"Subject: {subject}\n".encode() not in served.mailbox("games")


def test_what_is_too_large_is_not_taken(served: Served, mta: Mta) -> None:
    subject = f"huge-{mta.name}"
    mta.send(message(subject, b"\r\n" + (b"x" * 98 + b"\r\n") * 25000), "games@here.test")
    mta.wait_for_log(TOO_LARGE[type(mta)])
    assert f"Subject: {subject}\n".encode() not in served.mailbox("games")


def test_wishes_for_reports_go_with_the_message(served: Served, mta: Mta) -> None:
    subject = f"wishes-{mta.name}"
    wishes = ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;first+2Bone@first.test"]
    mta.send(message(subject), "games@here.test", mail=["RET=HDRS", f"ENVID={subject}"], rcpt=wishes)
    text = report(served, f"Original-Envelope-Id: {subject}", "Action: delivered")
    assert "Original-Recipient: rfc822; first+one@first.test" in text
    assert "text/rfc822-headers" in text


def test_what_is_put_off_is_tried_again_and_only_that(served: Served, mta: Mta) -> None:
    subject = f"later-{mta.name}"
    not_yet = "check_recipient_access inline:{ {daemon@here.test=450 4.7.1 Not yet} }"
    configure(served, smtpd_recipient_restrictions=not_yet)
    mta.send(message(subject), "games@here.test", "daemon@here.test")
    arrived(served, "games", subject)
    mta.wait_for_log("450 4.7.1 <daemon@here.test>: Recipient address rejected: Not yet")
    configure(served, smtpd_recipient_restrictions="")
    retried_until(mta, lambda: f"\nSubject: {subject}\n".encode() in served.mailbox("daemon"))
    served.wait_empty()
    for user in ("games", "daemon"):
        text = served.mailbox(user)
        assert text.count(f"\nSubject: {subject}\n".encode()) == 1


def retried_until(mta: Mta, condition: Callable[[], object]) -> None:
    def retried() -> object:
        mta.retry()
        return condition()

    try:
        wait_until(retried, f"{mta.name} has come back", 90)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{mta.log()}") from None


@pytest.mark.parametrize("kind", MTAS, ids=lambda kind: kind.name)
def test_while_we_are_away_they_wait_and_then_send_several_over_one_connection(tmp_path: Path, kind: type[Mta]) -> None:
    subjects = [f"number-{number}" for number in range(5)]
    with Served(tmp_path / "i", smtpd_tls_security_level="none") as served, kind(served.port) as mta:
        for subject in subjects:
            mta.send(message(subject), "games@here.test")
        mta.wait_for_log("refused")
        served.start()
        retried_until(mta, lambda: served.mailbox("games").count(b"\nReturn-Path: ") == len(subjects))
        for subject in subjects:
            assert without_traces(arrived(served, "games", subject)) == message(subject).replace(b"\r\n", b"\n")
        settle(served)
        assert re.search(r": disconnect from .* mail=(?!1 )", served.log()), served.log()


@pytest.mark.parametrize("kind", MTAS, ids=lambda kind: kind.name)
def test_with_a_password_they_send_by_the_submission_port_and_with_a_wrong_one_they_do_not(
    tmp_path: Path, kind: type[Mta]
) -> None:
    with Submission(tmp_path / "i", dict([ALICE])) as served:
        served.start()
        with kind(served.submission, login=ALICE) as mta:
            mta.send(message("by-alice", CONTENTS["dots"]), "games@here.test")
            text = arrived(served, "games", "by-alice")
        assert without_traces(text) == message("by-alice", CONTENTS["dots"]).replace(b"\r\n", b"\n")
        assert b" with ESMTPSA id " in text
        served.wait_for_log(r"sasl_method=PLAIN, sasl_username=alice$")
        with kind(served.submission, login=("alice", "another word")) as mta:
            mta.send(message("by-nobody"), "games@here.test")
            mta.wait_for_log("535 5.7.8")
            served.wait_for_log("SASL PLAIN authentication failed: authentication failure, sasl_username=alice")
        assert b"by-nobody" not in served.mailbox("games")
