"""A session with a filter beside other sessions: nobody else waits for what one message has to tell."""

import asyncio

from sendmail_py.core.config import Config
from sendmail_py.host.syslog import Log
from sendmail_py.services.milter_session import Milter
from sendmail_py.services.service_settings import milter_services
from tests.servers.milter_server import NO_REPLY, MilterServer

FIELDS = 6400


class Message:
    """A message of many fields; told is called when the last one has been said."""

    def __init__(self, told):
        self._told = told

    def fields(self):
        for _ in range(FIELDS):
            yield b"X", b"X: y\n"
        self._told()

    def chunks(self):
        return iter(())

    def begin_changes(self):
        pass

    end_of_changes = undo_changes = begin_changes


def test_many_fields_for_a_filter_that_answers_none_leave_others_their_turns():
    async def run(server):
        turns, at_the_last = [0], []

        async def another_session():
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        (service,) = milter_services([f"inet:127.0.0.1:{server.port}"], Config({}))
        milter = Milter(service, Log("x", "smtpd", "mail", 2), lambda stage, wanted: ())
        await milter.open()
        other = asyncio.ensure_future(another_session())
        verdict = await milter.message(Message(lambda: at_the_last.append(turns[0])))
        other.cancel()
        milter.close()
        return verdict, at_the_last[0]

    with MilterServer(flags=NO_REPLY["L"]) as server:
        verdict, turns = asyncio.run(run(server))
        assert verdict is None and len(server.payloads("L")) == FIELDS
        assert turns >= FIELDS / 100
