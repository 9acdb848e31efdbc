"""Addresses that change between submission and the mailbox or the next host, and copies that go elsewhere."""

import contextlib

import pytest

from tests.integration.instance import DOMAIN, Instance, me
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import SmtpSink

ZONE = {"far.test": {"MX": ["10 one.test."]}, "one.test": {"A": ["127.0.0.1"]}}


class World:
    """An instance with tables, and the mail server of far.test."""

    def __init__(self, path, stack, **settings):
        names = stack.enter_context(NameServer(dict(ZONE)))
        self.sink = stack.enter_context(SmtpSink())
        values = {"smtp_tcp_port": self.sink.port, "minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
        self.instance = Instance(path, resolver_nameservers=names.address, **(values | settings))
        stack.enter_context(self.instance)
        self.tables = path.parent

    def table(self, name, text):
        (self.tables / name).write_text(text)

    def send(self, content, *words):
        self.instance.submit(content, "-i", *words)

    def arrives(self, count=1):
        self.instance.wait_for(lambda: len(self.sink.messages) >= count, f"{count} messages at the mail server")
        return self.sink.messages[count - 1]


@pytest.fixture
def world(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda **settings: World(tmp_path / "instance", stack, **settings)


def test_canonical_maps_change_envelope_and_header_and_keep_names_and_all_else(world, tmp_path):
    it = world(canonical_maps=f"hash:{tmp_path}/canonical")
    it.table("canonical", f"{me()} Ann.Other@corp.test\nold@far.test new@far.test\n")
    it.instance.start()
    header = (
        f"Subject:  two  blanks\nFrom: Ann\n Other (x) <{me()}>\nTo: <old@far.test>,\n\tb@c.test\nX-To: old@far.test\n"
    )
    it.send(header.encode() + b"\nold@far.test\n", "old@far.test")
    message = it.arrives()
    assert message.sender.startswith("<Ann.Other@corp.test>") and message.recipients[0].startswith("<new@far.test>")
    assert b"ORCPT=rfc822;old@far.test" in message.recipients[0].encode()
    assert b"Subject:  two  blanks\r\nFrom: Ann\r\n Other (x) <Ann.Other@corp.test>\r\n" in message.content
    assert b"To: <new@far.test>,\r\n\tb@c.test\r\nX-To: old@far.test\r\n" in message.content
    assert message.content.endswith(b"\r\n\r\nold@far.test\r\n")


def test_a_missing_from_has_the_rewritten_sender(world):
    it = world(sender_canonical_maps=f"inline:{{{me()}=cron@corp.test}}")
    it.instance.start()
    it.send(b"Subject: x\n\nhi\n", "bob@far.test")
    message = it.arrives()
    assert b"<cron@corp.test>\r\n" in message.content and message.sender.startswith("<cron@corp.test>")


def test_recipients_are_rewritten_before_the_mailbox_is_chosen(world):
    it = world(recipient_canonical_maps=f"inline:{{sales@{DOMAIN}={me()}@{DOMAIN}}}")
    it.instance.start()
    it.send(b"To: sales\nSubject: x\n\nhi\n", "sales")
    assert f"To: {me()}@{DOMAIN}\n".encode() in it.instance.wait_for_mail(me())


def test_masquerading_hides_the_host_from_others_but_not_in_envelope_recipients(world):
    it = world(masquerade_domains="far.test test", masquerade_exceptions="root")
    it.instance.start()
    it.send(b"From: a@x.far.test, root@y.far.test\nSubject: x\n\nhi\n", "-f", "a@web.far.test", "bob@far.test")
    message = it.arrives()
    assert message.sender.startswith("<a@far.test>") and b"From: a@far.test, root@y.far.test\r\n" in message.content


def test_generic_maps_are_for_other_hosts_alone(world, tmp_path):
    it = world(smtp_generic_maps=f"hash:{tmp_path}/generic")
    it.table("generic", f"@{DOMAIN} me@isp.test\n")
    it.instance.start()
    body = b"line\n" * 60_000
    it.send(f"From: Me <{me()}>\nTo: bob@far.test, {me()}\nSubject: x\n\n".encode() + body, "bob@far.test", me())
    message = it.arrives()
    assert message.sender.startswith("<me@isp.test>")
    assert b"From: Me <me@isp.test>\r\nTo: bob@far.test, me@isp.test\r\n" in message.content
    assert message.content.endswith(b"\r\n\r\n" + body.replace(b"\n", b"\r\n"))
    assert f"From: Me <{me()}@{DOMAIN}>".encode() in it.instance.wait_for_mail(me())
    it.instance.wait_for_log(rf"from=<{me()}@{DOMAIN}>")


def test_a_generic_map_that_cannot_be_asked_makes_mail_wait(world, tmp_path):
    it = world(smtp_generic_maps=f"hash:{tmp_path}/generic")
    it.instance.start()
    it.send(b"Subject: x\n\nhi\n", "bob@far.test")
    it.instance.wait_for_log(r"status=deferred \(smtp_generic_maps: table hash:.*No such file")
    it.table("generic", f"@{DOMAIN} me@isp.test\n")
    it.instance.mailctl("flush", check=True)
    assert it.arrives().sender.startswith("<me@isp.test>")


def test_copies_go_to_the_archive_and_nobody_hears_when_they_fail(world):
    it = world(
        always_bcc="archive@far.test",
        sender_bcc_maps=f"inline:{{{me()}=boss@far.test}}",
        recipient_bcc_maps="inline:{@far.test=nosuch@far.test}",
    )
    it.sink.replies["RCPT nosuch@far.test"] = "550 5.1.1 nobody"
    it.instance.start()
    it.send(b"To: bob@far.test\nSubject: x\n\nhi\n", "bob@far.test")
    message = it.arrives()
    who = {text.partition(">")[0][1:] for text in message.recipients}
    assert who == {"bob@far.test", "archive@far.test", "boss@far.test"}
    assert all("NOTIFY=NEVER" in text for text in message.recipients if "bob@" not in text)
    assert b"archive" not in message.content
    it.instance.wait_for_log(r"to=<nosuch@far\.test>.*status=bounced")
    it.instance.wait_empty()
    assert not it.instance.mailbox(me())


def test_mail_waits_where_it_was_submitted_while_a_table_cannot_be_asked(world, tmp_path):
    it = world(canonical_maps=f"hash:{tmp_path}/canonical", maildrop_scan_delay="1s")
    it.instance.start()
    it.send(b"Subject: x\n\nhi\n", me())
    it.instance.wait_for_log(r"maildrop/.*table hash:.*/canonical: No such file or directory; it waits")
    it.table("canonical", "x y\n")
    it.instance.wait_for_mail(me(), b"Subject: x")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("canonical_maps", "nis:x", "table type nis"),
        ("masquerade_classes", "header", "header_sender"),
        ("masquerade_domains", "/etc/x", "no file and no table"),
        ("masquerade_exceptions", "root, hash:/etc/x", "no file and no table"),
        ("always_bcc", "a@b, c@d", "one address"),
    ],
)
def test_what_cannot_be_rewritten_by_is_an_error_at_start(world, name, value, said):
    it = world(**{name: value})
    assert it.instance.start(check=False).returncode == 78
    assert name in it.instance.output() and said in it.instance.output()
