"""Failure reports, read back with another parser of MIME."""

from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import DeliveryResult, Handover, Outcome, Scope, deferred, delivered, failed, from_reply
from sendmail_py.formats.bounce_templates import Wording
from sendmail_py.formats.dsn import StatusReport, build
from sendmail_py.formats.report_kinds import Kind

ORIGINAL = b"From: alice@example.org\nTo: bob@example.net\nSubject: hello\n"
BOB = Address("bob", "example.net")
REPORT = StatusReport(
    kind=Kind.FAILURE,
    host="host.example.org",
    queue_id="6A24F0C1B3D2",
    arrived_at=1795435041_123456,
    sender=Address("alice", "example.org"),
    to=Address("alice", "example.org"),
    wording=Wording("MAILER-DAEMON (Mail Delivery System)", "Undelivered Mail Returned to Sender", "The text.\n"),
    rows=[(Recipient(BOB), failed("5.1.1", "unknown user: bob"))],
    header=ORIGINAL,
    body=b"text\n",
    bounce_id="7B24F0C1B3D2",
    now=1795435050_654321,
)


def octets(**changes: object) -> bytes:
    return b"".join(build(replace(REPORT, **changes)))  # type: ignore[arg-type]


def parts(data: bytes) -> tuple[str, list[Any], Any]:
    """Return the text, the groups of status fields, and the third part."""
    message: Any = message_from_bytes(data)
    assert not any(part.defects for part in message.walk())
    text, status, original = message.get_payload()
    return text.get_payload(decode=True).decode(text.get_content_charset()), status.get_payload(), original


def one(result: DeliveryResult, path: Address = BOB, original: str = "") -> dict[str, object]:
    return {"rows": [(Recipient(path, original), result)]}


def test_the_header_is_that_of_an_automatic_reply() -> None:
    message = message_from_bytes(octets())
    assert dict(message.items()) == {
        "Date": "Mon, 23 Nov 2026 11:57:30 +0000",
        "From": "MAILER-DAEMON@host.example.org (Mail Delivery System)",
        "Subject": "Undelivered Mail Returned to Sender",
        "To": "alice@example.org",
        "Message-Id": "<20261123115730.7B24F0C1B3D2@host.example.org>",
        "Auto-Submitted": "auto-replied",
        "MIME-Version": "1.0",
        "Content-Type": "multipart/report; report-type=delivery-status;\n"
        '\tboundary="7B24F0C1B3D2.1795435050654321/host.example.org"',
    }
    assert message.get_param("report-type") == "delivery-status"


def test_below_its_text_a_report_names_recipient_and_reason() -> None:
    text, _, _ = parts(octets())
    assert text.startswith("The text.\n\n<bob")
    assert text.endswith("\n\n<bob@example.net>: unknown user: bob\n")


def test_the_status_part_has_the_fields_of_rfc_3464() -> None:
    said = "550 5.1.1 <bob@example.net>: no"
    result = from_reply(550, "5.1.1", said, "mx.example.net[192.0.2.7]:25", Scope.RECIPIENT)
    bob = (Recipient(BOB, "rfc822;bob+2Balias@example.org"), result)
    carol = (Recipient(Address("carol", "x")), failed("5.2.2", "mailbox full"))
    _, (head, first, second), _ = parts(octets(rows=[bob, carol], envid="a+3Db"))
    assert dict(head.items()) == {
        "Reporting-MTA": "dns; host.example.org",
        "Original-Envelope-Id": "a=b",
        "X-Sendmail-Py-Queue-ID": "6A24F0C1B3D2",
        "X-Sendmail-Py-Sender": "rfc822; alice@example.org",
        "Arrival-Date": "Mon, 23 Nov 2026 11:57:21 +0000",
    }
    assert dict(first.items()) == {
        "Final-Recipient": "rfc822; bob@example.net",
        "Original-Recipient": "rfc822; bob+alias@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 <bob@example.net>: no",
    }
    assert dict(second.items()) == {
        "Final-Recipient": "rfc822; carol@x",
        "Action": "failed",
        "Status": "5.2.2",
        "Diagnostic-Code": "X-Sendmail-Py; mailbox full",
    }


def test_the_message_comes_back_whole() -> None:
    _, _, original = parts(octets())
    assert original.get_content_type() == "message/rfc822"
    assert octets().count(b"\n\n" + ORIGINAL + b"\ntext\n\n--7B24F0C1B3D2.") == 1
    assert original.get_payload(0)["Subject"] == "hello"


def test_without_a_body_only_the_header_comes_back() -> None:
    _, _, original = parts(octets(body=None))
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload() == ORIGINAL.decode()


