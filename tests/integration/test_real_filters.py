"""opendkim signs and another opendkim verifies, rspamd marks and refuses: mail by SMTP and mail of sendmail(1)."""

import pytest

from tests.integration.smtp_server import Served
from tests.servers.real_filters import opendkim, rspamd

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

pytestmark = pytest.mark.real("opendkim", "rspamd", root=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("filters")
    signs = opendkim(path / "signs", "here.test", "s")
    with signs as signer, opendkim(path / "verifies", "here.test", "v", path / "signs") as verifier:
        with rspamd(path / "rspamd") as judge:
            places = ", ".join(f"inet:127.0.0.1:{port}" for port in (judge, signer, verifier))
            milters = {"smtpd_milters": places, "non_smtpd_milters": places, "smtpd_peername_lookup": "no"}
            with Served(path / "i", mynetworks="127.0.0.0/8", **milters) as instance:
                instance.start()
                yield instance


def message(subject, *lines):
    return ("From: alice@here.test", f"Subject: {subject}", "To: games@here.test", "", *lines)


def is_verified(text, subject):
    """Check one message of a mailbox: signed, and found good by who saw it after it was signed."""
    part = next(p for p in text.split(b"\nFrom ") if f"Subject: {subject}".encode() in p)
    head = part.partition(b"\n\n")[0]
    assert b"\nDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=here.test; s=s1;" in head
    result = head.partition(b"\nAuthentication-Results: checker.test;")[2]
    assert b"dkim=pass" in result
    assert b"header.s=s1" in result
    return head


def test_mail_by_smtp_is_signed_and_the_signature_is_good(served):
    with served.connect() as line:
        line.reply()
        line.to_data("alice@here.test")
        line.say(*message("by smtp", "some text  ", "", "äö", "..", "end", "", ""), ".")
        assert line.reply()[:3] == "250"
    is_verified(served.wait_for_mail("games", b"Subject: by smtp"), "by smtp")


def test_mail_of_sendmail_is_signed_and_the_signature_is_good(served):
    for number, text in enumerate((b"one line", b"long " * 200_000, b"\n\n\nblank lines\n\n\n", b"")):
        served.submit("\n".join(message(f"by sendmail {number}")).encode() + b"\n" + text, "sys@here.test")
    text = served.wait_for_mail("sys", b"Subject: by sendmail", 4)
    served.wait_for_log("to=<sys@here.test>.*status=sent", 4)
    for number in range(4):
        is_verified(served.mailbox("sys"), f"by sendmail {number}")
    assert text


def test_rspamd_marks_and_refuses_mail_by_smtp(served):
    with served.connect() as line:
        line.reply()
        line.to_data()
        line.say(*message("spam", GTUBE), ".")
        assert line.reply() == "554 5.7.1 Gtube pattern"
        served.wait_for_log("milter-reject: END-OF-MESSAGE from localhost.127.0.0.1.: 554 5.7.1 Gtube pattern; from=")
        line.to_data()
        line.say(*message("marked", "x"), ".")
        assert line.reply()[:3] == "250"
    head = is_verified(served.wait_for_mail("games", b"Subject: marked"), "marked")
    assert b"X-Spam: Yes" in head


def test_rspamd_refuses_mail_of_sendmail_and_its_sender_hears_why(served):
    served.submit("\n".join(message("spam", GTUBE, "")).encode(), "-f", "daemon@here.test", "games@here.test")
    assert b"5.7.1" in served.wait_for_mail("daemon", b"Gtube pattern")
    assert b"Subject: spam" not in served.mailbox("games")
