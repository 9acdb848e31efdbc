"""The smtp agent sending content by BDAT (RFC 3030), to servers that know it and to some that only say so."""

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import agents
from tests.servers.smtp_sink import EHLO, SmtpSink

SENT, DEFERRED, FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED
LOCK_STEP = ["sink.test", "CHUNKING"]
PIPELINED = [*EHLO, "CHUNKING"]
LARGE = b"Subject: x\n\n" + b".a line of text that begins with a dot\n" * 20_000
HIDDEN = b"X: x\nMAIL FROM:<root@a.test>\nRCPT TO:<victim@b.test>\nDATA\nSubject: hidden\n\nhidden\n.\nQUIT\n"


@pytest.fixture
def start(tmp_path):
    """Start agents for the sink of a test: start(sink, parameter=...)."""
    with agents(tmp_path) as begin:
        yield begin


def verbs(sink):
    return [command[:4] for command in sink.commands]


@pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINED])
def test_content_comes_as_it_is(start, ehlo):
    contents = [LARGE, HIDDEN, b"x", b"", b"\n", b".\n", b"\r\n.\r\n", b"a\rb", b"x" * 200_000, b"\xff" * 131_073]
    with SmtpSink(ehlo=ehlo) as in_chunks, SmtpSink() as by_data:
        agent, hop = start(in_chunks)
        results = agent.send(hop, *(agent.delivery(content=content) for content in contents * 2))
        assert {r.outcome for r in results.values()} == {SENT}
        agent, other = start(by_data)
        agent.send(other, *(agent.delivery(content=content) for content in contents))
        assert [m.content for m in in_chunks.messages] == [m.content for m in by_data.messages] * 2
        assert verbs(in_chunks).count("DATA") == 2  # the empty ones


@pytest.mark.parametrize("content", [HIDDEN, b"x", b"\n", b"\r\n.\r\n"])
def test_the_first_content_of_a_session_comes_as_it_is(start, content):
    with SmtpSink(ehlo=PIPELINED) as sink:
        agent, hop = start(sink)
        assert agent.result(hop, content=content).outcome is SENT
        assert sink.messages[0].content.replace(b"\r\n", b"\n").rstrip(b"\n") == content.replace(b"\r", b"").rstrip(
            b"\n"
        )


def test_a_message_is_one_segment_once_the_server_has_shown_that_it_knows_chunks(start):
    with SmtpSink(ehlo=PIPELINED) as sink:
        agent, hop = start(sink)
        agent.send(hop, *(agent.delivery() for _ in range(3)))
        sizes = [command for command in sink.commands if command.startswith("BDAT")]
        assert sizes == ["BDAT 1", "BDAT 20 LAST", "BDAT 21 LAST", "BDAT 21 LAST"]
        assert any(s.startswith(b"BDAT 21 LAST\r\nSubject: x") and b"MAIL FROM:" in s for s in sink.segments)


@pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINED])
@pytest.mark.parametrize("reply", ["500 5.5.2 what?", "502 5.5.1 no", "503 5.5.1 no", "504 5.5.4 no"])
def test_a_server_that_does_not_know_what_it_offers_gets_data_and_no_content_as_commands(start, ehlo, reply):
    with SmtpSink(ehlo=ehlo, replies={"BDAT": reply}) as sink:
        agent, hop = start(sink, smtp_connection_cache_time_limit=0)
        results = agent.send(hop, *(agent.delivery(content=HIDDEN) for _ in range(3)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert [m.content for m in sink.messages] == [HIDDEN.replace(b"\n", b"\r\n")] * 3
        assert not [c for c in sink.commands if "root" in c or "victim" in c or c.startswith("X")]
        assert agent.result(hop).outcome is SENT
        assert verbs(sink).count("BDAT") == 1
        assert f"offers CHUNKING, but said: {reply}" in agent.log()


@pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINED])
@pytest.mark.parametrize("when", [{"BDAT": ["%"]}, {"BDAT": ["NORMAL", "%"]}, {"LAST": ["%"]}])
@pytest.mark.parametrize(("reply", "outcome"), [("452 4.3.1 full", DEFERRED), ("552 5.3.4 too much", FAILED)])
def test_a_refused_chunk_is_a_refused_message(start, ehlo, when, reply, outcome):
    replies = {verb: [*(r.replace("%", reply) for r in said), "NORMAL"] for verb, said in when.items()}
    with SmtpSink(ehlo=ehlo, replies=replies) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(content=LARGE), agent.delivery(content=LARGE))
        assert (results[0, 0].outcome, results[0, 0].status) == (outcome, reply[4:9])
        assert results[1, 0].outcome is SENT
        assert (sink.connections, len(sink.messages)) == (1, 1)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({"BDAT": ["DROP"]}, "lost connection with 127.0.0.1[127.0.0.1] while sending"),
        ({"BDAT": ["NORMAL", "DROP"]}, "lost connection with 127.0.0.1[127.0.0.1] while sending"),
        ({"LAST": ["DROP"]}, "sending end of data -- message may be sent more than once"),
        ({"LAST": ["421 4.3.2 closing DROP"]}, "said: 421 4.3.2 closing"),
        ({"BDAT": ["NORMAL", "421 4.3.2 closing DROP"]}, "said: 421 4.3.2 closing"),
        ({"BDAT": ["NORMAL", "hello there"]}, "protocol error"),
        ({"LAST": ["CHATTER"]}, "protocol error"),
    ],
)
def test_a_session_that_breaks_in_a_chunk_defers(start, when, reason):
    with SmtpSink(ehlo=LOCK_STEP, replies=when) as sink:
        agent, hop = start(sink)
        result = agent.result(hop, content=LARGE)
        assert result.outcome is DEFERRED
        assert reason in result.reason


def test_a_torn_file_never_gets_its_last_chunk(start):
    with SmtpSink(ehlo=PIPELINED) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(content=LARGE, size=len(LARGE) + 1), agent.delivery())
        assert (results[0, 0].outcome, results[0, 0].status) == (DEFERRED, "4.3.0")
        assert all(m.content == b"Subject: x\r\n\r\nhello\r\n" for m in sink.messages)


def test_extensions_can_be_left_unused(start):
    with SmtpSink(ehlo=PIPELINED) as sink:
        agent, hop = start(sink, smtp_discard_ehlo_keywords="Chunking, size, 8bitmime")
        assert agent.result(hop, body="8BITMIME").outcome is SENT
        assert "BDAT" not in verbs(sink)
        assert sink.messages[0].sender == "<alice@example.org>"
