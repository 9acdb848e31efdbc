"""What the SMTP server bears: too much, too long, too slow, too often, and a thousand who say nothing."""

import contextlib
import os
import re
import socket
import time

import pytest

from tests.integration.instance import LIMIT
from tests.integration.smtp_server import STRANGERS, Line, Served


@contextlib.contextmanager
def serving(tmp_path, **settings):
    with Served(tmp_path / "i", **{"smtpd_error_sleep_time": "0s"} | settings) as served:
        served.start()
        yield served


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("usual")) as served:
        yield served


@contextlib.contextmanager
def coming_and_going(served):
    """Connect; in the end the server has seen that this client is gone."""
    gone = r"disconnect from localhost\[127.0.0.1\]"
    before = len(re.findall(gone, served.log()))
    with served.connect() as line:
        line.reply()
        yield line
    served.wait_for_log(gone, before + 1)


def left_behind(served):
    """Return the files in tmp/ of the queue."""
    return os.listdir(served.path / "queue" / "tmp")


# --- messages --------------------------------------------------------------------------------


def test_a_message_over_the_limit_is_refused_at_mail_or_at_the_end_and_leaves_nothing(tmp_path):
    with serving(tmp_path, message_size_limit=300_000) as served, served.connect() as line:
        line.reply()
        assert "250-SIZE 300000" in ask_all(line, "EHLO c.test")
        assert line.ask("MAIL FROM:<a@a.test> SIZE=300001") == "552 5.3.4 Message size exceeds the limit"
        served.wait_for_log("reject: MAIL from .*: 552 5.3.4 .* from=<a@a.test> proto=ESMTP helo=<c.test>")
        line.to_data()
        line.say("Subject: big", "", *["x" * 998] * 310, ".")
        assert line.reply() == "552 5.3.4 Message size exceeds the limit"
        line.to_data()
        line.say("Subject: small", "", "x", ".")
        assert line.reply().startswith("250")
        served.wait_for_mail("games", b"Subject: small")
        assert left_behind(served) == []
        assert b"Subject: big" not in served.mailbox("games")


def test_a_large_message_comes_whole_and_costs_no_memory(tmp_path):
    lines = 40_000
    with serving(tmp_path, message_size_limit=100_000_000, mailbox_size_limit=0) as served, served.connect() as line:
        line.reply()
        line.to_data()
        before = peak(served)
        line.say("Subject: large", "")
        for number in range(lines):
            line.end.sendall(b"%06d " % number + b"x" * 990 + b"\r\n")
        line.say(".")
        assert line.reply().startswith("250")
        assert peak(served) - before < 8 << 20
        served.wait_for_mail("games", b"\n%06d xxx" % (lines - 1))
        assert served.mailbox("games").count(b"\r") == 0


def test_a_full_disk_is_a_reason_to_come_again(tmp_path):
    with serving(tmp_path, queue_minfree=1 << 60) as served, served.connect() as line:
        line.reply()
        assert line.ask("MAIL FROM:<a@a.test>") == "452 4.3.1 Insufficient system storage"
        served.wait_for_log("NOQUEUE: reject: MAIL from localhost.*452 4.3.1")


def test_a_message_in_a_loop_is_refused(tmp_path):
    with serving(tmp_path, hopcount_limit=3) as served, served.connect() as line:
        line.reply()
        line.to_data()
        line.say(*["Received: x"] * 4, "", ".")
        assert line.reply() == "554 5.4.6 Error: too many hops"
        assert left_behind(served) == []


def test_recipients_beyond_the_limit_are_refused_and_the_others_get_their_mail(tmp_path):
    with serving(tmp_path, smtpd_recipient_limit=2, smtpd_hard_error_limit=3) as served, served.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@a.test>", *["RCPT TO:<games@here.test>"] * 10, "DATA")
        answers = [line.reply() for _ in range(13)]
        assert answers[2:12] == ["250 2.1.5 Ok"] * 2 + ["452 4.5.3 Error: too many recipients"] * 8
        line.say("Subject: x", "", ".")
        assert line.reply().startswith("250")


def test_recipients_beyond_the_overshoot_are_errors(tmp_path):
    settings = {"smtpd_recipient_limit": 1, "smtpd_recipient_overshoot_limit": 3, "smtpd_hard_error_limit": 2}
    with serving(tmp_path, **settings) as served, served.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@a.test>", *["RCPT TO:<games@here.test>"] * 10)
        assert [answer[:3] for answer in line.replies()] == ["250"] * 3 + ["452"] * 5 + ["421"]


