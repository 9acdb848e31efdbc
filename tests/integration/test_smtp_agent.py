"""The smtp agent as a real process, against a real little server."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "servers"))

from agent_harness import AgentProcess
from smtp_sink import EHLO, SmtpSink

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Recipient
from sendmail_py.core.result import Outcome
from tests.servers.ports import free_port

SENT, DEFERRED, FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED


@pytest.fixture
def start(tmp_path):
    """Start agents for the sink of a test: start(sink, parameter=...)."""
    running = []

    def begin(sink, **settings):
        settings.setdefault("relayhost", f"[127.0.0.1]:{sink.port}")
        agent = AgentProcess(tmp_path, myhostname="client.test", **settings)
        running.append(agent.__enter__())
        return agent, settings["relayhost"]

    yield begin
    for agent in running:
        agent.__exit__()


def test_a_message_arrives_with_its_envelope_and_content(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        result = agent.result(hop, content=b"Subject: x\n\n.dot\nno end")
        assert (result.outcome, result.status) == (SENT, "2.0.0")
        assert result.relay == f"127.0.0.1[127.0.0.1]:{sink.port}"
        assert sink.messages[0].content == b"Subject: x\r\n\r\n.dot\r\nno end\r\n"
        assert sink.messages[0].sender.startswith("<alice@example.org>")
        assert sink.messages[0].recipients == ["<bob@example.test>"]
        assert "EHLO client.test" in sink.commands
        assert "status=sent (250 2.0.0 Ok: queued)" in agent.log()


def test_messages_of_a_batch_share_a_connection_and_a_segment(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        results = agent.send(hop, *(agent.delivery(content=b"n: %d\n\n" % n) for n in range(10)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert sink.connections == 1
        assert [m.content for m in sink.messages] == [b"n: %d\r\n\r\n" % n for n in range(10)]
        assert any(b"\r\n.\r\nMAIL FROM:" in s and s.endswith(b"DATA\r\n") for s in sink.segments)
        assert sink.commands.count("RSET") == 0


def test_the_next_batch_reuses_the_connection(start):
    with SmtpSink() as sink:
        agent, hop = start(sink, smtp_connection_cache_time_limit="30s")
        assert [agent.result(hop).outcome for _ in range(3)] == [SENT] * 3
        assert sink.connections == 1


def test_a_connection_is_given_up_after_its_reuse_limit(start):
    with SmtpSink() as sink:
        agent, hop = start(sink, smtp_connection_reuse_count_limit=2)
        results = agent.send(hop, *(agent.delivery() for _ in range(5)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert (sink.connections, len(sink.messages)) == (3, 5)


def test_a_kept_connection_that_the_server_closed_costs_nothing(start):
    with SmtpSink(replies={"DOT": "250 2.0.0 Ok DROP"}) as sink:
        agent, hop = start(sink, smtp_connection_cache_time_limit="30s")
        assert [agent.result(hop).outcome for _ in range(3)] == [SENT] * 3
        assert len(sink.messages) == 3


def test_a_server_that_ends_each_session_with_421_gets_a_new_one(start):
    with SmtpSink(replies={"MAIL": ["NORMAL", "421 4.7.0 enough DROP"] * 3 + ["NORMAL"]}) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, *(agent.delivery() for _ in range(4)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert len(sink.messages) == 4


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [("450 4.2.0 later", DEFERRED), ("550 5.7.1 never", FAILED), ("650 what", DEFERRED), ("391 what", DEFERRED)],
)
def test_a_refusal_counts_for_what_it_answers(start, pipelining, verb, reply, outcome):
    ehlo = EHLO if pipelining else ["sink.test"]
    with SmtpSink(replies={verb: [reply, "NORMAL"]}, ehlo=ehlo) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(), agent.delivery())
        assert results[0, 0].outcome is outcome
        if reply[0] in "45":
            assert results[0, 0].status == reply[4:9]
            assert results[0, 0].diagnostic == f"smtp; {reply}"
            assert f"said: {reply} (in reply to" in results[0, 0].reason
            assert results[1, 0].outcome is SENT


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
def test_a_dropped_connection_defers_and_says_when(start, pipelining, verb):
    with SmtpSink(replies={verb: "DROP"}, ehlo=EHLO if pipelining else ["sink.test"]) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
        doing = {
            "CONNECT": "receiving the initial server greeting",
            "EHLO": "performing the EHLO handshake",
            "DOT": "sending end of data -- message may be sent more than once",
            "MAIL": "sending MAIL FROM",
            "RCPT": "sending RCPT TO",
            "DATA": "sending DATA command",
        }[verb]
        if not pipelining or verb in ("CONNECT", "EHLO", "DOT"):
            assert result.reason == f"lost connection with 127.0.0.1[127.0.0.1] while {doing}"


@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "454 4.3.0 not now", "554 5.3.2 no service"])
@pytest.mark.parametrize("verb", ["CONNECT", "HELO"])
def test_a_host_that_refuses_to_talk_defers(start, verb, reply):
    with SmtpSink(replies={verb: reply, "EHLO": "502 5.5.1 what"} if verb == "HELO" else {verb: reply}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4" + reply[5:9])
        assert result.reason.endswith(f"refused to talk to me: {reply}")


def test_helo_is_said_when_ehlo_is_unknown(start):
    with SmtpSink(replies={"EHLO": "500 5.5.1 what?"}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is SENT
        assert "HELO client.test" in sink.commands
        assert sink.messages[0].sender == "<alice@example.org>"


def test_each_recipient_gets_its_own_answer(start):
    replies = {"RCPT b@x.test": "550 5.1.1 unknown", "RCPT c@x.test": "450 4.2.1 busy"}
    with SmtpSink(replies=replies) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(to=["a@x.test", "b@x.test", "c@x.test", "d@x.test"]))
        assert [results[0, i].outcome for i in range(4)] == [SENT, FAILED, DEFERRED, SENT]
        assert results[0, 1].status == "5.1.1"
        assert sink.messages[0].recipients == ["<a@x.test>", "<d@x.test>"]


def test_no_accepted_recipient_and_354_gets_a_lone_dot(start):
    with SmtpSink(replies={"RCPT": ["550 5.1.1 unknown", "NORMAL"], "DATA": "354 go on"}) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(), agent.delivery())
        assert results[0, 0].outcome is FAILED
        assert results[1, 0].outcome is SENT
        assert len(sink.messages) == 1


def test_421_to_one_recipient_leaves_the_message_for_later(start):
    with SmtpSink(replies={"RCPT b@x.test": "421 4.3.2 closing DROP"}) as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(to=["a@x.test", "b@x.test"]))
        assert [results[0, i].outcome for i in range(2)] == [DEFERRED, DEFERRED]
        assert not sink.messages


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "DOT"])
@pytest.mark.parametrize("rude", ["ENDLESS", "CHATTER", "hello there", "250-x\n" * 60 + "250 x"])
def test_replies_without_sense_or_end_defer(start, verb, rude):
    with SmtpSink(replies={verb: rude}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is DEFERRED
        assert agent.rss() < 100e6


@pytest.mark.parametrize(
    ("verb", "parameter"),
    [
        ("CONNECT", "smtp_helo_timeout"),
        ("MAIL", "smtp_mail_timeout"),
        ("RCPT", "smtp_rcpt_timeout"),
        ("DATA", "smtp_data_init_timeout"),
        ("DOT", "smtp_data_done_timeout"),
    ],
)
def test_a_silent_server_times_out(start, verb, parameter):
    with SmtpSink(replies={verb: "SILENT"}, ehlo=["sink.test"]) as sink:
        agent, hop = start(sink, **{parameter: "1s"})
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
        assert "timed out while" in result.reason
        assert ("more than once" in result.reason) == (verb == "DOT")


def test_a_success_before_the_final_dot_is_no_success(start):
    with SmtpSink(replies={"DATA": "354 go\n250 2.0.0 done already"}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is DEFERRED


def test_a_reply_too_many_does_not_shift_the_answers(start):
    with SmtpSink(replies={"RCPT": "550 5.1.1 unknown\n250 2.0.0 ok\n250 2.0.0 ok"}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is FAILED
        assert agent.result(hop).outcome is FAILED


def test_control_characters_of_a_reply_stay_outside(start):
    with SmtpSink(replies={"RCPT": "550 5.1.1 a\x1b[31mb\x00c\rd"}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert result.diagnostic == "smtp; 550 5.1.1 a[31mbcd"
        assert result.outcome is FAILED


def test_a_message_over_the_announced_size_fails_unsent(start):
    with SmtpSink(ehlo=["sink.test", "SIZE 100"]) as sink:
        agent, hop = start(sink)
        result = agent.result(hop, content=b"x" * 101)
        assert (result.outcome, result.status) == (FAILED, "5.3.4")
        assert not any(c.startswith("MAIL") for c in sink.commands)


@pytest.mark.parametrize("address", ["b\u00f6b@example.test", "bob@ex\u00e4mple.test"])
def test_an_address_that_needs_smtputf8_fails_where_it_is_not_offered(start, address):
    with SmtpSink(ehlo=["sink.test", "PIPELINING"]) as sink:
        agent, hop = start(sink)
        results = agent.send(
            hop, agent.delivery(to=[address, "ascii@example.test"], content="Subject: \u00e4\n\n".encode())
        )
        assert (results[0, 0].outcome, results[0, 0].status) == (FAILED, "5.6.7")
        assert results[0, 1].outcome is SENT


def test_smtputf8_and_8bitmime_and_size_are_declared_where_offered(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        agent.send(
            hop, agent.delivery(to=["b\u00f6b@example.test"], body="8BITMIME", smtputf8=True, content=b"\xc3\xa4\n")
        )
        assert sink.messages[0].sender == "<alice@example.org> SIZE=3 BODY=8BITMIME SMTPUTF8"


def test_dsn_wishes_go_on_where_dsn_is_offered(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        to = Recipient(Address.parse("bob@x.test"), "rfc822;b+2Bb+3D@x.test", ("SUCCESS", "FAILURE"))
        agent.send(hop, agent.delivery(to=[to], envid="id+201", ret="HDRS"))
        assert sink.messages[0].sender.endswith("RET=HDRS ENVID=id+201")
        assert sink.messages[0].recipients == ["<bob@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bb+3D@x.test"]


@pytest.mark.parametrize("address", ["bob@x.test> SIZE=1", "a\tb@x.test", "bob@x.test\x7f"])
def test_an_address_that_would_add_to_the_command_fails(start, address):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        local_part, _, domain = address.partition("@")
        results = agent.send(hop, agent.delivery(to=[Recipient(Address(local_part, domain)), "ok@x.test"]))
        assert [results[0, 0].outcome, results[0, 1].outcome] == [FAILED, SENT]


def test_a_refused_connection_defers_with_its_reason(start, tmp_path):
    with SmtpSink() as sink:
        port = free_port()
        agent, hop = start(sink, relayhost=f"[127.0.0.1]:{port}")
        result = agent.result(hop)
        assert (result.outcome, result.status, result.relay) == (DEFERRED, "4.4.1", "none")
        assert result.reason == f"connect to 127.0.0.1[127.0.0.1]:{port}: Connection refused"
        assert f"]: {result.reason}\n" in agent.log()


def test_a_torn_queue_file_never_gets_its_dot(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        results = agent.send(hop, agent.delivery(size=1000), agent.delivery())
        assert (results[0, 0].outcome, results[0, 0].status) == (DEFERRED, "4.3.0")
        assert all(m.content == b"Subject: x\r\n\r\nhello\r\n" for m in sink.messages)
        assert len(sink.messages) <= 1


def test_a_large_message_passes_in_little_memory_even_to_a_slow_reader(start):
    with SmtpSink(keep_content=False, read_pause=0.001) as sink:
        agent, hop = start(sink)
        agent.result(hop)
        before = agent.rss()
        assert agent.result(hop, content=b"0123456789" * 7 + b"\n" + (b"a line of text\n" * 1_400_000)).outcome is SENT
        assert sink.octets > 20_000_000
        assert agent.rss() - before < 8_000_000


def test_a_refusal_in_the_midst_of_the_content_counts(start):
    with SmtpSink(replies={"DATA": "354 go\n552 5.3.4 too much"}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop, content=b"a line of text\n" * 100_000)
        assert (result.outcome, result.status) == (FAILED, "5.3.4")


def test_a_server_that_stops_reading_times_out(start):
    with SmtpSink(read_pause=20) as sink:
        agent, hop = start(sink, smtp_data_xfer_timeout="1s")
        result = agent.result(hop, content=b"a line of text\n" * 2_000_000)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
        assert result.reason.endswith("timed out while sending message body")


def test_many_batches_run_at_once(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        numbers = [agent.give(hop, *(agent.delivery() for _ in range(5))) for _ in range(20)]
        assert {r.outcome for n in numbers for r in agent.results(n).values()} == {SENT}
        assert len(sink.messages) == 100


def test_an_idle_agent_leaves(start):
    with SmtpSink() as sink:
        agent, hop = start(sink, max_idle="1s")
        assert agent.result(hop).outcome is SENT
        assert agent.ended() == 0


def test_a_reload_finishes_the_batches_and_leaves(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        number = agent.give(hop, *(agent.delivery() for _ in range(30)))
        agent.tell("reload")
        assert {r.outcome for r in agent.results(number).values()} == {SENT}
        assert agent.ended() == 0


def test_batches_that_had_come_before_a_reload_are_delivered(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        numbers = [agent.give(hop, agent.delivery()) for _ in range(20)]
        agent.tell("reload")
        assert {agent.results(n)[0, 0].outcome for n in numbers} == {SENT}
        assert agent.ended() == 0
        assert len(sink.messages) == 20


def test_a_stop_is_bounded_and_leaves_the_unfinished_without_result(start):
    with SmtpSink(replies={"DOT": ["NORMAL", "SILENT"]}) as sink:
        agent, hop = start(sink, stop_timeout="1s", smtp_quit_timeout="1s")
        agent.give(hop, agent.delivery(), agent.delivery(), agent.delivery())
        assert agent.is_readable(10)
        agent.tell("stop")
        assert agent.ended() == 0
        assert len(sink.messages) <= 2


def test_the_agent_ends_when_qmgr_is_gone(start):
    with SmtpSink() as sink:
        agent, _ = start(sink)
        agent.channel.close()
        assert agent.ended() == 0


def test_the_agent_ends_when_master_is_gone(start):
    with SmtpSink() as sink:
        agent, _ = start(sink)
        agent.lifeline.close()
        assert agent.ended() == 0
