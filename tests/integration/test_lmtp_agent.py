"""The lmtp agent as a real process, against a little mail store; and an instance whose mailboxes are in one."""

import os
import tempfile

import pytest

from sendmail_py.core.result import Handover, Outcome
from tests.integration.agent_harness import AgentProcess
from tests.integration.instance import DOMAIN, Instance, me
from tests.servers.ports import free_port
from tests.servers.smtp_sink import SmtpSink

SENT, DEFERRED, FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED


@pytest.fixture
def path():
    """A path that a Unix socket can have, which tmp_path may be too long for."""
    with tempfile.TemporaryDirectory(prefix="lmtp") as directory:
        os.chmod(directory, 0o755)
        yield f"{directory}/socket"


@pytest.fixture
def agent(tmp_path):
    with AgentProcess(tmp_path, "lmtp", myhostname="client.test") as agent:
        yield agent


def test_a_message_arrives_over_a_unix_socket(agent, path):
    with SmtpSink(lmtp=True, path=path) as store:
        result = agent.result(f"unix:{path}", content=b"Subject: x\n\n.dot\nno end")
        assert (result.outcome, result.status) == (SENT, "2.0.0")
        assert result.relay == f"client.test[{path}]"
        assert store.commands[0] == "LHLO client.test"
        assert store.messages[0].content == b"Subject: x\r\n\r\n.dot\r\nno end\r\n"
        assert f"relay=client.test[{path}], " in agent.log()


@pytest.mark.parametrize("form", ["inet:127.0.0.1:{}", "[127.0.0.1]:{}", "127.0.0.1:{}", "inet:[127.0.0.1]:{}"])
def test_a_message_arrives_over_tcp_and_no_mx_is_asked_for(agent, form):
    with SmtpSink(lmtp=True) as store:
        assert agent.result(form.format(store.port)).outcome is SENT
        assert len(store.messages) == 1


def test_each_recipient_has_a_result_of_its_own(agent, path):
    replies = {"RCPT c@x": "550 5.1.1 who?", "DOT d@x": "452 4.2.2 over quota", "DOT e@x": "550 5.7.1 not this"}
    with SmtpSink(replies, lmtp=True, path=path) as store:
        delivery = agent.delivery(to=("b@x", "c@x", "d@x", "e@x", "f@x"))
        results = agent.send(f"unix:{path}", delivery, agent.delivery(to=("b@x",)))
        got = [(results[0, i].outcome, results[0, i].status) for i in range(5)]
        wanted = [(SENT, "2.0.0"), (FAILED, "5.1.1"), (DEFERRED, "4.2.2"), (FAILED, "5.7.1"), (SENT, "2.0.0")]
        assert got == wanted
        assert results[1, 0].outcome is SENT
        assert f"host client.test[{path}] said: 550 5.7.1 not this" in results[0, 3].reason
        assert (len(store.messages), store.connections) == (2, 1)


@pytest.mark.parametrize(("announced", "handover"), [([], Handover.FINAL), (["DSN"], Handover.ENTRUSTED)])
def test_a_store_is_the_end_of_the_way_unless_it_reports_itself(agent, path, announced, handover):
    with SmtpSink(lmtp=True, path=path, ehlo=["store.test", "PIPELINING", *announced]):
        assert agent.result(f"unix:{path}").handover is handover


@pytest.mark.parametrize("replies", [{"LHLO": "500 what?"}, {"CONNECT": "421 full"}, {"DOT": "421 4.3.0 gone"}])
def test_a_store_in_trouble_makes_mail_wait(agent, path, replies):
    with SmtpSink(replies, lmtp=True, path=path) as store:
        assert agent.result(f"unix:{path}", to=("b@x", "c@x")).outcome is DEFERRED
        assert not [command for command in store.commands if command.startswith(("EHLO", "HELO"))]


def test_a_break_between_two_replies_repeats_nobody_who_has_the_message(agent, path):
    with SmtpSink({"DOT c@x": "DROP"}, lmtp=True, path=path):
        results = agent.send(f"unix:{path}", agent.delivery(to=("b@x", "c@x", "d@x")))
        assert [results[0, i].outcome for i in range(3)] == [SENT, DEFERRED, DEFERRED]
        assert "may be sent more than once" in results[0, 1].reason


def test_a_store_that_is_not_there_makes_mail_wait(agent, path):
    result = agent.result(f"unix:{path}")
    assert (result.outcome, result.status) == (DEFERRED, "4.4.1")
    assert result.reason == f"connect to client.test[{path}]: No such file or directory"
    assert agent.result(f"inet:127.0.0.1:{free_port()}").outcome is DEFERRED
    assert agent.result("unix:relative").status == "4.3.5"


def test_a_verification_ends_before_the_content(agent, path):
    with SmtpSink({"RCPT c@x": "550 5.1.1 who?"}, lmtp=True, path=path) as store:
        results = agent.send(f"unix:{path}", agent.delivery(to=("b@x", "c@x"), verify=True))
        assert [results[0, i].outcome for i in range(2)] == [SENT, FAILED]
        assert not store.messages and "DATA" not in store.commands


def test_mailbox_transport_has_the_mail_of_all_mailboxes_after_aliases(tmp_path, path):
    with SmtpSink({f"RCPT nobody-there@{DOMAIN}": "550 5.1.1 no such box"}, lmtp=True, path=path) as store:
        os.chmod(path, 0o666)
        with Instance(tmp_path / "i", mailbox_transport=f"lmtp:unix:{path}", recipient_delimiter="+") as instance:
            (instance.path / "aliases").write_text(f"team: {me()}, store-only\n")
            instance.start()
            instance.submit(b"Subject: to the store\n\nx\n", "team", f"{me()}+box")
            instance.submit(b"Subject: to nobody\n\nx\n", "-f", "store-only", "nobody-there")
            instance.wait_empty()
        got = {
            recipient.partition(">")[0] + ">"
            for message in store.messages
            if b"Subject: to the store" in message.content
            for recipient in message.recipients
        }
        assert got == {f"<{name}@{DOMAIN}>" for name in (me(), "store-only", f"{me()}+box")}
        assert any(b"no such box" in m.content and m.recipients[0].startswith("<store-only@") for m in store.messages)
        assert not instance.mailbox(me())
