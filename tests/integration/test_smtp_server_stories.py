"""The SMTP server as its clients see it: real programs, real sockets, from the greeting to the mailbox."""

import asyncio
import os
import re
import signal
import smtplib
import socket
import subprocess

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.syslog import Log
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.smtpd_world import World
from tests.conftest import needs
from tests.integration.instance import LIMIT, PATH, is_alive
from tests.integration.smtp_server import STRANGERS, Served
from tests.servers.name_server import NameServer
from tests.servers.ports import free_port
from tests.servers.postfix import POSTFIX

SMTP_SOURCE = POSTFIX / "usr/sbin/smtp-source"
TEXT = "Subject: hello\n\n.dot\n..two dots\nlast line\n"


@pytest.fixture(scope="module")
def friendly(tmp_path_factory):
    """A server whose clients are on its own host."""
    with Served(tmp_path_factory.mktemp("friendly") / "i", smtpd_error_sleep_time="0s") as served:
        (served.path / "aliases").write_text("info: games\n")
        served.start()
        yield served


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A server whose clients are strangers."""
    with Served(tmp_path_factory.mktemp("strange") / "i", smtpd_error_sleep_time="0s", **STRANGERS) as served:
        served.start()
        yield served


# --- programs --------------------------------------------------------------------------------


def test_smtplib_sends_several_messages_over_one_connection(friendly):
    with friendly.client() as client:
        for number in range(3):
            assert client.sendmail("alice@a.test", ["games@here.test"], f"Subject: lib{number}\n\n{TEXT}") == {}
    text = friendly.wait_for_mail("games", b"Subject: lib", 3).decode()
    assert text.count("\n.dot\n..two dots\nlast line\n") == 3
    found = re.search(
        r"^Received: from .*\n\tby here.test \(sendmail-py\) with ESMTP id (\w+)\n\tfor <games@h", text, re.M
    )
    assert found
    friendly.wait_for_log(rf"smtpd\[\d+\]: {found[1]}: client=localhost\[127.0.0.1\]")
    friendly.wait_for_log(rf"qmgr\[\d+\]: {found[1]}: from=<alice@a.test>")


@pytest.mark.real("swaks")
def test_swaks_pipelines_a_message(friendly):
    words = ["--server", f"127.0.0.1:{friendly.port}", "--from", "a@a.test", "--to", "games@here.test", "--pipeline"]
    done = run("swaks", *words, "--header", "Subject: by swaks")
    assert done.returncode == 0, done.stdout
    friendly.wait_for_mail("games", b"Subject: by swaks")


@pytest.mark.real("curl")
def test_curl_sends_a_message(friendly):
    url = f"smtp://127.0.0.1:{friendly.port}/c.test"
    words = ["-sS", url, "--mail-from", "a@a.test", "--mail-rcpt", "games@here.test", "--mail-rcpt", "bin@here.test"]
    done = run("curl", *words, "--upload-file", "-", input=b"Subject: by curl\r\n\r\n.x\r\n")
    assert done.returncode == 0, done.stderr
    assert b"\n.x\n" in friendly.wait_for_mail("games", b"Subject: by curl")
    friendly.wait_for_mail("bin", b"Subject: by curl")


@pytest.mark.real("msmtp")
def test_msmtp_sends_a_message(friendly):
    words = ["--host=127.0.0.1", f"--port={friendly.port}", "--from=a@a.test", "--tls=off", "--auth=off"]
    done = run("msmtp", *words, "games@here.test", input=b"Subject: by msmtp\n\nx\n")
    assert done.returncode == 0, done.stderr
    friendly.wait_for_mail("games", b"Subject: by msmtp")


@pytest.mark.real("s-nail")
def test_s_nail_sends_a_message(friendly):
    words = ["-:/", "-Sv15-compat", f"-Smta=smtp://127.0.0.1:{friendly.port}", "-Ssmtp-auth=none", "-r", "a@a.test"]
    done = run("s-nail", *words, "-Shostname=c.test", "-s", "by s-nail", "games@here.test", input=b"x\n")
    assert done.returncode == 0, done.stderr
    friendly.wait_for_mail("games", b"Subject: by s-nail")


def run(*command: str, input: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    environment = {"PATH": PATH, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, input=input, capture_output=True, timeout=LIMIT, env=environment)


# --- what is in the message ------------------------------------------------------------------


def test_a_program_on_this_host_gets_its_missing_header_fields(friendly):
    with friendly.client() as client:
        client.sendmail("alice@a.test", ["games"], "Subject: short\nTo: games\nBcc: secret@a.test\n\nx\n")
    text = friendly.wait_for_mail("games", b"Subject: short").decode()
    message = text[text.rindex("Return-Path:") :]
    assert "To: games@here.test\n" in message
    assert "Bcc" not in message
    for name in ("Message-Id: <", "Date: ", "From: alice@a.test\n"):
        assert f"\n{name}" in message


def test_a_strangers_message_stays_as_it_came(strange):
    content = "X-odd :  field\r\nTo: games\r\nSubject: odd\r\n\r\nbare\rCR and \x00 NUL\r\n"
    with strange.client() as client:
        client.sendmail("alice@a.test", ["games@here.test"], content.encode())
    text = strange.wait_for_mail("games", b"Subject: odd").decode()
    assert "X-odd :  field\nTo: games\nSubject: odd\n\nbare\rCR and \x00 NUL\n" in text
    assert "Message-Id" not in text


def test_wishes_for_reports_are_kept(friendly):
    with friendly.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<bin@here.test> RET=HDRS ENVID=id1")
        line.say("RCPT TO:<games@here.test> NOTIFY=SUCCESS ORCPT=rfc822;orig@a.test", "DATA", "Subject: wish", "", ".")
        line.say("QUIT")
        assert [reply[:3] for reply in line.replies()] == ["250", "250", "250", "354", "250", "221"]
    text = friendly.wait_for_mail("bin", b"Original-Recipient: rfc822; orig@a.test")
    assert b"Original-Envelope-Id: id1" in text


# --- who may do what -------------------------------------------------------------------------


def test_an_unknown_user_is_refused_at_rcpt_and_an_alias_is_not(friendly):
    with friendly.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@a.test>", "RCPT TO:<nobody-here@here.test>", "RCPT TO:<info@here.test>")
        line.say("RCPT TO:<Games+lists@here.test>", "RCPT TO:<postmaster>", "QUIT")
        answers = line.replies()
    unknown = "550 5.1.1 <nobody-here@here.test>: Recipient address rejected: User unknown in local recipient table"
    assert answers[2:6] == [unknown, "250 2.1.5 Ok", "250 2.1.5 Ok", "250 2.1.5 Ok"]
    friendly.wait_for_log(
        r"NOQUEUE: reject: RCPT from localhost\[127.0.0.1\]: 550 5.1.1 <nobody-here@here.test>: .*; "
        r"from=<a@a.test> to=<nobody-here@here.test> proto=ESMTP helo=<c.test>"
    )


@pytest.mark.parametrize(
    "path",
    [
        "<victim@a.test>",
        "<victim%a.test@here.test>",
        '<"victim@a.test"@here.test>',
        "<a.test!victim@here.test>",
        "<@here.test:victim@a.test>",
        "<victim@a.test@here.test>",
        "<victim%a.test>",
        '<"victim@a.test">',
        "<victim@[192.0.2.1]>",
        "victim@a.test",
    ],
)
def test_nothing_is_relayed_for_strangers(strange, path):
    with strange.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<root@here.test>", f"RCPT TO:{path}", "DATA", "QUIT")
        answers = line.replies()
    assert answers[2].startswith(("554 5.7.1 <", "501 5.1.3")), answers
    assert answers[3] == "554 5.5.1 Error: no valid recipients"
    strange.wait_for_log("disconnect from .* ehlo=1 mail=1 rcpt=0/1 data=0/1 quit=1 commands=3/5")


def test_a_stranger_may_write_to_users_of_this_host(strange):
    with strange.client() as client:
        client.sendmail("alice@a.test", ["games@here.test"], "Subject: from afar\n\nx\n")
    strange.wait_for_mail("games", b"Subject: from afar")


def test_a_sender_whose_domain_is_nowhere_is_refused(tmp_path):
    zone = {"a.test": {"MX": ["10 mx.a.test."]}, "broken.test": {"rcode": "SERVFAIL"}, "null.test": {"MX": ["0 ."]}}
    with (
        NameServer(zone) as names,
        Served(
            tmp_path / "i", resolver_nameservers=names.address, smtpd_sender_restrictions="reject_unknown_sender_domain"
        ) as served,
    ):
        served.start()
        assert served.connect_and_ask("alice@a.test")[:3] == "250"
        assert served.connect_and_ask("alice@gone.test")[:9] == "450 4.1.8"
        assert served.connect_and_ask("alice@null.test")[:10] == "550 5.7.27"
        assert served.connect_and_ask("alice@broken.test")[:9] == "450 4.1.8"


def test_a_word_that_is_not_known_stops_the_start_and_a_reload_changes_nothing(tmp_path):
    with Served(tmp_path / "i") as served:
        served.start()
        served.configure(smtpd_recipient_restrictions="reject_everybody")
        done = served.reload()
        assert done.returncode != 0
        assert b"smtpd_recipient_restrictions: reject_everybody: no such restriction" in done.stderr
        assert served.connect_and_ask("alice@a.test")[:3] == "250"
        served.stop()
        assert served.start(check=False).returncode == 78
        assert "reject_everybody: no such restriction" in served.output()


# --- processes -------------------------------------------------------------------------------


def test_smtpd_leaves_when_idle_and_the_next_client_starts_another(tmp_path):
    with Served(tmp_path / "i", max_idle="1s") as served:
        served.start()
        assert served.pid_of("smtpd") == 0
        pids = []
        for _ in range(2):
            with served.client() as client:
                assert client.noop()[0] == 250
                pids.append(served.pid_of("smtpd"))
            served.wait_for(lambda: not is_alive(pids[-1]), "smtpd has left")
        assert len(set(pids)) == 2


def test_a_killed_smtpd_is_replaced(tmp_path):
    with Served(tmp_path / "i", service_throttle_time="1s") as served:
        served.start()
        with served.connect() as line:
            line.reply()
            os.kill(served.pid_of("smtpd"), signal.SIGKILL)
            assert line.replies() == []
        assert served.connect_and_ask("alice@a.test")[:3] == "250"


def test_a_reload_leaves_connected_clients_alone_and_counts_for_the_next(tmp_path):
    with Served(tmp_path / "i", smtpd_banner="here.test ESMTP old") as served:
        served.start()
        with served.client() as client:
            old = served.pid_of("smtpd")
            served.configure(smtpd_banner="here.test ESMTP new")
            served.reload()
            with served.connect() as line:
                assert line.reply() == "220 here.test ESMTP new"
            client.sendmail("alice@a.test", ["games@here.test"], "Subject: after reload\n\nx\n")
        served.wait_for_mail("games", b"Subject: after reload")
        served.wait_for(lambda: not is_alive(old), "the old smtpd has left")


def test_a_reload_moves_the_server_to_another_port(tmp_path):
    with Served(tmp_path / "i") as served:
        served.start()
        with served.client():
            old = served.port
            served.port = free_port()
            served.configure(smtpd_port=served.port)
            served.reload()
            assert served.connect_and_ask("alice@a.test")[:3] == "250"
        served.wait_for(lambda: is_closed(old), "the old port is closed")


def test_a_stop_lets_a_message_end_and_tells_who_is_idle(tmp_path):
    with Served(tmp_path / "i") as served:
        served.start()
        with served.connect() as idle, served.connect() as busy:
            for line in (idle, busy):
                line.reply()
            busy.to_data()
            stopping = subprocess.Popen([f"{served.tree}/bin/mailctl", "-c", served.path, "stop"])
            assert idle.reply().startswith("421 4.3.2")
            busy.say("Subject: to the end", "", "x", ".")
            assert busy.reply().startswith("250 2.0.0 Ok: queued as ")
            assert busy.reply().startswith("421 4.3.2")
            assert stopping.wait(LIMIT) == 0
        served.start()
        served.wait_for_mail("games", b"Subject: to the end")


def test_a_port_that_is_taken_is_said_and_stops_nothing_else(tmp_path):
    with socket.socket() as other:
        port = free_port()
        other.bind(("127.0.0.1", port))
        other.listen()
        with Served(tmp_path / "i", smtpd_port=port, inet_protocols="ipv4") as served:
            served.start()
            complaint = f"cannot listen on 127.0.0.1:{port}: Address already in use"
            assert f"mailctl: warning: {complaint}" in served.output()
            served.wait_for_log(complaint)
            served.submit(b"Subject: all the same\n\nx\n", "games")
            served.wait_for_mail("games", b"Subject: all the same")
            other.close()
            served.reload()
            served.port = port
            assert served.connect_and_ask("alice@a.test")[:3] == "250"


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_clients_of_ipv6_are_served_by_their_address(friendly):
    with friendly.client("::1") as client:
        client.sendmail("alice@a.test", ["games@here.test"], "Subject: six\n\nx\n")
    text = friendly.wait_for_mail("games", b"Subject: six")
    assert b"(localhost [IPv6:::1])" in text
    friendly.wait_for_log(r"client=localhost\[::1\]")


@pytest.mark.real("pflogsumm")
def test_pflogsumm_counts_what_came_and_what_was_refused(friendly):
    with friendly.client() as client:
        client.sendmail("alice@a.test", ["games@here.test"], "Subject: to be counted\n\nx\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("alice@a.test", ["gone@here.test"], "x")
    friendly.wait_for_mail("games", b"Subject: to be counted")
    friendly.wait_for_log("reject: RCPT from localhost")
    log = friendly.path / "maillog"
    done = run("pflogsumm", "--syslog-name=sendmail-py", "--problems-first", str(log))
    assert done.returncode == 0, done.stderr
    received, rejected = (re.search(rf"(\d+) +{word}", done.stdout.decode()) for word in ("received", "rejected"))
    assert received and rejected
    assert int(received[1]) >= 1
    assert int(rejected[1]) >= 1


def is_closed(port):
    with socket.socket() as end:
        return end.connect_ex(("127.0.0.1", port)) != 0


# --- tables and names ------------------------------------------------------------------------


def test_access_tables_decide_and_are_read_again(tmp_path):
    table = tmp_path / "senders"
    table.write_text("a.test REJECT no mail from you\nfriend@a.test OK\n")
    with Served(tmp_path / "i", smtpd_sender_restrictions=f"hash:{table}, inline:{{b.test=DEFER}}") as served:
        served.start()
        refusal = "554 5.7.1 <x@mail.a.test>: Sender address rejected: no mail from you"
        assert served.connect_and_ask("x@mail.a.test") == refusal
        assert served.connect_and_ask("friend@a.test")[:3] == "250"
        assert served.connect_and_ask("x@b.test")[:9] == "450 4.7.1"
        table.write_text("c.test 550 5.1.8 gone away\n")
        served.wait_for(lambda: served.connect_and_ask("x@a.test")[:3] == "250", "the table is read again")
        assert served.connect_and_ask("x@c.test") == "550 5.1.8 <x@c.test>: Sender address rejected: gone away"


def test_a_table_that_is_gone_defers_and_the_log_says_why(tmp_path):
    with Served(tmp_path / "i", smtpd_sender_restrictions=f"check_sender_access hash:{tmp_path}/none") as served:
        served.start()
        assert served.connect_and_ask("x@a.test")[:9] == "451 4.3.0"
        served.wait_for_log(f"warning: access table hash:{tmp_path}/none: ")


def test_a_list_in_dns_rejects_and_its_silence_does_not(tmp_path):
    why = "listed\\013\\010250 2.1.0 Ok"  # an answer of the server's that a list would like to give
    zone = {"a.test.bl.test": {"A": ["127.0.0.2"], "TXT": [f'"{why}"']}, "b.test.slow.test": {"silent": True}}
    words = "reject_rhsbl_sender bl.test=127.0.0.[2..4], reject_rhsbl_sender slow.test"
    with (
        NameServer(zone) as names,
        Served(
            tmp_path / "i", resolver_nameservers=names.address, resolver_timeout="4s", smtpd_sender_restrictions=words
        ) as served,
    ):
        served.start()
        refusal = "554 5.7.1 Service unavailable; Sender address [x@a.test] blocked using bl.test; listed??250 2.1.0 Ok"
        assert served.connect_and_ask("x@a.test") == refusal
        assert served.connect_and_ask("x@b.test")[:3] == "250"


def test_a_clients_name_is_believed_only_where_it_leads_back():
    zone = {
        "7.2.0.192.in-addr.arpa": {"PTR": ["mx.a.test."]},
        "8.2.0.192.in-addr.arpa": {"PTR": ["mx.a.test."]},
        "9.2.0.192.in-addr.arpa": {"PTR": ["localhost\\010forged."]},
        "mx.a.test": {"A": ["192.0.2.7"]},
    }
    with NameServer(zone) as names:
        settings = {"resolver_nameservers": Setting(names.address, "test")}
        config = Config(settings)

        async def ask():
            world = World(config, Routing(config), Log("x", "x", "mail", 2))
            addresses = [*(f"192.0.2.{n}" for n in (7, 8, 9, 10)), "::1"]
            return [(await world.client_names(address))[0] for address in addresses]

        assert asyncio.run(ask()) == ["mx.a.test", "unknown", "unknown", "unknown", "localhost"]


def test_postfixs_smtp_source_sends_over_many_sessions(friendly):
    needs(SMTP_SOURCE)
    words = ["-l", "4096", "-m", "60", "-s", "6", "-f", "a@a.test", "-t", "daemon@here.test", "-S", "by smtp-source"]
    environment = {"PATH": PATH, "LD_LIBRARY_PATH": f"{POSTFIX}/usr/lib/postfix"}
    done = subprocess.run(
        [SMTP_SOURCE, *words, f"127.0.0.1:{friendly.port}"], capture_output=True, timeout=LIMIT, env=environment
    )
    assert done.returncode == 0, done.stderr
    friendly.wait_for_mail("daemon", b"Subject: by smtp-source", 60)


def test_strangers_may_write_to_relayed_and_virtual_domains_as_far_as_they_are_known(tmp_path):
    settings = {
        "relay_domains": "relayed.test",
        "virtual_alias_maps": "inline:{virtual.test=x, info@virtual.test=games}",
        "smtpd_error_sleep_time": "0s",
    }
    with Served(tmp_path / "i", **settings, **STRANGERS) as served:
        served.start()
        with served.connect() as line:
            line.reply()
            line.say("EHLO c.test", "MAIL FROM:<a@a.test>", "RCPT TO:<anyone@relayed.test>", "RCPT TO:<x@other.test>")
            line.say("RCPT TO:<info@virtual.test>", "RCPT TO:<nobody@virtual.test>", "RCPT TO:<a%b.test@relayed.test>")
            line.say("QUIT")
            answers = line.replies()
    assert [answer[:9] for answer in answers[2:7]] == ["250 2.1.5", "554 5.7.1", "250 2.1.5", "550 5.1.1", "554 5.7.1"]
