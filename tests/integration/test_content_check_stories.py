"""header_checks and body_checks, from submission and from SMTP clients to the mailbox, the bounce and the log."""

import smtplib

import pytest

from tests.integration.instance import DOMAIN, Instance, me
from tests.servers.ports import free_port

HEADER = r"""
/^Subject: .*forbidden/      REJECT not here
/^Subject: throw away/       DISCARD nobody reads it
/^Subject: wait/             HOLD somebody must look
/^X-Secret:/                 IGNORE
/^X-Old: (.*)$/              REPLACE X-New: <$1>
/^Subject: mark/             PREPEND X-Mark: yes
/^Subject: elsewhere/        REDIRECT %s@here.test
/^Subject: warn/             WARN look at this
/^Subject: copy/             BCC %s@here.test
"""
BODY = "/^virus/ REJECT 5.7.9 a virus\n/^remove me$/ IGNORE\n/^old$/ REPLACE new\n"


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "header").write_text(HEADER % (me(), me()))
    (tmp_path / "body").write_text(BODY)
    settings = {"header_checks": f"pcre:{tmp_path}/header", "body_checks": f"regexp:{tmp_path}/body"}
    with Instance(tmp_path / "instance", maildrop_scan_delay="1s", smtpd_port=free_port(), **settings) as it:
        yield it


def submit(instance, header, body="hi\n", to=None):
    instance.submit(f"{header}\n\n{body}".encode(), "-i", to or me())


def test_fields_and_lines_are_removed_replaced_and_put_before_others_and_the_rest_stays(instance):
    instance.start()
    submit(instance, "X-A:  1\nX-Secret: a\n b\nX-Old: it\nSubject: mark this", "first\nremove me\nold\n\nold times\n")
    text = instance.wait_for_mail(me(), b"mark this")
    assert b"X-A:  1\nX-New: <it>\nX-Mark: yes\nSubject: mark this\n" in text
    assert b"\n\nfirst\nnew\n\nold times\n" in text and b"X-Secret" not in text


@pytest.mark.parametrize(
    ("header", "body", "status"), [("Subject: A\n  Forbidden one", "hi\n", "5.7.1"), ("Subject: x", "virus\n", "5.7.9")]
)
def test_what_is_rejected_comes_back_to_its_sender_with_the_reason(instance, header, body, status):
    instance.start()
    submit(instance, header, body, "bob@far.test")
    assert f"Status: {status}".encode() in instance.wait_for_mail(me(), b"Auto-Submitted")
    instance.wait_for_log(r": reject: (header Subject: A   Forbidden one|body virus) from local; from=<.*> to=<bob@far")


def test_what_is_discarded_is_logged_and_gone(instance):
    instance.start()
    submit(instance, "Subject: throw away")
    instance.wait_for_log(r"status=sent \(nobody reads it\)")
    instance.wait_empty()
    assert not instance.mailbox(me())


def test_what_is_held_waits_until_it_is_released(instance):
    instance.start()
    submit(instance, "Subject: wait")
    instance.wait_for_log(r": hold: header Subject: wait from local; .*: somebody must look")
    assert len(list(instance.path.glob("*/hold/*"))) == 1 and not instance.mailbox(me())
    instance.stop()
    instance.start()
    assert not instance.mailbox(me()) and instance.count() == 1
    instance.mailctl("queue", "release", "ALL", check=True)
    instance.wait_for_mail(me(), b"Subject: wait")
    instance.wait_empty()


def test_mail_is_redirected_copied_and_warned_of(instance):
    instance.start()
    submit(instance, "Subject: elsewhere", to="bob@far.test")
    instance.wait_for_mail(me(), b"Subject: elsewhere")
    submit(instance, "Subject: warn")
    instance.wait_for_mail(me(), b"Subject: warn")
    instance.wait_for_log(r": warning: header Subject: warn from local; .*: look at this")
    submit(instance, "Subject: copy", to="nosuchuser")
    instance.wait_for_mail(me(), b"Subject: copy\n", count=2)  # the copy, and the bounce