@pytest.mark.parametrize("body", [b"", b"no line end", b"\n\n", b"--\n"])
def test_any_body_comes_back_as_it_was(body: bytes) -> None:
    _, _, original = parts(octets(body=body))
    assert original.get_payload(0).get_payload() == body.decode()


def test_eight_bit_content_is_declared() -> None:
    message: Any = message_from_bytes(octets(body=b"caf\xe9\n"))
    text, status, original = message.get_payload()
    assert message["Content-Transfer-Encoding"] == original["Content-Transfer-Encoding"] == "8bit"
    assert text["Content-Transfer-Encoding"] is status["Content-Transfer-Encoding"] is None
    assert message_from_bytes(octets(header=b"X: \xe9\n", body=None))["Content-Transfer-Encoding"] == "8bit"
    assert message_from_bytes(octets())["Content-Transfer-Encoding"] is None


def test_a_recipient_beyond_ascii_is_readable_for_people_and_safe_for_programs() -> None:
    changes = one(failed("5.1.1", "unknown: jörg"), Address("jörg+a", "exämple.org"), "utf-8;jörg@x")
    text, (_, status), original = parts(octets(**changes))
    assert "<jörg+a@exämple.org> (expanded from <jörg@x>): unknown: jörg" in text
    assert status["Final-Recipient"] == "utf-8; j\\x{F6}rg\\x{2B}a@ex\\x{E4}mple.org"
    assert status["Original-Recipient"] == "utf-8; j\\x{F6}rg@x"
    assert status["Diagnostic-Code"] == "X-Sendmail-Py; unknown: j?rg"
    assert original.get_content_type() == "message/rfc822"


def test_a_report_on_an_internationalised_message_is_one_itself() -> None:
    changes = one(failed("5.1.1", "unknown: jörg"), Address("jörg+a", "exämple.org"), "rfc822;jörg@x")
    message: Any = message_from_bytes(octets(**changes, smtputf8=True))
    _, status, original = message.get_payload()
    assert message["Content-Transfer-Encoding"] == status["Content-Transfer-Encoding"] == "8bit"
    assert status.get_content_type() == "message/global-delivery-status"
    per_message, per_recipient = status.as_bytes().partition(b"\n\n")[2].strip().split(b"\n\n")
    assert b"Reporting-MTA: dns; host.example.org\n" in per_message
    assert (
        "Final-Recipient: utf-8; jörg\\x{2B}a@exämple.org\nOriginal-Recipient: utf-8; jörg@x\n"
        in per_recipient.decode()
    )
    assert "Diagnostic-Code: X-Sendmail-Py; unknown: jörg" in per_recipient.decode()
    assert original.get_content_type() == "message/global"
    assert message_from_bytes(octets(**changes, smtputf8=True, body=None)).get_payload(2).get_content_type() == (
        "message/global-headers"
    )
    assert parts(octets(smtputf8=True))[1][1]["Final-Recipient"] == "rfc822; bob@example.net"


def test_an_address_that_is_no_utf8_does_no_harm() -> None:
    _, (_, status), _ = parts(octets(**one(failed("5.1.1", "no"), Address("j\udcf6", "x"))))
    assert status["Final-Recipient"] == "rfc822; j?@x"


def test_a_hostile_reply_adds_no_field_and_no_part() -> None:
    forged = "--7B24F0C1B3D2.1795435050654321/host.example.org--"
    said = f"no\r\nAction: delivered\n\n{forged}\n\0\x1b[2J \udc80{'w' * 3000}{' x' * 3000}"
    result = DeliveryResult(Outcome.FAILED, "5.0.0\nX: y", said, "mx\n\nX: y", "smtp; " + said)
    data = octets(**one(result, Address("b\x1b", "x"), "x\n\n;y\n\n"))
    _, groups, original = parts(data)
    assert len(groups) == 2
    assert groups[1]["Action"] == "failed" and groups[1]["X"] is None
    assert groups[1]["Status"] == "5.0.0"
    assert original.get_content_type() == "message/rfc822"
    assert max(map(len, data.splitlines())) < 998
    assert not set(data) & (set(range(32)) - {9, 10})


def test_the_boundary_is_one_that_the_content_does_not_hold() -> None:
    stem = "7B24F0C1B3D2.1795435050654321/host.example.org"
    _, _, original = parts(octets(body=f"--{stem}--\n--1.{stem}--\n".encode()))
    assert original.get_payload(0).get_payload() == f"--{stem}--\n--1.{stem}--\n"


@pytest.mark.parametrize("status", ["4.4.1", "5.7.1"])
def test_the_status_is_the_results_own(status: str) -> None:
    result = DeliveryResult(Outcome.FAILED, status, "expired")
    assert parts(octets(**one(result)))[1][1]["Status"] == status


