"""BDAT in the SMTP server (RFC 3030): content in chunks, what is checked of it, and who is not offered it."""

import os
import re

import pytest

from tests.integration.smtp_server import Served

NOT_OFFERED = "127.0.0.3"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("chunks") / "i"
    settings = {
        "smtpd_error_sleep_time": "0s",
        "message_size_limit": 300_000,
        "queue_minfree": 1,
        "mynetworks": "127.0.0.0/8",
        "smtpd_data_restrictions": "check_sender_access inline:{late@a.test=REJECT}",
        "smtpd_end_of_data_restrictions": "check_sender_access inline:{never@a.test=REJECT}",
        "smtpd_discard_ehlo_keyword_address_maps": f"inline:{{{{{NOT_OFFERED}=chunking,dsn,silent-discard}}}}",
        "smtpd_discard_ehlo_keywords": "SMTPUTF8",
    }
    with Served(path, **settings) as served:
        served.start()
        yield served


def begun(served, sender="alice@a.test"):
    """Return a connection after RCPT."""
    line = served.connect()
    line.reply()
    for command in ("EHLO c.test", f"MAIL FROM:<{sender}>", "RCPT TO:<games@here.test>"):
        assert line.ask(command)[:3] == "250"
    return line


def chunk(line, octets, last=""):
    line.end.sendall(b"BDAT %d%b\r\n%b" % (len(octets), last.encode(), octets))
    return line.reply()


def test_a_message_in_many_chunks_comes_whole(served):
    content = b"Subject: in chunks\r\n\r\n" + b"".join(b"%05d\r\n" % number for number in range(30_000))
    with begun(served) as line:
        for start in range(0, len(content), 4099):
            piece = content[start : start + 4099]
            assert chunk(line, piece) == f"250 2.0.0 Ok: {len(piece)} bytes"
        assert re.fullmatch(r"250 2.0.0 Ok: queued as \w+", chunk(line, b"", " LAST"))
        assert line.ask("QUIT")[:3] == "221"
    body = content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
    assert body in served.wait_for_mail("games", b"Subject: in chunks")
    served.wait_for_log(r"disconnect from .* ehlo=1 mail=1 rcpt=1 bdat=53 quit=1 commands=57")


def test_too_much_is_refused_amid_the_chunks_and_leaves_nothing(served):
    with begun(served) as line:
        assert chunk(line, b"x" * 200_000)[:3] == "250"
        assert chunk(line, b"x" * 150_000) == "552 5.3.4 Chunk exceeds message size limit"
        assert chunk(line, b"NOOP\r\n") == "551 5.0.0 Discarded 6 bytes after earlier error"
        assert chunk(line, b"QUIT\r\n", " LAST") == "551 5.0.0 Discarded 6 bytes after earlier error"
        assert line.ask("MAIL FROM:<alice@a.test>") == "250 2.1.0 Ok"
    assert os.listdir(served.path / "queue" / "tmp") == []


def test_restrictions_of_data_are_asked_at_the_first_chunk(served):
    with begun(served, "late@a.test") as line:
        refusal = "554 5.7.1 <late@a.test>: Sender address rejected: Access denied"
        assert chunk(line, b"Subject: late\r\n") == refusal
        assert chunk(line, b"\r\n", " LAST")[:3] == "551"
        assert line.ask("RCPT TO:<games@here.test>") == "503 5.5.1 Error: need MAIL command"
        for command in ("MAIL FROM:<late@a.test>", "RCPT TO:<games@here.test>"):
            line.ask(command)
        assert chunk(line, b"Subject: late\r\n", " LAST") == refusal
        served.wait_for_log("NOQUEUE: reject: BDAT from localhost")
    assert b"Subject: late" not in served.mailbox("games")


def test_pipelined_chunks_after_a_refused_recipient_are_no_commands(served):
    with served.connect() as line:
        line.reply()
        line.end.sendall(
            b"EHLO c.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<nobody.such@here.test>\r\nBDAT 6\r\nQUIT\r\n"
            b"BDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<games@here.test>\r\nBDAT 17 LAST\r\n"
            b"Subject: second\r\nQUIT\r\n"
        )
        codes = [answer[:3] for answer in line.replies()]
        assert codes == ["250", "250", "550", "554", "551", "250", "250", "250", "221"]
    served.wait_for_mail("games", b"Subject: second")


def test_many_messages_in_one_piece_are_all_taken(served):
    message = b"MAIL FROM:<alice@a.test>\r\nRCPT TO:<games@here.test>\r\nBDAT 16 LAST\r\nSubject: many\r\n\r"
    with served.connect() as line, served.connect() as other:
        line.reply()
        other.reply()
        line.end.sendall(b"EHLO c.test\r\n" + (message[:-1] + b"\n") * 40 + b"QUIT\r\n")
        assert other.ask("NOOP")[:3] == "250"
        answers = line.replies()
    assert [answer[:3] for answer in answers] == ["250"] * 121 + ["221"]
    assert len({answer for answer in answers if "queued as" in answer}) == 40


@pytest.mark.parametrize("sender", ["late@a.test", "never@a.test"])
@pytest.mark.parametrize("first", [b"", b"BDAT 9\r\nSubject: "])
def test_a_message_pipelined_behind_a_last_chunk_that_is_refused_later_is_taken(served, sender, first):
    """The tables of both restrictions are asked in a thread: all has come long before the refusal is there."""
    with served.connect() as line:
        line.reply()
        line.end.sendall(
            b"EHLO c.test\r\nMAIL FROM:<%b>\r\nRCPT TO:<games@here.test>\r\n%bBDAT 8 LAST\r\nrefused\n"
            b"MAIL FROM:<alice@a.test>\r\nRCPT TO:<games@here.test>\r\nBDAT 19 LAST\r\n"
            b"Subject: and then\r\nQUIT\r\n" % (sender.encode(), first)
        )
        codes = [answer[:3] for answer in line.replies()]
    later = ["554", "551"] if sender == "late@a.test" else ["250", "554"]
    assert codes == ["250", "250", "250", *(later if first else ["554"]), "250", "250", "250", "221"]
    served.wait_for_mail("games", b"Subject: and then")
    assert b"refused" not in served.mailbox("games")


def test_what_is_discarded_for_an_address_is_neither_offered_nor_taken(served):
    with served.connect_from(NOT_OFFERED) as line:
        line.reply()
        line.say("EHLO c.test")
        assert line.words() == ["here.test", "PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"] + [
            "STARTTLS"
        ]
        assert line.ask("MAIL FROM:<alice@a.test> RET=HDRS") == "555 5.5.4 Unsupported option"
        assert line.ask("BDAT 5 LAST") == "521 5.5.1 Error: command not implemented"
        assert line.reply() == ""
    with served.connect() as line:
        line.reply()
        line.say("EHLO c.test")
        words = line.words()
        assert "SMTPUTF8" not in words and "CHUNKING" in words
        served.wait_for_log("discarding EHLO keywords: SMTPUTF8")