# --- line ends -------------------------------------------------------------------------------


HIDDEN = (
    b"Subject: first\r\n\r\nx%bMAIL FROM:<root@a.test>\r\nRCPT TO:<bin@here.test>\r\nDATA\r\nhidden\r\n.\r\nQUIT\r\n"
)


@pytest.mark.parametrize("policy", ["normalize", "no", "note"])
def test_no_second_message_hides_in_a_first_one(tmp_path, policy):
    ends = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\n.\r",
        b"\r\n.\r\r\n",
        b"\r\n\0.\r\n",
    ]
    with serving(tmp_path, smtpd_forbid_bare_newline=policy) as served:
        for end in ends:
            with served.connect() as line:
                line.reply()
                line.to_data()
                line.end.sendall(HIDDEN % end)
                assert [answer[:3] for answer in line.replies()] == ["250", "221"]
        text = served.wait_for_mail("games", b"Subject: first", len(ends))
        assert text.count(b"RCPT TO:<bin@here.test>") == len(ends)
        assert served.mailbox("bin") == b""


def test_bare_newlines_are_refused_where_the_administrator_says_so(tmp_path):
    settings = {"smtpd_forbid_bare_newline": "reject", "smtpd_forbid_bare_newline_exclusions": "192.0.2.1"}
    with serving(tmp_path, **settings) as served:
        for content in (b"Subject: x\n\nx\r\n", b"Subject: x\r\n\r\nx\n.\r\n", b"\nx\r\n"):
            with served.connect() as line:
                line.reply()
                line.to_data()
                line.end.sendall(content + b".\r\nQUIT\r\n" if content[-2:] == b"\r\n" else content)
                assert line.reply() == "550 5.5.2 Error: bare <LF> received"
        with served.connect() as line:
            line.reply()
            line.end.sendall(b"EHLO c.test\nNOOP\r\n")
            assert line.replies() == ["550 5.5.2 Error: bare <LF> received"]
        served.configure(smtpd_forbid_bare_newline_reject_code=521)
        served.reload()
        with served.connect() as line:
            line.reply()
            line.end.sendall(b"EHLO c.test\nNOOP\r\n")
            assert line.replies() == ["521 5.5.2 Error: bare <LF> received"]


def test_bare_newlines_are_noted_but_not_of_those_who_may_use_them(tmp_path):
    settings = {"smtpd_forbid_bare_newline": "note", "smtpd_forbid_bare_newline_exclusions": "127.0.0.2"}
    with serving(tmp_path, **settings) as served:
        for address in ("127.0.0.2", "127.0.0.3"):
            with served.connect_from(address) as line:
                line.reply()
                line.end.sendall(b"EHLO c.test\r\nNOOP\nQUIT\r\n")
                assert [answer[:3] for answer in line.replies()] == ["250", "250", "221"]
        served.wait_for_log(r"disconnect from localhost\[127.0.0.3\] .* commands=3 notes=bare_lf")
        assert served.log().count("notes=") == 1


def test_a_program_that_writes_plain_text_is_understood_on_this_host_and_nowhere_else(tmp_path):
    dialog = b"HELO c\nMAIL FROM:<a@a.test>\nRCPT TO:<games@here.test>\nDATA\nSubject: text\n\nx\n.\nQUIT\n"
    with serving(tmp_path) as served, served.connect() as line:
        line.end.sendall(dialog)
        assert [answer[:3] for answer in line.replies()] == ["220", "250", "250", "250", "354", "250", "221"]
    with serving(tmp_path / "s", **STRANGERS) as served, served.connect() as line:
        line.end.sendall(dialog)
        line.end.shutdown(socket.SHUT_WR)
        assert [answer[:3] for answer in line.replies()] == ["220", "250", "250", "250", "354"]


# --- errors ----------------------------------------------------------------------------------


def test_error_after_error_ends_the_session(tmp_path):
    with serving(tmp_path, smtpd_hard_error_limit=5) as served, served.connect() as line:
        line.reply()
        line.say(*["NONSENSE"] * 20)
        answers = line.replies()
        assert answers == ["500 5.5.2 Error: command not recognized"] * 5 + ["421 4.7.0 Error: too many errors"]
        served.wait_for_log(r"too many errors after CONNECT from localhost\[127.0.0.1\]")
        served.wait_for_log(r"disconnect from localhost\[127.0.0.1\] unknown=0/5 commands=0/5")


