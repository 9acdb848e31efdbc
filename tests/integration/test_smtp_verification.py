"""What the smtp agent asks a server when nothing is to be delivered, and what it says of success reports."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import Handover, Outcome
from tests.integration.agent_harness import AgentProcess
from tests.servers.smtp_sink import EHLO, SmtpSink

WITHOUT_DSN = [word for word in EHLO if word != "DSN"]


@pytest.fixture
def start(tmp_path):
    """Start an agent for a sink; returns it with its nexthop."""
    running = []

    def begin(sink):
        hop = f"[127.0.0.1]:{sink.port}"
        running.append(AgentProcess(tmp_path, myhostname="client.test", relayhost=hop).__enter__())
        return running[-1], hop

    yield begin
    for agent in running:
        agent.__exit__()


@pytest.mark.parametrize("ehlo", [EHLO, ["sink.test"]], ids=["pipelining", "one by one"])
def test_a_verification_asks_for_each_recipient_and_never_says_data(start, ehlo):
    with SmtpSink(replies={"RCPT b@x.test": "550 5.1.1 unknown", "RCPT c@x.test": "450 4.2.1 busy"}, ehlo=ehlo) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(to=["a@x.test", "b@x.test", "c@x.test"], verify=True))
        outcomes = [(results[0, i].outcome, results[0, i].status) for i in range(3)]
        assert outcomes == [(Outcome.DELIVERED, "2.1.5"), (Outcome.FAILED, "5.1.1"), (Outcome.DEFERRED, "4.2.1")]
        assert "DATA" not in sink.commands and sink.commands.count("RSET") == 1 and sink.messages == []
        assert "status=deliverable (250 2.1.5 Ok)" in agent.log()
        assert agent.log().count("status=undeliverable (") == 2
        assert "status=sent" not in agent.log()


@pytest.mark.parametrize("ehlo", [EHLO, ["sink.test"]], ids=["pipelining", "one by one"])
def test_deliveries_before_and_after_a_verification_are_made(start, ehlo):
    with SmtpSink(ehlo=ehlo) as sink:
        agent, hop = start(sink)
        results = agent.send(
            hop,
            agent.delivery(content=b"n: 1\n\n"),
            agent.delivery(content=b"n: 2\n\n", verify=True),
            agent.delivery(content=b"n: 3\n\n", verify=True),
            agent.delivery(content=b"n: 4\n\n"),
        )
        assert {result.outcome for result in results.values()} == {Outcome.DELIVERED}
        assert [message.content for message in sink.messages] == [b"n: 1\r\n\r\n", b"n: 4\r\n\r\n"]
        assert sink.connections == 1


@pytest.mark.parametrize("ehlo", [EHLO, ["sink.test"]], ids=["pipelining", "one by one"])
def test_a_sender_that_is_refused_makes_every_recipient_undeliverable(start, ehlo):
    with SmtpSink(replies={"MAIL": "550 5.7.1 not from you"}, ehlo=ehlo) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(to=["a@x.test", "b@x.test"], verify=True))
        assert [result.status for result in results.values()] == ["5.7.1", "5.7.1"]


@pytest.mark.parametrize(
    ("ehlo", "handover"),
    [(EHLO, Handover.ENTRUSTED), (WITHOUT_DSN, Handover.RELAYED), (["sink.test"], Handover.RELAYED)],
    ids=["with DSN", "without DSN", "without anything"],
)
def test_a_server_that_knows_delivery_reports_is_entrusted_with_them(start, ehlo, handover):
    with SmtpSink(ehlo=ehlo) as sink:
        agent, hop = start(sink)
        result = agent.result(hop, to=[Recipient(Address.parse("bob@x.test"), notify=("SUCCESS",))])
        assert (result.outcome, result.handover) == (Outcome.DELIVERED, handover)
        assert ("NOTIFY=SUCCESS" in sink.messages[0].recipients[0]) == (handover is Handover.ENTRUSTED)
