"""Aliases of every kind in an ordinary user's instance: lists with owners, programs, files, tables, transports."""

import os
import re
import sqlite3

import pytest

from tests.integration.conftest import public_directory
from tests.integration.instance import DOMAIN, Instance, me, wait_until
from tests.servers.smtp_sink import SmtpSink

USER = "nobody" if os.getuid() == 0 else me()

ALIASES = """
members: daemon, {user}
owner-members: {user}
broken: daemon, not-here
owner-broken: listmaster
listmaster: {user}
all: members, bin
program: "|(cat; env) > {out}/program.new && mv {out}/program.new {out}/program"
quoted: "|/bin/sh -c 'echo \\"a, b\\" > {out}/quoted.new && mv {out}/quoted.new {out}/quoted'"
failing: "|echo no way; exit 77"
busy: "|exit 75"
file: {out}/file
box: {out}/box/
several: program, "|cat > {out}/second", {out}/third, {user}
{user}+work: daemon
in-text: daemon
restricted: :include:{out}/list
"""


@pytest.fixture(scope="module")
def sink():
    with SmtpSink() as it:
        yield it


@pytest.fixture(scope="module")
def instance(tree, sink):
    with public_directory() as place:
        user = USER if os.getuid() == 0 else ""
        settings = {
            "recipient_delimiter": "+",
            "minimal_backoff_time": "1000s",
            "alias_maps": f"hash:{place}/i/aliases, regexp:{place}/patterns, sqlite:{place}/sql.cf",
            "luser_relay": "listmaster+$local",
        }
        with Instance(place / "i", user=user, tree=tree, **settings) as it:
            out = place / "i" / "out"
            out.mkdir()
            (out / "list").write_text('"|touch /nowhere"\n')
            if user:
                os.chown(out, place.joinpath("i").stat().st_uid, -1)
            (place / "i" / "aliases").write_text(ALIASES.format(user=USER, out=out))
            (place / "patterns").write_text(f"/^team-[0-9]+$/ {USER}, bin\n/^in-text$/ bin\n")
            (place / "sql.cf").write_text(f"dbpath = {place}/db\nquery = SELECT t FROM a WHERE n = '%s'\n")
            with sqlite3.connect(place / "db") as connection:
                connection.execute("CREATE TABLE a (n TEXT, t TEXT)")
                connection.execute("INSERT INTO a VALUES ('in-sql', 'daemon')")
            connection.close()
            it.start()
            it.out = out
            yield it


def send(instance, subject, *words):
    instance.submit(f"Subject: {subject}\n\nhello\n".encode(), "-i", *words)


def written(instance, name):
    path = instance.out / name
    instance.wait_for(lambda: path.exists() and path.stat().st_size, f"{name} is written")
    return path.read_text()


def message(box, subject):
    """Return the message with this subject in a mailbox."""
    return next(part for part in box.split(b"\nFrom ") if f"Subject: {subject}\n".encode() in part)


def test_the_members_of_a_list_get_the_mail_from_its_owner(instance):
    send(instance, "to members", "members")
    for user in ("daemon", USER):
        text = message(instance.wait_for_mail(user, b"Subject: to members\n"), "to members")
        assert f"Return-Path: <owner-members@{DOMAIN}>\n".encode() in text


def test_a_list_in_a_list_has_its_own_owner_and_the_rest_the_senders(instance):
    send(instance, "to all", "all")
    of_list = message(instance.wait_for_mail("daemon", b"Subject: to all\n"), "to all")
    of_rest = message(instance.wait_for_mail("bin", b"Subject: to all\n"), "to all")
    assert f"Return-Path: <owner-members@{DOMAIN}>\n".encode() in of_list
    assert f"Return-Path: <{USER}@{DOMAIN}>\n".encode() in of_rest


def test_the_bounce_of_a_list_goes_to_its_owner_and_not_to_the_sender(instance):
    instance.configure(luser_relay="")
    instance.reload()
    send(instance, "to the broken list", "-f", "bin", "broken")
    text = instance.wait_for_mail(USER, f"Final-Recipient: rfc822; not-here@{DOMAIN}".encode())
    assert f"\nTo: owner-broken@{DOMAIN}\n".encode() in text
    assert b"not-here" not in instance.mailbox("bin")
    instance.configure(luser_relay="listmaster+$local")
    instance.reload()


def test_a_program_gets_the_message_and_a_clean_environment(instance):
    send(instance, "to a program", "program")
    text = written(instance, "program")
    assert text.startswith("From ") and "\nSubject: to a program\n" in text
    assert f"\nRECIPIENT=program@{DOMAIN}\n" in text and f"\nSENDER={USER}@{DOMAIN}\n" in text
    instance.wait_for_log(f"to=<program@{DOMAIN}>, relay=local, .*status=sent \\(delivered to command: ")


def test_a_quoted_program_may_hold_commas_and_quotes(instance):
    send(instance, "quoted", "quoted")
    assert written(instance, "quoted") == "a, b\n"


def test_a_program_that_fails_bounces_with_its_words_and_one_that_asks_to_wait_waits(instance):
    send(instance, "to failing", "failing")
    assert b"no way" in instance.wait_for_mail(USER, f"Final-Recipient: rfc822; failing@{DOMAIN}".encode())
    send(instance, "to busy", "busy")
    instance.wait_for_log(f"to=<busy@{DOMAIN}>, .*dsn=4.3.0, status=deferred")