def test_after_some_errors_all_answers_wait_until_a_message_is_taken(tmp_path):
    settings = {"smtpd_soft_error_limit": 2, "smtpd_error_sleep_time": "1s", "smtpd_timeout": "2s"}
    with serving(tmp_path, **settings) as served, served.connect() as line:

        def seconds(*words, answer):
            begun = time.monotonic()
            line.say(*words)
            assert line.reply()[:3] == answer
            return time.monotonic() - begun

        line.reply()
        assert min(seconds("NONSENSE", answer="500") for _ in range(2)) < 1
        assert seconds("NONSENSE", answer="500") >= 1
        assert seconds("EHLO c.test", answer="250") >= 1
        assert seconds("MAIL FROM:<a@a.test>", answer="250") >= 1
        assert seconds("RCPT TO:<games@here.test>", answer="250") >= 1
        assert seconds("DATA", answer="354") >= 1
        line.say("Subject: x", "", ".")
        assert line.reply()[:3] == "250"
        assert min(seconds("NOOP", answer="250") for _ in range(3)) < 1  # a message that is taken wipes errors out
        for _ in range(3):
            line.say("NONSENSE")
            line.reply()
        line.say("MAIL FROM:<a@a.test>", "RCPT TO:<games@here.test>", "DATA")
        assert [line.reply()[:3] for _ in range(4)] == ["250", "250", "354", "421"]  # a 354 has its time too


def test_junk_beyond_the_limit_counts_as_errors(tmp_path):
    with serving(tmp_path, smtpd_junk_command_limit=5, smtpd_hard_error_limit=5) as served, served.connect() as line:
        line.reply()
        line.say(*["NOOP"] * 30)
        assert line.replies()[-1] == "421 4.7.0 Error: too many errors"


def test_a_form_sent_by_a_browser_is_not_read_as_commands(usual):
    with coming_and_going(usual) as line:
        line.say("POST / HTTP/1.1", "Host: here.test", "", "MAIL FROM:<a@a.test>", "RCPT TO:<games@here.test>", "DATA")
        assert line.replies() == ["421 4.7.0 Error: this is SMTP, not another protocol"]
        usual.wait_for_log("non-SMTP command from localhost")


def test_an_endless_line_is_refused_and_forgotten(tmp_path):
    with serving(tmp_path) as served, served.connect() as line:
        line.reply()
        before = peak(served)
        for _ in range(200):
            line.end.sendall(b"x" * 100_000)
        line.say("")
        assert line.reply() == "500 5.5.2 Error: line too long"
        assert line.ask("NOOP") == "250 2.0.0 Ok"
        assert peak(served) - before < 8 << 20


# --- time ------------------------------------------------------------------------------------


def test_who_says_nothing_is_let_go(tmp_path):
    with serving(tmp_path, smtpd_timeout="1s") as served, served.connect() as line:
        line.reply()
        assert line.reply() == "421 4.4.2 here.test Error: timeout exceeded"
        served.wait_for_log(r"timeout after CONNECT from localhost\[127.0.0.1\]")


def test_octets_one_by_one_win_no_time(tmp_path):
    with serving(tmp_path, smtpd_timeout="2s") as served, served.connect() as line:
        line.reply()
        line.end.settimeout(0.2)
        heard = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(int(LIMIT / 0.2)):
                line.end.sendall(b"N")
                with contextlib.suppress(TimeoutError):
                    heard += line.end.recv(100)
                if heard:
                    break
        assert heard.startswith(b"421 4.4.2")


def test_content_that_drips_is_let_go_and_leaves_nothing(tmp_path):
    with serving(tmp_path, smtpd_timeout="2s") as served, served.connect() as line:
        line.reply()
        line.to_data()
        line.end.settimeout(0.2)
        heard = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(int(LIMIT / 0.2)):
                line.end.sendall(b"x\r\n")
                with contextlib.suppress(TimeoutError):
                    heard += line.end.recv(100)
                if heard:
                    break
        assert heard.startswith(b"421 4.4.2")
        served.wait_for_log("timeout after DATA from localhost")
        assert left_behind(served) == []


