"""NOTIFY, RET, ENVID and ORCPT on their way to a real Postfix and from it, and what each side reports then."""

from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from typing import Any

import pytest
from flufl.bounce import all_failures
from machine import HOST, LOG, Machine
from smarthosts import BOX, POSTFIX_HOST, Smarthosts, wait_until
from smarthosts import LOG as POSTFIX_LOG

from tests.conftest import needs
from tests.servers.postfix import MASTER, SENDING

pytestmark = pytest.mark.real("dovecot")
# Postfix sends what is not its own to us; it takes mail for one whom it does not deliver to.
MAIN_CF = """\
relayhost = [127.0.0.4]:25
transport_maps = inline:{{broken@smarthost.test = error:5.7.1 not for you}}
smtp_tls_security_level = none
smtpd_reject_unlisted_recipient = no
"""
EXIT_67 = "#!/bin/sh\nexit 67\n"
ORCPT = "rfc822;Alias+2Bof@first.test"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with our services at 127.0.0.4 and Postfix at 127.0.0.2, each the other's smarthost."""
    needs(MASTER)
    with Machine() as machine:
        machine.install()
        machine.script("for user in alice bob; do useradd --create-home --user-group $user; done")
        machine.path("/usr/local/bin/exit67").write_text(EXIT_67)
        machine.script("chmod 755 /usr/local/bin/exit67")
        machine.set_up(maildrop_scan_delay="2s", relayhost="[127.0.0.2]:25", smtp_tls_security_level="none")
        machine.configure(inet_interfaces="127.0.0.4")
        machine.path("/etc/aliases").write_text("postmaster: root\nbroken: |/usr/local/bin/exit67\n")
        with Smarthosts(machine, tmp_path_factory.mktemp("authority"), MAIN_CF, SENDING):
            machine.start()
            yield machine
            machine.stop()


def send(machine: Machine, server: str, sender: str, envid: str, ret: str, to: str, notify: str) -> None:
    """Speak SMTP to one of the two, with every wish that RFC 3461 knows."""
    script = (
        "import smtplib, sys\n"
        "server, sender, envid, ret, to, notify = sys.argv[1:]\n"
        "with smtplib.SMTP(server, timeout=60) as smtp:\n"
        "    smtp.sendmail(sender, [to], f'Subject: {envid}\\n\\nthe body\\n',\n"
        f"        [f'ENVID={{envid}}', f'RET={{ret}}'], [f'NOTIFY={{notify}}', 'ORCPT={ORCPT}'])\n"
    )
    machine.python(script, server, sender, envid, ret, to, notify)


def report_in(machine: Machine, box: str, envid: str) -> Message:
    """Wait for the report with this ENVID in an mbox file."""
    path = machine.path(box)

    def found() -> str:
        parts = path.read_text("utf-8", "replace").split("\nFrom ") if path.exists() else []
        return next((part for part in parts if f"Original-Envelope-Id: {envid}\n" in part), "")

    try:
        text = wait_until(found, f"a report on {envid} in {box}")
    except AssertionError as error:
        logs = [machine.path(name).read_text() for name in (LOG, POSTFIX_LOG)]
        raise AssertionError("\n".join([str(error), *logs])) from None
    return message_from_string(text.partition("\n")[2])


def fields(report: Message) -> dict[str, str]:
    status: Any = report.get_payload(1)
    assert status.get_content_type() == "message/delivery-status"
    return dict(status.get_payload(1).items())


OURS, THEIRS = "127.0.0.4", "127.0.0.2"


@pytest.mark.parametrize(
    ("first", "box", "sender", "domain", "reporter"),
    [
        (OURS, "/var/mail/bob", f"bob@{HOST}", "smarthost.test", POSTFIX_HOST),
        (THEIRS, f"{BOX}/alice", "alice@smarthost.test", HOST, HOST),
    ],
    ids=["to Postfix", "from Postfix"],
)
def test_what_the_sender_wishes_reaches_who_delivers_and_comes_back_in_his_report(
    machine: Machine, first: str, box: str, sender: str, domain: str, reporter: str
) -> None:
    send(machine, first, sender, "success-1", "FULL", f"alice@{domain}", "SUCCESS,FAILURE")
    send(machine, first, sender, "failure-1", "HDRS", f"broken@{domain}", "FAILURE")
    send(machine, first, sender, "failure-2", "FULL", f"broken@{domain}", "FAILURE,DELAY")
    send(machine, first, sender, "never-1", "FULL", f"broken@{domain}", "NEVER")
    success = report_in(machine, box, "success-1")
    per_message: Any = success.get_payload(1)
    assert f"dns; {reporter}" == per_message.get_payload(0)["Reporting-MTA"]
    row = fields(success)
    assert (row["Action"], row["Status"][0]) == ("delivered", "2")
    assert row["Final-Recipient"].replace(" ", "") == f"rfc822;alice@{domain}"
    assert row["Original-Recipient"].replace(" ", "") == "rfc822;Alias+of@first.test"
    for envid, is_whole in (("failure-1", False), ("failure-2", True)):
        failure = report_in(machine, box, envid)
        assert fields(failure)["Action"] == "failed" and fields(failure)["Status"][0] == "5"
        assert fields(failure)["Final-Recipient"].endswith(f"broken@{domain}")
        assert all_failures(failure) == (set(), {b"Alias+of@first.test"})
        original: Any = failure.get_payload(2)
        assert ("the body" in original.as_string()) == is_whole
        assert failure["Return-Path"] == "<>" and failure["Auto-Submitted"] == "auto-replied"
    assert "never-1" not in machine.path(box).read_text()
