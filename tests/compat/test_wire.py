"""What leaves for another host, where mailers differ: line ends, long lines, character sets, notifications."""

import contextlib
import re
import uuid

import pytest

from tests.integration.instance import Instance, me
from tests.servers.smtp_sink import SmtpSink


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A function that sends to a server with SMTPUTF8, or to one without, and waits for it there."""
    with contextlib.ExitStack() as stack:
        modern = stack.enter_context(SmtpSink())
        plain = stack.enter_context(SmtpSink(ehlo=["sink.test", "8BITMIME"], host="127.0.0.2", port=modern.port))
        path = tmp_path_factory.mktemp("wire")
        instances = {}
        for sink, address in ((modern, "127.0.0.1"), (plain, "127.0.0.2")):
            relay = f"[{address}]:{sink.port}"
            instances[sink] = stack.enter_context(Instance(path / address, relayhost=relay))
            instances[sink].start()
        yield World(modern, plain, instances)


class World:
    def __init__(self, modern, plain, instances):
        self.modern, self.plain, self.instances = modern, plain, instances

    def sent(self, message, *words, sink=None):
        """Submit a message; returns it as the server received it."""
        sink = sink or self.modern
        mark = uuid.uuid4().hex.encode()
        self.instances[sink].submit(b"X-Mark: " + mark + b"\n" + message, "-i", *words)

        def found():
            return [m for m in sink.messages if b"X-Mark: " + mark in m.content]

        (message,) = self.instances[sink].wait_for(found, "the message at the server")
        return message


def body(message) -> bytes:
    return message.content.partition(b"\r\n\r\n")[2]


def test_no_lone_carriage_return_or_line_feed_is_sent(world):
    message = world.sent(b"Subject: a\r\n\r\na\rb\r\nc\nd\r\r\n\re\n", "bob@example.org")
    assert re.search(rb"\r(?!\n)|(?<!\r)\n", message.content) is None
    assert body(message).replace(b"\r\n", b"").replace(b" ", b"") == b"abcde"
    assert body(message).count(b"\r\n") == 4


def test_the_rest_of_a_line_with_nul_arrives(world):
    assert (
        body(world.sent(b"\nbefore\0after\nnext\n", "bob@example.org")).replace(b"\0", b"")
        == b"beforeafter\r\nnext\r\n"
    )


@pytest.mark.parametrize("length", [998, 999, 1500, 5000, 100_000])
def test_a_long_line_of_the_body_is_split_and_nothing_is_lost(world, length):
    line = (b"0123456789" * (length // 10 + 1))[:length]
    message = world.sent(b"\n" + line + b"\n", "bob@example.org")
    assert max(map(len, message.content.split(b"\r\n"))) <= 998
    assert body(message).replace(b"\r\n ", b"") == line + b"\r\n"


def test_a_long_line_of_the_header_is_folded_and_nothing_is_lost(world):
    message = world.sent(b"X-Long: " + b"word " * 1000 + b"end\n\nx\n", "bob@example.org")
    assert max(map(len, message.content.split(b"\r\n"))) <= 998
    assert b"\r\nX-Long: " + b"word " * 1000 + b"end\r\n" in message.content.replace(b"\r\n ", b" ")


def test_a_long_line_of_the_header_without_blanks_is_folded_inside(world):
    message = world.sent(b"X-Long: " + b"x" * 5000 + b"\nSubject: next\n\nx\n", "bob@example.org")
    assert max(map(len, message.content.split(b"\r\n"))) <= 998
    (field,) = re.findall(rb"X-Long: ((?:.*\r\n[ \t])*.*)\r\n", message.content)
    assert b"".join(field.split()) == b"x" * 5000 and b"\r\nSubject: next\r\n" in message.content


def test_five_thousand_fields_arrive(world):
    assert world.sent(b"X-Many: x\n" * 5000 + b"\nx\n", "bob@example.org").content.count(b"\r\nX-Many: x") == 5000


def test_a_subject_in_utf_8_is_sent_to_a_server_without_smtputf8(world):
    message = world.sent("Subject: Größe\n\nx\n".encode(), "bob@example.org", sink=world.plain)
    assert "Subject: Größe\r\n".encode() in message.content


def test_an_address_in_utf_8_is_declared(world):
    message = world.sent(b"\nx\n", "bøb@example.org")
    assert message.recipients[0].startswith("<bøb@example.org>") and "SMTPUTF8" in message.sender


def test_an_address_in_utf_8_bounces_where_the_server_lacks_smtputf8(world):
    instance = world.instances[world.plain]
    instance.submit(b"Subject: x\n\nx\n", "bøb@example.org")
    assert b"SMTPUTF8 is required" in instance.wait_for_mail(me(), b"Status: 5.6.7")


@pytest.mark.parametrize(("text", "declared"), [("\nplain\n", False), ("\nGröße\n", True), ("Subject: ä\n\nx\n", True)])
def test_octets_above_ascii_are_declared(world, text, declared):
    assert ("BODY=8BITMIME" in world.sent(text.encode(), "bob@example.org").sender) == declared


def test_n_r_v_and_b_are_passed_on(world):
    words = "-N", "success,failure", "-R", "hdrs", "-V", "QQ314159", "-B8BITMIME"
    message = world.sent(b"\nx\n", *words, "bob@example.org")
    assert {"RET=HDRS", "ENVID=QQ314159", "BODY=8BITMIME"} <= set(message.sender.split())
    assert set(message.recipients[0].split()[1:]) >= {"NOTIFY=SUCCESS,FAILURE"}


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["-f", ""], "<>"),
        (["-f", 'quo te\\"d@example.org'], '<"quo te\\"d"@example.org>'),
        (["-f", "'x@example.org'"], "<'x@example.org'>"),
        (["-f", "x@example.org`id`"], "<x@example.org`id`>"),
        (["-f", 'quo te"d@example.org;id'], '<"quo te\\"d"@example.org;id>'),
    ],
)
def test_the_sender_is_quoted_as_it_has_to_be(world, words, path):
    assert world.sent(b"\nx\n", *words, "bob@example.org").sender.startswith(path)