@pytest.mark.parametrize("status", ["", "2.0.0", "5", "5.1", "5.1.1000", "5.1.x", "5.1.1.1", "5.\u0661.1"])
def test_what_is_no_failure_status_becomes_5_0_0(status: str) -> None:
    result = DeliveryResult(Outcome.FAILED, status, "expired")
    assert parts(octets(**one(result)))[1][1]["Status"] == "5.0.0"


def test_a_boundary_fits_whatever_the_host_is_called() -> None:
    boundary = message_from_bytes(octets(host="h" * 200 + ".org")).get_boundary()
    assert boundary and len(boundary) <= 70


# --- the reports that somebody asked for -----------------------------------------------------------

SENT = delivered("delivered to mailbox", relay="local")
RELAYED = from_reply(250, "2.0.0", "250 2.0.0 Ok", "mx.example.net[192.0.2.7]:25", Scope.MESSAGE)
LATER = deferred("4.4.1", "timed out", relay="mx.example.net[192.0.2.7]:25")
NEVER = failed("5.1.1", "unknown user")


def fields_of(kind: Kind, *results: DeliveryResult) -> list[dict[str, str]]:
    rows = [(Recipient(BOB), result) for result in results]
    return [dict(group.items()) for group in parts(octets(kind=kind, rows=rows, body=None))[1][1:]]


def test_a_delivery_report_names_the_end_of_each_recipient() -> None:
    relayed = replace(RELAYED, handover=Handover.RELAYED)
    entrusted = replace(RELAYED, handover=Handover.ENTRUSTED)
    expanded = replace(SENT, handover=Handover.EXPANDED)
    rows = fields_of(Kind.DELIVERY, SENT, relayed, entrusted, expanded, LATER, NEVER)
    assert [(row["Action"], row["Status"]) for row in rows] == [
        ("delivered", "2.0.0"),
        ("relayed", "2.0.0"),
        ("relayed", "2.0.0"),
        ("expanded", "2.0.0"),
        ("delayed", "4.4.1"),
        ("failed", "5.1.1"),
    ]
    assert rows[0]["Diagnostic-Code"] == "X-Sendmail-Py; delivery via local: delivered to mailbox"
    assert (rows[1]["Remote-MTA"], rows[1]["Diagnostic-Code"]) == ("dns; mx.example.net", "smtp; 250 2.0.0 Ok")


def test_a_verification_knows_only_deliverable_and_undeliverable() -> None:
    rows = fields_of(Kind.VERIFICATION, SENT, LATER, NEVER)
    assert [(row["Action"], row["Status"]) for row in rows] == [
        ("deliverable", "2.0.0"),
        ("undeliverable", "4.4.1"),
        ("undeliverable", "5.1.1"),
    ]


@pytest.mark.parametrize(("result", "status"), [(SENT, "2.0.0"), (LATER, "4.0.0"), (NEVER, "5.0.0")])
def test_a_status_that_does_not_fit_the_action_is_replaced(result: DeliveryResult, status: str) -> None:
    odd = replace(result, status="7.1.1")
    assert fields_of(Kind.DELIVERY, odd)[0]["Status"] == status


@pytest.mark.parametrize("kind", [Kind.SUCCESS, Kind.DELIVERY, Kind.VERIFICATION])
def test_a_report_that_was_asked_for_says_the_way_the_mail_went(kind: Kind) -> None:
    text, _, original = parts(octets(kind=kind, rows=[(Recipient(BOB), RELAYED)], body=None))
    assert text.endswith("<bob@example.net>: delivery via mx.example.net[192.0.2.7]:25: 250 2.0.0 Ok\n")
    assert original["Content-Description"] == "Message Headers"


def test_a_delay_warning_says_that_it_is_one_and_until_when_delivery_is_tried() -> None:
    changes = {"kind": Kind.DELAY, "rows": [(Recipient(BOB), LATER)], "body": None, "retry_until": 1795867041_000000}
    text, (_, row), original = parts(octets(**changes))
    assert (row["Action"], row["Status"]) == ("delayed", "4.4.1")
    assert row["Will-Retry-Until"] == "Sat, 28 Nov 2026 11:57:21 +0000"
    assert text.endswith("<bob@example.net>: timed out\n")
    assert original.get_content_type() == "text/rfc822-headers"


def test_a_report_can_refer_to_its_message() -> None:
    message = message_from_bytes(octets(original_id="<1@example.org>"))
    assert message["References"] == message["In-Reply-To"] == "<1@example.org>"
    assert message_from_bytes(octets(original_id="<1 2>"))["References"] is None
