"""What arrives in a mailbox: the header that a submitted message gets, and who gets a copy."""

import email
import email.policy
import os
import pwd
import uuid

import pytest

from tests.integration.instance import DOMAIN, Instance, me


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("delivered") / "i") as instance:
        instance.configure(mydestination=f"{DOMAIN}, localhost")
        instance.start()
        yield instance


def name() -> str:
    """Return the full name of the user who runs the tests, as a From field has it."""
    account = pwd.getpwuid(os.getuid())
    return account.pw_gecos.split(",")[0].replace("&", account.pw_name.capitalize())


def delivered(instance, message, *words, user="", **more):
    """Submit a message and return it from the mailbox, parsed, once everything is delivered."""
    mark = uuid.uuid4().hex
    instance.submit(f"X-Mark: {mark}\n".encode() + message, "-i", *words, **more)
    copies = _marked(instance.wait_for_mail(user or me(), mark.encode()), mark)
    instance.wait_empty()
    assert len(copies) == len(_marked(instance.mailbox(user or me()), mark)) == 1
    return copies[0]


def _marked(mailbox, mark):
    texts = [text.partition(b"\n")[2] for text in mailbox.split(b"\n\nFrom ")]  # without the From_ line
    return [email.message_from_bytes(t, policy=email.policy.default) for t in texts if mark.encode() in t]


def with_name(address):
    return f"{name()} <{address}>" if name() else address


def test_a_from_that_is_missing_is_the_callers_name_and_login_whatever_the_environment_says(instance):
    environment = {**instance.environment, "USER": "mallory", "LOGNAME": "mallory", "HOME": "/home/mallory"}
    assert delivered(instance, b"\nx\n", me(), env=environment)["From"] == with_name(f"{me()}@{DOMAIN}")


def test_a_from_that_is_missing_is_the_sender_of_f_with_the_callers_name(instance):
    assert delivered(instance, b"\nx\n", "-f", "x@example.org", me())["From"] == with_name("x@example.org")


def test_a_from_that_is_there_stays_and_is_qualified(instance):
    text = delivered(instance, b'From: "Daemon (Cron)" <cron>\n\nx\n', "-F", "Someone Else", me())
    assert text["From"] == f'"Daemon (Cron)" <cron@{DOMAIN}>'


def test_an_empty_full_name_takes_the_place_of_the_callers(instance):
    assert delivered(instance, b"\nx\n", "-F", "", me())["From"] == f"{me()}@{DOMAIN}"


def test_a_full_name_above_ascii_is_encoded(instance):
    assert (
        delivered(instance, b"\nx\n", "-F", "Ålice & Größe", me())["From"].addresses[0].display_name == "Ålice & Größe"
    )


def test_what_is_missing_is_added_once_and_no_warning_beside_it(instance):
    text = delivered(instance, b"Subject: x\n\nx\n", "-f", "forged@example.org", me())
    assert [len(text.get_all(n, [])) for n in ("From", "Date", "Message-Id", "Return-Path", "Delivered-To")] == [1] * 5
    assert text["X-Authentication-Warning"] is None
    assert text["Return-Path"] == "<forged@example.org>"


def test_a_null_sender_is_the_return_path(instance):
    assert delivered(instance, b"\nx\n", "-f", "", me())["Return-Path"] == "<>"


def test_bcc_is_removed_without_t(instance):
    text = delivered(instance, f"To: {me()}\nBcc: bin\nResent-Bcc: bin\n\nx\n".encode(), me())
    assert text["Bcc"] is None and text["Resent-Bcc"] is None


def test_bcc_is_removed_with_t_and_its_address_gets_the_mail(instance):
    text = delivered(instance, f"To: bin\nBcc: {me()}\n\nx\n".encode(), "-t")
    assert (text["Bcc"], text["Delivered-To"]) == (None, f"{me()}@{DOMAIN}")


def test_one_user_in_all_spellings_gets_one_copy(instance):
    user = me()
    text = delivered(instance, f"To: {user.upper()}\n\nx\n".encode(), "-t", user, user.title(), f"{user}@{DOMAIN}",
                     f"{user}@localhost", f"<{user}@{DOMAIN.upper()}>")  # fmt: skip
    assert text["Delivered-To"] == f"{user}@{DOMAIN}"


def test_a_backslash_before_a_user_means_the_user(instance):
    assert delivered(instance, b"\nx\n", "\\" + me())["Delivered-To"] == f"{me()}@{DOMAIN}"


@pytest.mark.parametrize("words", [["\\{}"], ["<\\{}>"], ["\\{}@localhost"], ["-t"]])
def test_a_backslash_before_a_user_leads_past_his_alias(instance, words, tmp_path):
    with Instance(tmp_path / "i") as other:
        other.configure(mydestination=f"{DOMAIN}, localhost")
        (other.path / "aliases").write_text(f"{me()}: /dev/null\n")
        other.start()
        other.submit(b"Subject: taken\n\nx\n", me())
        other.submit(f"To: \\{me()}\nSubject: kept\n\nx\n".encode(), *(word.format(me()) for word in words))
        other.wait_for_mail(me(), b"Subject: kept")
        other.wait_empty()
        assert b"taken" not in other.mailbox(me())


def test_a_from_line_at_the_top_is_dropped(instance):
    instance.submit(b"From alice Mon Nov 23 12:00:00 2026\nSubject: from a mailbox\n\nx\n", me())
    mailbox = instance.wait_for_mail(me(), b"Subject: from a mailbox")
    assert b"From alice" not in mailbox


def test_every_from_line_in_the_body_is_quoted(instance):
    text = delivered(instance, b"\nFrom here\nx\n\nFrom there\n", me())
    assert [line for line in text.get_payload().splitlines() if "From" in line] == [">From here", ">From there"]


def test_an_unknown_user_is_reported_by_mail_and_exit_is_0(instance):
    mark = uuid.uuid4().hex
    instance.submit(b"Subject: x\n\nx\n", f"no-{mark}")
    assert f"Final-Recipient: rfc822; no-{mark}@{DOMAIN}\n".encode() in instance.wait_for_mail(me(), b"5.1.1")


def test_a_hundred_and_twenty_received_fields_are_a_loop_and_bounce(instance):
    mark = uuid.uuid4().hex.encode()
    instance.submit(b"Received: from a by b\n" * 120 + b"Subject: " + mark + b"\n\nx\n", me())
    assert b"too many hops" in instance.wait_for_mail(me(), b"Subject: " + mark)


@pytest.mark.parametrize("header", [b"X-Long: " + b"word " * 12_000 + b"\n", b"X-Many: x\n" * 5000])
def test_a_header_of_60_kb_arrives(instance, header):
    text = delivered(instance, header + b"\nx\n", me())
    assert text.as_bytes().count(b"X-Many: x\n") == 5000 or text["X-Long"].split() == ["word"] * 12_000


def test_odq_only_queues_until_q_comes(instance):
    mark = uuid.uuid4().hex
    instance.submit(f"Subject: {mark}\n\nx\n".encode(), "-odq", me())
    instance.wait_for(lambda: "(queued only" in instance.mailq(), "queued only")
    assert mark.encode() not in instance.mailbox(me())
    instance.run("sendmail", "-q", check=True)
    instance.wait_for_mail(me(), mark.encode())
