"""daemonless = yes: no services run, mail is delivered all the same, and what waits is retried by sendmail -q."""

import subprocess
import time

import pytest

from sendmail_py.spool.lock_probe import is_taken
from tests.integration.instance import ROOT, Instance, me
from tests.servers.smtp_sink import SmtpSink


@pytest.fixture
def daemonless(tmp_path):
    settings = {"daemonless": "yes", "minimal_backoff_time": "1h", "maximal_backoff_time": "1h"}
    with Instance(tmp_path / "i", **settings) as instance:
        yield instance
        instance.wait_for(lambda: not is_leaving(instance.path / "run"), "no services that are to leave")


def is_leaving(run):
    return (run / "once").exists() and is_taken(f"{run}/master.lock")


def wait_until_left(instance):
    instance.wait_for(lambda: not instance.master_pid(), "the services have left")


def test_a_message_is_delivered_and_the_services_leave(daemonless):
    daemonless.submit(b"Subject: alone\n\nhello\n", me())
    daemonless.wait_for_mail(me(), b"Subject: alone")
    wait_until_left(daemonless)
    assert daemonless.mailq() == "Mail queue is empty\n"
    daemonless.submit(b"Subject: again\n\nhello\n", me())
    daemonless.wait_for_mail(me(), b"Subject: again")


def test_a_master_is_known_as_one_that_leaves_for_as_long_as_it_has_its_lock(daemonless):
    daemonless.submit(b"Subject: alone\n\nhello\n", me())
    daemonless.wait_for_mail(me(), b"Subject: alone")
    daemonless.wait_for(lambda: not is_taken(f"{daemonless.path}/run/master.lock"), "the lock is free")
    assert (daemonless.path / "run" / "once").exists()


def test_a_storm_of_submissions_is_delivered_once_each(daemonless):
    words = [f"{ROOT}/bin/sendmail", me()]
    running = [
        subprocess.Popen(words, env=daemonless.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(20)
    ]
    for number, process in enumerate(running):
        assert process.communicate(b"Subject: storm %d.\n\nhello\n" % number, 60)[1] == b"" and not process.returncode
        time.sleep(0.05 * (number % 5))
    daemonless.wait_for_mail(me(), b"Subject: storm", count=20)
    wait_until_left(daemonless)
    text = daemonless.mailbox(me())
    assert [text.count(b"Subject: storm %d." % number) for number in range(20)] == [1] * 20
    assert daemonless.count() == 0


def test_what_cannot_be_delivered_waits_until_sendmail_q_and_that_returns_when_it_is_over(daemonless):
    with SmtpSink() as sink:
        port = sink.port
    daemonless.configure(relayhost=f"[127.0.0.1]:{port}")
    done = daemonless.run("sendmail", "-odi", "someone@far.test", input=b"Subject: far\n\nhello\n", check=True)
    assert b": someone@far.test: deferred: connect to 127.0.0.1[127.0.0.1]" in done.stderr
    wait_until_left(daemonless)
    assert daemonless.count() == 1
    with SmtpSink(port=port) as sink:
        daemonless.run("sendmail", "-q", check=True)
        assert len(sink.messages) == 1
    assert not daemonless.master_pid() and daemonless.count() == 0


@pytest.mark.parametrize(
    "words", ["mailctl flush -d far.test", "mailctl queue flush -d far.test", "sendmail -qRfar.test"]
)
def test_what_is_named_is_tried_before_the_command_returns_though_others_are_about_to_leave(daemonless, words):
    with SmtpSink() as sink:
        port = sink.port
    daemonless.configure(relayhost=f"[127.0.0.1]:{port}")
    for domain in ("far.test", "other.test"):
        daemonless.run("sendmail", "-odi", f"someone@{domain}", input=b"Subject: far\n\nhello\n", check=True)
    wait_until_left(daemonless)  # the first ones: those of the second message begin now
    with SmtpSink(port=port) as sink:
        command, *rest = words.split()
        done = daemonless.run(command, *(["-c", daemonless.path] if command == "mailctl" else []), *rest, check=True)
        assert [m.recipients for m in sink.messages] == [["<someone@far.test>"]]
    assert done.stdout == (b"flush: 1 message\n" if command == "mailctl" else b"")
    assert not daemonless.master_pid() and daemonless.count() == 1


def test_with_odi_a_delivery_is_over_when_sendmail_returns(daemonless):
    done = daemonless.run("sendmail", "-odi", me(), input=b"Subject: at once\n\nhello\n", check=True)
    assert b"Subject: at once" in daemonless.mailbox(me()) and done.stderr == b""


def test_queue_only_mail_starts_nothing(daemonless):
    daemonless.submit(b"Subject: later\n\nhello\n", "-odq", me())
    assert not daemonless.master_pid() and daemonless.count() == 1
    daemonless.run("sendmail", "-q", check=True)
    assert b"Subject: later" in daemonless.mailbox(me())


def test_a_session_on_standard_input_is_delivered_too(daemonless):
    path = f"<{me()}@here.test>"
    lines = ["HELO x", f"MAIL FROM:{path}", f"RCPT TO:{path}", "DATA", "Subject: bs", "", "x", ".", "QUIT", ""]
    daemonless.run("sendmail", "-bs", input="\r\n".join(lines).encode(), check=True)
    daemonless.wait_for_mail(me(), b"Subject: bs")


def test_beside_services_that_stay_nothing_is_started_and_sendmail_q_asks_them(daemonless):
    daemonless.start()
    daemonless.submit(b"Subject: usual\n\nhello\n", me())
    daemonless.wait_for_mail(me(), b"Subject: usual")
    daemonless.run("sendmail", "-q", check=True)
    assert not (daemonless.path / "run" / "once").exists()
    time.sleep(1.5)
    assert daemonless.master_pid()
