"""Virtual domains in an ordinary user's instance: aliases before everything, mailboxes that are no user's."""

import os

import pytest

from tests.integration.conftest import public_directory
from tests.integration.instance import DOMAIN, me
from tests.integration.smtp_server import STRANGERS, Served
from tests.servers.smtp_sink import SmtpSink

USER = "nobody" if os.getuid() == 0 else me()
UID = 65534 if os.getuid() == 0 else os.getuid()
ALIASES = f"""\
info@lists.example bob@boxes.example
{USER}@lists.example {USER}
team@lists.example info@lists.example, carol@boxes.example, {USER}
kept@boxes.example kept@boxes.example, carol@boxes.example
both bob@boxes.example, {USER}
far@lists.example nobody-there@lists.example
@moved.example @boxes.example
"""
BOXES = """\
bob@boxes.example bob/
carol@boxes.example carol/
kept@boxes.example kept
"""


@pytest.fixture(scope="module")
def sink():
    with SmtpSink() as it:
        yield it


@pytest.fixture(scope="module")
def instance(tree, sink):
    with public_directory() as place:
        settings = {
            "recipient_delimiter": "+",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "queue_run_delay": "1s",
            "virtual_alias_domains": "lists.example, moved.example",
            "virtual_alias_maps": f"hash:{place}/virtual",
            "virtual_mailbox_domains": "boxes.example",
            "virtual_mailbox_maps": f"hash:{place}/boxes",
            "virtual_mailbox_base": f"{place}/i/vmail",
            "virtual_uid_maps": f"static:{UID}",
            "virtual_gid_maps": f"static:{os.getgid() or 65534}",
            "relayhost": f"[127.0.0.1]:{sink.port}",
            "smtpd_error_sleep_time": "0s",
            **STRANGERS,
        }
        user = USER if os.getuid() == 0 else ""
        with Served(place / "i", user=user, tree=tree, **settings) as it:
            it.boxes = it.path / "vmail"
            it.boxes.mkdir()
            os.chown(it.boxes, it.path.stat().st_uid, -1)
            it.virtual = place / "virtual"
            it.patterns = place / "patterns"
            it.patterns.write_text("/^(.*)@boxes.example$/ $1/\n")
            it.virtual.write_text(ALIASES)
            (place / "boxes").write_text(BOXES)
            (it.path / "aliases").write_text("local-list: info@lists.example, both\n")
            it.start()
            yield it


def send(instance, subject, *words):
    instance.submit(f"Subject: {subject}\n\nhello\n".encode(), "-i", *words)


def in_box(instance, name, subject):
    """Return how often a message with this subject is in a virtual mailbox."""
    path = instance.boxes / name
    files = [path] if path.is_file() else [file for part in ("new", "cur") for file in (path / part).glob("*")]
    return sum(file.read_bytes().count(f"Subject: {subject}\n".encode()) for file in files)


def at_home(instance, subject):
    return instance.mailbox(USER).count(f"Subject: {subject}\n".encode())


def test_mail_for_a_virtual_mailbox_is_in_its_maildir_and_an_unknown_one_bounces(instance):
    send(instance, "to a mailbox", "Bob+any@Boxes.example", "not-here@boxes.example")
    instance.wait_for(lambda: in_box(instance, "bob", "to a mailbox"), "the message in bob's Maildir")
    report = instance.wait_for_mail(USER, b'unknown user: "not-here@boxes.example"')
    assert b"Status: 5.1.1" in report
    instance.wait_empty()
    (line,) = instance.wait_for_log("to=<Bob.any@Boxes.example>")
    assert "relay=virtual" in line and "dsn=2.0.0, status=sent (delivered to maildir)" in line


def test_an_alias_that_leads_to_aliases_and_a_user_gives_each_one_copy(instance):
    send(instance, "to the team", "team@lists.example", "carol@boxes.example")
    instance.wait_for_mail(USER, b"Subject: to the team")
    instance.wait_empty()
    assert [in_box(instance, name, "to the team") for name in ("bob", "carol")] == [1, 1]
    assert at_home(instance, "to the team") == 1


