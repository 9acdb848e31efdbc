"""Mail on one host, from sendmail(1) to mailboxes: users, unknown users, aliases and lists."""

import email
import email.policy
import os
import time

import pytest

from tests.integration.instance import DOMAIN, Instance, me

ALIASES = """\
friends: {me}, daemon
list: :include:{path}/members
boss: {me}
one: two
two: three
three: one
changing: {me}
nobody-at-all: no-such-user-behind-this
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("local") / "i", maildrop_scan_delay="2s") as instance:
        (instance.path / "aliases").write_text(ALIASES.format(me=me(), path=instance.path))
        (instance.path / "members").write_text(f"# the members\n{me()}\ndaemon, bin\n")
        instance.start()
        yield instance


def send(instance, subject, *words, body="hello"):
    instance.submit(f"Subject: {subject}\n\n{body}\n".encode(), *words)


def message(mailbox, containing):
    """Return the message with this text from a mailbox, without its From_ line."""
    found = [part for part in mailbox.split(b"\n\nFrom ") if containing in part]
    assert len(found) == 1, found
    return found[0].partition(b"\n")[2] + b"\n"


def test_mail_to_a_local_user_arrives_in_the_mailbox(instance):
    send(instance, "to one user", me(), body="From here on\nall is well")
    text = message(instance.wait_for_mail(me(), b"to one user"), b"to one user").decode()
    assert f"Return-Path: <{me()}@{DOMAIN}>\nDelivered-To: {me()}@{DOMAIN}\nReceived: by {DOMAIN} " in text
    assert "\n\n>From here on\nall is well\n" in text
    assert "\nMessage-Id: <" in text
    assert "\nDate: " in text
    assert f"@{DOMAIN}>\n" in text.partition("\nFrom: ")[2]


def test_mail_to_two_users_arrives_once_in_each_mailbox(instance):
    send(instance, "to two users", me(), "daemon", me())
    for user in (me(), "daemon"):
        instance.wait_for_mail(user, b"to two users")
    instance.wait_empty()
    assert [instance.mailbox(user).count(b"to two users") for user in (me(), "daemon")] == [1, 1]


def test_an_unknown_user_bounces_to_the_sender_while_sendmail_exits_0(instance):
    send(instance, "for nobody there", "-N", "failure", "nosuch-xyzzy")
    report = email.message_from_bytes(
        message(instance.wait_for_mail(me(), b"nosuch-xyzzy@"), b"Undelivered Mail"), policy=email.policy.default
    )
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert (report["Return-Path"], report["To"]) == ("<>", f"{me()}@{DOMAIN}")
    text, status, original = report.iter_parts()
    assert 'unknown user: "nosuch-xyzzy"' in text.get_content()
    per_message, per_recipient = status.iter_parts()
    assert per_message["Reporting-MTA"] == f"dns; {DOMAIN}"
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", "5.1.1")
    assert per_recipient["Final-Recipient"] == f"rfc822; nosuch-xyzzy@{DOMAIN}"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_content()["Subject"] == "for nobody there"
    assert not report.defects
    assert instance.wait_for_log(r"dsn=5\.1\.1, status=bounced \(unknown user")


def test_a_bounce_that_cannot_be_sent_is_dropped_with_a_line_in_the_log(instance):
    send(instance, "from nobody to nobody", "-f", "no-such-sender", "no-such-recipient")
    lines = instance.wait_for_log("undeliverable bounce dropped")
    queue_id = lines[-1].split("]: ")[1].partition(":")[0]
    instance.wait_for_log(f"{queue_id}: removed")
    instance.wait_empty()


def test_mail_with_the_null_sender_causes_no_bounce(instance):
    before = instance.mailbox(me())
    send(instance, "null sender", "-f", "<>", "no-such-recipient-2")
    instance.wait_for_log("to=<no-such-recipient-2@.*status=bounced")
    instance.wait_empty()
    assert instance.mailbox(me()) == before


def test_notify_never_asks_for_no_bounce(instance):
    before = instance.mailbox(me())
    send(instance, "never notify", "-N", "never", "no-such-recipient-3")
    instance.wait_for_log("to=<no-such-recipient-3@.*status=bounced")
    instance.wait_empty()
    assert instance.mailbox(me()) == before


def test_some_recipients_arrive_and_the_others_bounce(instance):
    send(instance, "half of it", me(), "no-such-half")
    instance.wait_for_mail(me(), b"Final-Recipient: rfc822; no-such-half@")
    assert instance.mailbox(me()).count(b"Subject: half of it") == 2  # the message, and the copy in the bounce


def test_an_alias_for_two_users_reaches_both(instance):
    send(instance, "to my friends", "friends")
    for user in (me(), "daemon"):
        text = message(instance.wait_for_mail(user, b"to my friends"), b"to my friends")
        assert f"\nX-Original-To: friends@{DOMAIN}\n".encode() in text


def test_an_alias_with_an_include_file_reaches_its_members(instance):
    send(instance, "to the list", "list")
    for user in (me(), "daemon", "bin"):
        instance.wait_for_mail(user, b"to the list")
    instance.wait_empty()
    assert [instance.mailbox(user).count(b"to the list") for user in (me(), "daemon", "bin")] == [1, 1, 1]


def test_an_alias_for_one_user_reaches_that_user(instance):
    send(instance, "to the boss", "BOSS")
    instance.wait_for_mail(me(), b"to the boss")


def test_aliases_that_go_in_circles_come_to_an_end(instance):
    send(instance, "round and round", "one")
    instance.wait_for_log(f"to=<one@{DOMAIN}>.*status=bounced|orig_to=<one@{DOMAIN}>.*status=bounced")
    instance.wait_empty()


def test_an_unknown_user_behind_an_alias_bounces_and_names_the_alias(instance):
    send(instance, "behind an alias", "nobody-at-all")
    text = message(instance.wait_for_mail(me(), b"no-such-user-behind-this"), b"Subject: behind an alias")
    told = f'(expanded from <nobody-at-all@{DOMAIN}>): unknown user: "no-such-user-behind-this"\n'
    assert told.encode() in text.replace(b"\n    ", b" ")
    assert f"\nOriginal-Recipient: rfc822; nobody-at-all@{DOMAIN}\n".encode() in text


def test_a_change_of_the_alias_file_is_noticed(instance):
    send(instance, "before the change", "changing")
    instance.wait_for_mail(me(), b"before the change")
    aliases = instance.path / "aliases"
    aliases.write_text(aliases.read_text().replace(f"changing: {me()}", "changing: bin"))
    end = time.monotonic() + 30
    number = 0
    while b"after the change" not in instance.mailbox("bin"):
        assert time.monotonic() < end, instance.log()
        number += 1
        send(instance, f"after the change {number}", "changing")
        instance.wait_empty()


def test_postmaster_is_there_without_an_alias(instance):
    send(instance, "dear postmaster", "postmaster")
    instance.wait_for_mail("root", b"dear postmaster")


def test_a_message_in_a_loop_bounces(instance):
    header = "".join(f"Received: from hop{n}.test\n" for n in range(101))
    instance.submit(f"{header}Subject: a hundred hops\n\nx\n".encode(), me())
    instance.wait_for_mail(me(), b"too many hops")


def test_a_bounce_of_a_large_message_returns_its_header_only(instance):
    send(instance, "large and lost", "no-such-large", body="filler\n" * 20000)
    text = message(instance.wait_for_mail(me(), b"rfc822; no-such-large@"), b"rfc822; no-such-large@")
    assert b"text/rfc822-headers" in text
    assert b"Subject: large and lost\n" in text
    assert b"filler" not in text


def test_hard_links_and_junk_in_the_maildrop_are_left_alone(instance):
    maildrop = instance.path / "queue" / "maildrop"
    (maildrop / "junk").write_bytes(b"this is no queue file\n")
    os.chmod(maildrop / "junk", 0o640)
    os.link(instance.path / "members", maildrop / "linked")
    (maildrop / "directory").mkdir()
    os.symlink(instance.path / "members", maildrop / "pointer")
    try:
        for name in ("junk", "linked", "directory", "pointer"):
            instance.wait_for_log(f"maildrop/{name}")
        assert sorted(os.listdir(maildrop)) == ["directory", "junk", "linked", "pointer"]
        send(instance, "mail beside junk", me())
        instance.wait_for_mail(me(), b"mail beside junk")
    finally:
        for name in ("junk", "linked", "pointer"):
            (maildrop / name).unlink()
        (maildrop / "directory").rmdir()
