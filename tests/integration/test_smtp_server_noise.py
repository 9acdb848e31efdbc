"""The SMTP server and clients that say anything in any order: it answers, forgets, and stays as it was."""

import os
import random
import socket

import pytest

from tests.integration.instance import LIMIT
from tests.integration.smtp_server import Served

LINES = [
    b"EHLO c.test", b"HELO x", b"MAIL FROM:<a@a.test>", b"RCPT TO:<games@here.test>", b"DATA", b".", b"..", b"RSET",
    b"NOOP", b"VRFY x", b"HELP", b"QUIT", b"STARTTLS", b"AUTH PLAIN AAAA", b"BDAT 5 LAST", b"hello", b"", b"Subject: x",
    b"\x00\xff", b"x" * 3000, b"MAIL FROM:<> SIZE=99999999999", b"RCPT TO:<a@b> NOTIFY=NEVER", b"\x16\x03\x01\x02\x00",
    b"MAIL FROM:<a@a.test> BODY=8BITMIME SMTPUTF8", b"RCPT TO:<\xc3\xa4@here.test>", b"TURN", b"RCPT TO:<>",
]  # fmt: skip
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]
DIALOGS = 100


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = {"smtpd_error_sleep_time": "0s", "smtpd_timeout": "20s", "defer_transports": "local, smtp"}
    with Served(tmp_path_factory.mktemp("noise") / "i", **settings) as served:
        served.start()
        yield served


@pytest.mark.parametrize("seed", range(4))
def test_random_dialogs_are_all_answered_to_the_end_and_leave_nothing(served, seed):
    chance = random.Random(seed)
    assert served.connect_and_ask("alice@a.test")[:3] == "250"
    pid = served.pid_of("smtpd")
    for _ in range(DIALOGS):
        lines = [chance.choice(LINES) + chance.choice(ENDS) for _ in range(chance.randrange(1, 40))]
        with socket.create_connection(("127.0.0.1", served.port), timeout=LIMIT) as end:
            try:
                end.sendall(b"".join(lines))
                end.shutdown(socket.SHUT_WR)
                heard = b""
                while more := end.recv(65536):
                    heard += more
                assert heard.startswith(b"220 ")
            except ConnectionError:
                pass  # it had said its last line, and we went on
    served.wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 30, "the connections are closed")
    assert served.pid_of("smtpd") == pid
    assert os.listdir(served.path / "queue" / "tmp") == []
    assert "error:" not in served.log()
