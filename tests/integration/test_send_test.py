"""mailctl send-test: a message is followed to the end of its first attempt, and what came of it is explained."""

import pytest

from tests.integration.instance import Instance, me
from tests.servers.smtp_sink import SmtpSink


@pytest.fixture
def instance(tmp_path):
    with Instance(tmp_path / "i", relayhost="[127.0.0.1]:9") as instance:
        yield instance


def send_test(instance, *words):
    done = instance.mailctl("send-test", *words)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def test_a_message_that_arrives_is_shown_on_its_way(instance):
    instance.start()
    status, text = send_test(instance, me())
    assert status == 0
    assert f"delivered: <{me()}@here.test> by local: delivered to mailbox" in text
    assert "pickup" in text and "qmgr" in text and "Test of sendmail-py on" in instance.mailbox(me()).decode()


def test_what_waits_and_what_is_refused_is_explained(instance):
    instance.start()
    status, text = send_test(instance, "someone@far.test")
    assert status == 75
    assert "waits: <someone@far.test>: 4.4.1" in text and "No server could be reached" in text
    status, text = send_test(instance, "nobody-of-this-name", "--sender", me())
    assert status == 1
    assert "refused: <nobody-of-this-name@here.test>: 5.1.1" in text and "There is no such mailbox." in text


def test_the_words_of_the_other_side_are_shown_with_the_sender_that_was_asked_for(instance):
    with SmtpSink({"RCPT": "550 5.7.26 this host has no name"}) as sink:
        instance.configure(relayhost=f"[127.0.0.1]:{sink.port}")
        instance.start()
        status, text = send_test(instance, "a@far.test", "-f", "sender@own.test")
    assert status == 1
    assert "5.7.26 this host has no name" in text and "looks at this host's DNS" in text
    assert any("sender@own.test" in command for command in sink.commands)


def test_without_services_the_message_waits_and_that_is_said(instance):
    status, text = send_test(instance, me())
    assert status == 75 and "not running" in text and "No attempt has been made yet" in text
    assert instance.count() == 1