def test_a_file_is_a_mailbox_and_a_path_with_a_slash_a_maildir(instance):
    send(instance, "to a file", "file", "box")
    assert "\nSubject: to a file\n" in written(instance, "file")
    (path,) = instance.wait_for(lambda: list(instance.out.glob("box/new/*")), "a message in the Maildir")
    assert "\nSubject: to a file\n" in path.read_text()


def test_one_alias_may_be_programs_files_and_users_at_once(instance):
    send(instance, "to several", "several")
    assert "Subject: to several\n" in written(instance, "second")
    assert "Subject: to several\n" in written(instance, "third")
    instance.wait_for_mail(USER, b"Subject: to several\n")
    wait_until(lambda: "to several" in (instance.out / "program").read_text(), "the program in an inner alias")


def test_a_program_in_an_include_file_is_refused(instance):
    send(instance, "restricted", "restricted")
    (line,) = instance.wait_for_log(f"to=<restricted@{DOMAIN}>")
    assert "dsn=5.7.1, status=bounced (mail to command is restricted: include file " in line


def test_an_extension_has_an_alias_of_its_own_or_is_the_user(instance):
    send(instance, "to work", f"{USER}+work")
    instance.wait_for_mail("daemon", b"Subject: to work\n")
    send(instance, "to play", f"{USER}+play")
    text = message(instance.wait_for_mail(USER, b"Subject: to play\n"), "to play")
    assert f"Delivered-To: {USER}+play@{DOMAIN}\n".encode() in text
    send(instance, "both", f"{USER}+one", f"{USER}+two")
    box = instance.wait_for_mail(USER, b"Subject: both\n", count=2)
    assert {rb"one", rb"two"} <= set(re.findall(rb"Delivered-To: [^@\n]*\+([a-z]*)@", box))


def test_patterns_and_databases_hold_aliases_after_the_text(instance):
    send(instance, "to a team", "team-12")
    instance.wait_for_mail("bin", b"Subject: to a team\n")
    instance.wait_for_mail(USER, b"Subject: to a team\n")
    send(instance, "to a row", "in-sql")
    instance.wait_for_mail("daemon", b"Subject: to a row\n")
    send(instance, "text first", "in-text")
    instance.wait_for_mail("daemon", b"Subject: text first\n")


def test_newaliases_checks_every_map_and_names_what_is_wrong(instance):
    done = instance.run("newaliases")
    assert done.returncode == 0, done.stderr
    assert re.search(rb"/aliases: 16 aliases, longest \d+ bytes, \d+ bytes total\n", done.stdout), done.stdout
    assert b"/patterns: 2 aliases" in done.stdout
    patterns = instance.out.parent.parent / "patterns"
    good = patterns.read_text()
    patterns.write_text("/unclosed\n")
    done = instance.run("newaliases")
    patterns.write_text(good)
    assert done.returncode == 65 and b"patterns, line 1: a pattern is not closed" in done.stderr


def test_a_map_that_cannot_be_read_makes_local_mail_wait(instance):
    patterns = instance.out.parent.parent / "patterns"
    os.rename(patterns, f"{patterns}.away")
    os.mkdir(patterns)
    try:
        wait_until(lambda: waits(instance), "mail waits")
    finally:
        os.rmdir(patterns)
        os.rename(f"{patterns}.away", patterns)


def waits(instance):
    """Send a message; say whether it waits because aliases cannot be read."""
    before = len(re.findall("cannot read the aliases", instance.log()))
    send(instance, "while it is away", "bin")
    instance.wait_for_log(f"to=<bin@{DOMAIN}>.*(status=)")
    return len(re.findall("cannot read the aliases", instance.log())) > before


def test_mail_for_unknown_users_goes_to_luser_relay(instance):
    send(instance, "lost", "lost-and-found")
    text = message(instance.wait_for_mail(USER, b"Subject: lost\n"), "lost")
    assert f"X-Original-To: lost-and-found@{DOMAIN}\n".encode() in text


def test_mailbox_transport_takes_the_mail_of_mailboxes_after_aliases(instance, sink):
    instance.configure(mailbox_transport=f"smtp:[127.0.0.1]:{sink.port}")
    assert instance.reload().returncode == 0
    try:
        send(instance, "over there", "listmaster", "unknown-here")

        def taken():
            found = [m for m in list(sink.messages) if b"Subject: over there\r\n" in m.content]
            return {str(r).split(">")[0].lstrip("<") for m in found for r in m.recipients}

        wanted = {f"{USER}@{DOMAIN}", f"unknown-here@{DOMAIN}"}
        instance.wait_for(lambda: taken() == wanted, "both at the other server")
    finally:
        instance.configure(mailbox_transport="")
        instance.reload()


@pytest.mark.parametrize(
    "setting",
    ["mailbox_transport=uucp:host", "fallback_transport=smtp:", "alias_maps=ldap:/x", "luser_relay=|prog",
     "allow_mail_to_commands=everywhere"],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name_at_start_and_at_reload(instance, setting):
    name, _, value = setting.partition("=")
    main_cf = instance.path / "main.cf"
    before = main_cf.read_text()
    instance.configure(**{name: value})
    try:
        done = instance.reload()
        assert done.returncode == 78 and name.encode() in done.stderr, done.stderr
    finally:
        main_cf.write_text(before)
