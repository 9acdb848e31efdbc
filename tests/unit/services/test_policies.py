"""Connections to policy services: kept, renewed, never longer than their time, and an answer only to its question."""

import asyncio

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.syslog import Log
from sendmail_py.services.policies import PolicyClient, policy_service
from tests.integration.instance import wait_until
from tests.servers.policy_server import PolicyServer
from tests.servers.ports import free_port

QUICK = "timeout=60 retry_delay=0"


def client(server, more=""):
    place = f"inet:127.0.0.1:{server.port}"
    return PolicyClient(policy_service(f"{{ {place} {QUICK} {more} }}", Config({})), Log("x", "x", "mail", 2))


def ask(server, *names, more="", between=lambda: None):
    """Ask of each name, one after another; returns the answers."""

    async def run():
        one, said = client(server, more), []
        for name in names:
            said.append(await one.ask({"recipient": name}))
            between()
            await asyncio.sleep(0.02)  # what the server does has come
        one.close()
        return said

    return asyncio.run(run())


def test_a_connection_is_kept():
    with PolicyServer(lambda asked: f"550 {asked['recipient']}") as server:
        assert ask(server, "a", "b", "c") == ["550 a", "550 b", "550 c"]
        assert server.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_made_again():
    with PolicyServer(lambda asked: "OK") as server:
        assert ask(server, "a", "b", between=server.drop_all) == ["OK", "OK"]
        assert (server.connections, len(server.questions)) == (2, 2)


@pytest.mark.parametrize(("more", "connections"), [("request_limit=2", 2), ("max_ttl=0", 3), ("max_idle=0", 3)])
def test_a_connection_is_used_no_more_and_no_longer_than_configured(more, connections):
    with PolicyServer(lambda asked: "OK") as server:
        assert ask(server, "a", "b", "c", more=more) == ["OK"] * 3
        assert server.connections == connections


def test_questions_at_one_time_have_a_connection_each():
    with PolicyServer(lambda asked: f"550 {asked['recipient']}") as server:

        async def run():
            one = client(server)
            said = await asyncio.gather(*(one.ask({"recipient": str(n)}) for n in range(20)))
            one.close()
            return said

        assert asyncio.run(run()) == [f"550 {n}" for n in range(20)]


@pytest.mark.parametrize("said", [None, "DROP", b"noise\n\n", b"action=OK\n\naction=OK\n\n", b"x" * 70000, b"\n\n"])
def test_what_is_no_answer_is_the_default_action_after_every_try(said):
    with PolicyServer(lambda asked: said) as server:
        more = "timeout=1 try_limit=2 { default_action = DEFER_IF_PERMIT later }"
        assert ask(server, "a", more=more) == ["DEFER_IF_PERMIT later"]
        wait_until(lambda: len(server.questions) == 2, "the second try has come")


def test_who_hangs_up_leaves_no_connection_on_which_the_answer_could_reach_another():
    with PolicyServer(lambda asked: None if asked["recipient"] == "slow" else asked["recipient"]) as server:

        async def run():
            one = client(server)
            waiting = asyncio.ensure_future(one.ask({"recipient": "slow"}))
            while not server.questions:
                await asyncio.sleep(0.01)
            waiting.cancel()
            said = await one.ask({"recipient": "OK"})
            one.close()
            return said

        assert asyncio.run(run()) == "OK"
        assert server.connections == 2


def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next_question():
    with PolicyServer(lambda asked: "OK") as server:

        def speak():
            next(iter(server.ends)).sendall(b"action=REJECT\n\n")

        assert ask(server, "a", "b", between=speak) == ["OK", "OK"]


def test_nobody_there_is_the_default_action():
    service = policy_service(f"{{ inet:127.0.0.1:{free_port()} {QUICK} }}", Config({"x": Setting("", "")}))
    one = PolicyClient(service, Log("x", "x", "mail", 2))
    assert asyncio.run(one.ask({})) == "451 4.3.5 Server configuration problem"