def test_an_alias_may_keep_the_mail_and_send_a_copy(instance):
    send(instance, "kept and copied", "kept@boxes.example")
    instance.wait_for(lambda: in_box(instance, "carol", "kept and copied"), "the copy")
    instance.wait_empty()
    assert [in_box(instance, name, "kept and copied") for name in ("kept", "carol")] == [1, 1]


def test_a_name_of_this_host_may_have_a_virtual_alias_too(instance):
    send(instance, "to both", f"both@{DOMAIN}")
    instance.wait_for_mail(USER, b"Subject: to both")
    instance.wait_for(lambda: in_box(instance, "bob", "to both"), "the message in bob's Maildir")


def test_an_alias_of_this_host_leads_to_virtual_ones(instance):
    send(instance, "by way of a list", "local-list")
    instance.wait_for(lambda: in_box(instance, "bob", "by way of a list"), "the message in bob's Maildir")
    instance.wait_empty()
    assert in_box(instance, "bob", "by way of a list") == 1
    # "both" is no user here: an alias of this host knows no virtual names
    assert b'unknown user: "both"' in instance.wait_for_mail(USER, b'unknown user: "both"')


def test_a_domain_that_moved_keeps_its_names(instance):
    send(instance, "after the move", "carol@moved.example")
    instance.wait_for(lambda: in_box(instance, "carol", "after the move"), "the message in carol's Maildir")


def test_an_alias_for_an_address_that_there_is_not_bounces(instance):
    send(instance, "to nobody", "far@lists.example", "nobody-either@lists.example")
    instance.wait_for_mail(USER, b"Subject: to nobody")
    instance.wait_empty()
    for name in ("far", "nobody-either"):
        (line,) = instance.wait_for_log(f"<{name}@lists.example>.*status=bounced")
        assert "dsn=5.1.1" in line and "User unknown in virtual alias table" in line


def test_mail_waits_while_the_table_cannot_be_read(instance):
    away = instance.virtual.rename(instance.virtual.with_name("away"))
    send(instance, "has to wait", "info@lists.example")
    assert "cannot look up virtual alias" in instance.wait_for_log("info@lists.example.*status=deferred")[0]
    away.rename(instance.virtual)
    instance.wait_for(lambda: in_box(instance, "bob", "has to wait"), "the message in bob's Maildir")


def test_the_smtp_server_takes_mail_for_virtual_addresses_from_strangers_and_refuses_unknown_ones(instance):
    with instance.client() as client:
        client.ehlo("c.test")
        client.mail("x@far.example")
        replies = {}
        for address in (
            "bob+x@boxes.example", "info@lists.example", f"both@{DOMAIN}", "far@lists.example",
            "not-here@boxes.example", "not-here@lists.example", "x@far.example",
        ):  # fmt: skip
            replies[address] = client.rcpt(address)
        assert [code for code, _ in replies.values()] == [250, 250, 250, 250, 550, 550, 554]
        assert b"User unknown in virtual mailbox table" in replies["not-here@boxes.example"][1]
        assert b"5.1.1" in replies["not-here@lists.example"][1]
        assert b"User unknown in virtual alias table" in replies["not-here@lists.example"][1]
        client.rset()
        assert client.sendmail("x@far.example", ["info@lists.example"], "Subject: from outside\n\nx\n") == {}
    instance.wait_for(lambda: in_box(instance, "bob", "from outside"), "the message in bob's Maildir")


def test_what_could_never_work_is_an_error_at_start(instance):
    for name, value in (
        ("virtual_alias_maps", "ldap:/etc/virtual"),
        ("virtual_uid_maps", "static"),
        ("virtual_mailbox_maps", f"pcre:{instance.patterns}"),
        ("virtual_transport", "nonsense:"),
        ("virtual_mailbox_domains", "/etc/domains"),
        ("virtual_mailbox_base", "relative"),
    ):
        before = (instance.path / "main.cf").read_text()
        instance.configure(**{name: value})
        refused = instance.reload()
        (instance.path / "main.cf").write_text(before)
        assert refused.returncode != 0 and name.encode() in refused.stderr, (name, refused)
    assert instance.reload().returncode == 0
