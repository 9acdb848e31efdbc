"""Dovecot as the one who knows the users: what becomes of a login when it is away, slow or odd.

A little server speaks its protocol as told; tests/integration/root/test_dovecot_sasl.py has the real one.
"""

import base64
import re
import socket
from pathlib import Path

import pytest

from tests.integration.smtp_server import Submission
from tests.servers.little_server import LittleServer

GREETING = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tX-ODD\nDONE\n"
NOT_NOW = (454, b"4.7.0 Temporary authentication failure; try again later")


class LittleDovecot(LittleServer):
    """Greets, and answers each AUTH and CONT with the next of answers ("" closes the connection)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers: list[bytes] = []
        self.heard = b""
        self.greeting = GREETING

    def serve(self, end: socket.socket) -> None:
        with end.makefile("rb") as lines:
            end.sendall(self.greeting)
            for line in lines:
                self.heard += line
                if line.startswith((b"AUTH\t", b"CONT\t")):
                    answer = self.answers.pop(0)
                    if not answer:
                        break
                    end.sendall(answer.replace(b"%", line.split(b"\t")[1].strip()))


@pytest.fixture
def dovecot(tmp_path):
    with LittleDovecot(tmp_path / "auth") as little:
        yield little


@pytest.fixture
def served(tmp_path, dovecot):
    with Submission(tmp_path / "i", smtpd_sasl_type="dovecot", smtpd_sasl_path=tmp_path / "auth") as instance:
        instance.start()
        yield instance


def plain(client, user="alice"):
    return client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0x".encode()).decode())


def test_a_login_is_asked_of_dovecot_with_the_clients_address(served, dovecot):
    dovecot.answers = [
        b"OK\t%\tuser=alice@here.test\n",
        b"FAIL\t%\tuser=bob\n",
        b"CONT\t%\tUGFzcw==\n",
        b"OK\t%\tuser=c\n",
    ]
    with served.starttls() as client:
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "X-ODD"]
        assert plain(client)[0] == 235
        client.sendmail("a@a.test", ["games@here.test"], "Subject: x\n\nx\n")
    with served.starttls() as client:
        assert plain(client, "bob")[0] == 535
        assert client.docmd("AUTH", "X-ODD =") == (334, b"UGFzcw==")
        assert client.docmd("eA==")[0] == 235
    assert dovecot.connections == 1
    words = r"PLAIN\tservice=smtp\tnologin\trip=127.0.0.1\tsecured\tresp=AGFsaWNlAHg=\n"
    assert re.search(rb"AUTH\t1\t" + words.encode(), dovecot.heard)
    assert b"AUTH\t3\tX-ODD\tservice=smtp\tnologin\trip=127.0.0.1\tsecured\tresp=\nCONT\t3\teA==\n" in dovecot.heard
    served.wait_for_log("sasl_method=PLAIN, sasl_username=alice@here.test")
    served.wait_for_log("SASL PLAIN authentication failed: authentication failure, sasl_username=bob")


def test_what_dovecot_adds_to_its_yes_is_heard_before_it(served, dovecot):
    dovecot.answers = [b"OK\t%\tuser=alice\tresp=dj0x\n"]
    with served.starttls() as client:
        assert client.docmd("AUTH", "X-ODD eA==") == (334, b"dj0x")
        assert client.docmd("")[0] == 235


@pytest.mark.parametrize(
    "answer", [b"", b"FAIL\t%\ttemp\n", b"FAIL\t%\tcode=temp_fail\n", b"OK\t%\n", b"OK\tx\n", b"\xff" * 70000 + b"\n"]
)
def test_what_dovecot_cannot_tell_is_no_wrong_password_and_the_next_login_finds_it_again(served, dovecot, answer):
    dovecot.answers = [answer, b"OK\t%\tuser=alice\n"]
    with served.starttls() as client:
        assert plain(client) == NOT_NOW
        assert plain(client)[0] == 235


def test_a_connection_that_breaks_between_two_steps_of_a_login_is_no_wrong_password(served, dovecot):
    dovecot.answers = [b"CONT\t%\tUGFzcw==\n", b"FAIL\t%\tuser=alice\n", b"OK\t%\tuser=alice\n"]
    with served.starttls() as client, served.starttls() as other:
        assert client.docmd("AUTH", "X-ODD =")[0] == 334
        dovecot.drop_all()
        assert plain(other, "bob")[0] == 535  # over a new connection, which knows nothing of the login under way
        assert client.docmd("eA==") == NOT_NOW
        assert plain(client)[0] == 235
    assert dovecot.connections == 2 and b"CONT\t" not in dovecot.heard
    served.wait_for_log(
        "X-ODD authentication failed: Dovecot's auth service at .*: the connection was lost amid the login"
    )


def test_who_gives_up_is_given_up(served, dovecot):
    dovecot.answers = [b"CONT\t%\tUGFzcw==\n", b"CONT\t%\tUGFzcw==\n"]
    with served.starttls() as client:
        client.docmd("AUTH", "LOGIN")
        assert client.docmd("*")[0] == 501
        client.docmd("AUTH", "LOGIN")
        client.close()
    served.wait_for(lambda: b"CANCEL\t1\n" in dovecot.heard and b"CANCEL\t2\n" in dovecot.heard, "both are cancelled")


@pytest.mark.parametrize("greeting", [b"VERSION\t2\t0\nMECH\tPLAIN\nDONE\n", b"220 mail ESMTP\n", b""])
def test_another_protocol_lets_nobody_in(tmp_path, greeting):
    little = LittleDovecot(tmp_path / "auth")
    little.greeting = greeting + (b"DONE\n" if greeting else b"x" * 70000)
    settings = {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": tmp_path / "auth"}
    with little, Submission(tmp_path / "i", **settings) as served:
        served.start()
        with served.starttls() as client:
            assert not client.has_extn("auth") and plain(client) == NOT_NOW
        served.wait_for_log(r"nobody can log in: Dovecot's auth service at .*/auth: ")


def test_a_dovecot_that_is_not_there_lets_nobody_in_until_it_comes(tmp_path):
    with Submission(tmp_path / "i", smtpd_sasl_type="dovecot", smtpd_sasl_path=tmp_path / "auth") as served:
        served.start()
        with served.starttls() as client:
            assert not client.has_extn("auth") and plain(client) == NOT_NOW
        served.wait_for_log(r"nobody can log in: Dovecot's auth service at .*/auth: No such file or directory")
        little = LittleDovecot(tmp_path / "auth")
        little.answers = [b"OK\t%\tuser=alice\n"]
        with little, served.starttls() as client:
            assert plain(client)[0] == 235