def test_a_client_is_told_at_the_end_of_its_message(instance):
    instance.start()
    port = int(instance.mailctl("config", "smtpd_port", check=True).stdout.split()[-1])
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("a@b.test", [f"{me()}@{DOMAIN}"], "Subject: forbidden\r\n\r\nx\r\n")
        assert (caught.value.smtp_code, caught.value.smtp_error) == (550, b"5.7.1 not here")
        client.sendmail("a@b.test", [f"{me()}@{DOMAIN}"], "X-Old: it\r\nSubject: fine\r\n\r\nold\r\nx\r\n")
        client.sendmail("a@b.test", [f"{me()}@{DOMAIN}"], "Subject: throw away\r\n\r\nx\r\n")
    text = instance.wait_for_mail(me(), b"Subject: fine")
    assert b"X-New: <it>\n" in text and b"\n\nnew\nx\n" in text
    instance.wait_for_log(r"reject: header Subject: forbidden from localhost\[127\.0\.0\.1\]; .* proto=ESMTP helo=")
    instance.wait_for_log("nobody reads it")


def test_a_large_message_is_checked_at_its_beginning_and_comes_whole(instance):
    instance.start()
    submit(instance, "Subject: large", "old\n" + "line\n" * 100_000 + "old\n")
    text = instance.wait_for_mail(me(), b"Subject: large")
    assert text.rstrip().endswith(b"line\nold") and b"\n\nnew\nline\n" in text and text.count(b"line\n") == 100_000


def test_a_pattern_that_takes_for_ever_makes_that_message_wait_and_no_other(instance, tmp_path):
    (tmp_path / "body").write_text("/^(a+)+$/ REJECT no\n")
    instance.start()
    submit(instance, "Subject: evil", "a" * 60 + "!\n")
    instance.wait_for_log("a pattern takes too long over this key")
    submit(instance, "Subject: good")
    assert b"Subject: evil" not in instance.wait_for_mail(me(), b"Subject: good")
    (tmp_path / "body").write_text("/^b/ REJECT no\n")
    instance.wait_for_mail(me(), b"Subject: evil")


@pytest.mark.parametrize("verdict", ["FILTER smtp:[x]", "REJEKT", "REDIRECT nobody"])
def test_what_is_no_verdict_is_an_error_at_start(instance, tmp_path, verdict):
    (tmp_path / "header").write_text(f"/x/ {verdict}\n")
    assert instance.start(check=False).returncode == 78
    assert "header_checks" in instance.output()


def test_what_is_redirected_goes_to_nobody_else(instance):
    (instance.path / "aliases").write_text("somebody: |/bin/false\n")
    instance.start()
    submit(instance, "Subject: elsewhere", to="somebody@here.test")
    text = instance.wait_for_mail(me(), b"Subject: elsewhere")
    instance.wait_empty()
    assert text.count(b"Subject: elsewhere") == 1 and "<somebody@here.test>, " not in instance.log()


def test_a_verdict_that_stands_in_main_cf_is_looked_at_too(instance):
    instance.configure(header_checks="inline:{ {Subject: x = FILTER smtp:x} }")
    assert instance.start(check=False).returncode == 78
    assert "header_checks: FILTER is not supported" in instance.output()


PARTS = """Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=part

--part

{text}
--part
Content-Type: application/octet-stream
Content-Disposition: attachment;
 filename="{name}"

AAAA
--part--
"""


def test_headers_of_parts_are_seen_also_far_behind_the_beginning(instance):
    (instance.path.parent / "mime").write_text(
        "/^Content-Disposition:.*name=.*[.]exe/ REJECT no programs\n"
        "/^Content-Disposition:.*name=.*[.]doc/ REPLACE Content-Disposition: inline\n"
    )
    instance.configure(mime_header_checks=f"pcre:{instance.path.parent}/mime")
    instance.start()
    filler = "filler line of the first part\n" * 20000  # beyond what is in memory at once
    submit(instance, PARTS.format(text=filler, name="a.exe").removesuffix("\n\n"), "")
    assert b"no programs" in instance.wait_for_mail(me(), b"Auto-Submitted")
    submit(instance, PARTS.format(text=filler, name="a.doc").removesuffix("\n\n"), "the end\n")
    text = instance.wait_for_mail(me(), b"Content-Disposition: inline\n\nAAAA")
    assert text.count(b"filler line of the first part\n") >= 20000 and b"a.doc" not in text
    instance.wait_empty()