def test_who_does_not_read_costs_little_and_is_let_go(tmp_path):
    with serving(tmp_path, smtpd_timeout="2s", smtpd_junk_command_limit=10**9) as served:
        with served.client() as client:
            client.noop()
            before = peak(served)
        deaf = served.connect()
        with deaf:
            deaf.end.settimeout(1)
            with contextlib.suppress(OSError):
                for _ in range(200):
                    deaf.end.sendall(b"EHLO c.test\r\n" * 10_000)
            served.wait_for_log("(timeout after|lost connection after) EHLO from localhost")
            assert peak(served) - before < 16 << 20


# --- connections -----------------------------------------------------------------------------


def test_one_client_may_have_so_many_connections_and_no_more(tmp_path):
    settings = {"smtpd_client_connection_count_limit": 2, "smtpd_client_event_limit_exceptions": ""}
    with serving(tmp_path, **settings) as served, served.connect() as first, served.connect() as second:
        assert (first.reply()[:3], second.reply()[:3]) == ("220", "220")
        with served.connect() as third:
            assert third.replies() == ["421 4.7.0 here.test Error: too many connections from 127.0.0.1"]
        served.wait_for_log(
            "warning: Connection concurrency limit exceeded: 3 from unknown.127.0.0.1. for service smtp"
        )
        first.say("QUIT")
        assert [answer[:3] for answer in first.replies()] == ["221"]
        served.wait_for(lambda: greeted(served), "a place is free")


def greeted(served):
    with served.connect() as line:
        return line.reply().startswith("220")


def test_rates_of_messages_and_recipients_are_limited(tmp_path):
    settings = {
        "smtpd_client_message_rate_limit": 2,
        "smtpd_client_recipient_rate_limit": 3,
        "smtpd_client_event_limit_exceptions": "",
    }
    with serving(tmp_path, **settings) as served, served.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@a.test>", *["RCPT TO:<games@here.test>"] * 4, "RSET")
        line.say("MAIL FROM:<a@a.test>", "RSET", "MAIL FROM:<a@a.test>", "QUIT")
        answers = [answer[:9] for answer in line.replies()]
        assert answers[2:6] == ["250 2.1.5"] * 3 + ["450 4.7.1"]
        assert answers[7:10] == ["250 2.1.0", "250 2.0.0", "450 4.7.1"]


def test_connections_in_all_are_limited(tmp_path):
    with serving(tmp_path, smtpd_connection_limit=2) as served, served.connect() as first, served.connect() as second:
        assert (first.reply()[:3], second.reply()[:3]) == ("220", "220")
        with served.connect() as third:
            assert third.replies() == ["421 4.3.2 Error: too many connections; try again later"]


def test_a_thousand_who_say_nothing_are_cheap_and_hold_up_nobody(tmp_path):
    with serving(tmp_path) as served, contextlib.ExitStack() as stack:
        with served.client() as client:
            client.noop()
            before = peak(served)
            lines = [stack.enter_context(served.connect()) for _ in range(1000)]
            for line in lines:
                assert line.reply().startswith("220")
            client.sendmail("alice@a.test", ["games@here.test"], "Subject: amid them\n\nx\n")
        served.wait_for_mail("games", b"Subject: amid them")
        assert peak(served) - before < 40 << 20
        assert peak(served) < 150 << 20


@pytest.mark.parametrize("step", range(8))
def test_a_client_that_vanishes_at_any_step_leaves_nothing(usual, step):
    says = [b"", b"EH", b"EHLO c.test\r\n", b"MAIL FROM:<a@a.test>\r\n", b"RCPT TO:<games@here.test>\r\n", b"DATA\r\n"]
    says += [b"Subject: half\r\n\r\n" + b"x" * 200_000, b"\r\n."]
    with coming_and_going(usual) as line:
        line.end.sendall(b"".join(says[: step + 1]))
    assert left_behind(usual) == []
    assert usual.mailq() == "Mail queue is empty\n"


def ask_all(line: Line, command: str) -> str:
    """Return all lines of an answer."""
    line.say(command)
    text = ""
    while not re.search(r"^\d{3} .*\r\n", text, re.MULTILINE):
        text += line.file.readline().decode()
    return text


def peak(served):
    """Return the largest memory of smtpd so far, in octets."""
    with open(f"/proc/{served.pid_of('smtpd')}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10
