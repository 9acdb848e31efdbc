"""The SMTP server under each event loop that it can run under: TLS from the first octet, large and many messages."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.instance import LIMIT
from tests.integration.loops import LOOPS, tree_of
from tests.integration.smtp_server import Submission

LARGE = b"Subject: large\r\n\r\n" + b"".join(b"%06d and more of it\r\n" % number for number in range(100_000))


@pytest.fixture(scope="module", params=LOOPS)
def served(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("loops")
    with Submission(path / "i", {"alice": "secret"}, tree=tree_of(request.param, path / "tree")) as served:
        served.start()
        yield served


def test_tls_begins_with_the_first_octet_for_many_at_once(served):
    """The client's first words may come before the server waits for them."""

    def deliver(number):
        with served.wrapped() as client:
            client.login("alice", "secret")
            client.sendmail("alice@here.test", ["games@here.test"], f"Subject: wrapped {number}\n\nx\n")

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(deliver, range(30)))
    for number in range(30):
        served.wait_for_mail("games", b"Subject: wrapped %d\n" % number)


def test_what_is_no_tls_is_let_go_and_said(served):
    with socket.create_connection(("127.0.0.1", served.submissions), timeout=LIMIT) as end:
        end.sendall(b"EHLO c.test\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"c.test" not in end.recv(1000)
    served.wait_for_log("SSL_accept error from localhost")


def test_a_large_message_comes_whole_in_clear_and_under_tls(served):
    with served.client() as client:
        client.sendmail("alice@a.test", ["games@here.test"], LARGE)
    with served.starttls() as client:
        client.login("alice", "secret")
        client.sendmail("alice@here.test", ["root@here.test"], LARGE)
    text = LARGE.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
    for user in ("games", "root"):
        assert text in served.wait_for_mail(user, b"\n099999 and more of it\n")


def test_a_client_that_does_not_read_gets_all_answers_later(served):
    with served.connect() as line:
        line.reply()
        line.end.sendall(b"EHLO c.test\r\n" + b"NOOP\r\n" * 90 + b"QUIT\r\n")
        answers = line.replies()
    assert [answer[:3] for answer in answers] == ["250"] * 91 + ["221"]
