"""One session of the SMTP server whose server has a defect: its client is told, and let go."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.routing.resolve import Routing
from sendmail_py.services.smtpd_rules import smtpd_rules
from sendmail_py.services.smtpd_session import Session


class Defective:
    """An entrance that falls over whatever is asked of the world: at once, or when it is waited for."""

    def __init__(self, at_once: bool) -> None:
        self.config = Config({"myhostname": Setting("mx.example.org", "test"), "myorigin": Setting("x.test", "test")})
        self.rules = smtpd_rules(self.config, Routing(self.config))
        self.keywords = SimpleNamespace(discarded=lambda found: frozenset(), maps=None)
        known = self._fall_over if at_once else lambda address: None
        self.world = SimpleNamespace(known_names=known, client_names=self._fall_over_later)
        self.log = SimpleNamespace(info=lambda line: None, error=lambda line: self.errors.append(line))
        self.errors: list[str] = []
        self.here: set[Session] = set()
        self.starts_with_tls, self.logins = False, None

    def _fall_over(self, address: str) -> None:
        raise KeyError(address)

    async def _fall_over_later(self, address: str) -> None:
        self._fall_over(address)

    def now(self) -> Config:
        return self.config

    def timeout(self) -> float:
        return 300.0

    def transcript(self) -> None:
        return None

    def extensions(self, is_secure: bool) -> dict[str, str]:
        return {}

    def enter(self, session: Session, client: object) -> None:
        self.here.add(session)

    def left(self, session: Session, client: object) -> None:
        self.here.discard(session)


async def said_by(entrance: Any) -> bytes:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Session(entrance), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        said = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        while entrance.here:
            await asyncio.sleep(0.01)
    return said


@pytest.mark.parametrize("at_once", [True, False])
def test_a_defect_while_an_answer_is_found_lets_the_client_go_instead_of_having_it_wait_for_good(at_once) -> None:
    entrance = Defective(at_once)
    assert asyncio.run(said_by(entrance)) == b"421 4.3.0 Error: server local data error\r\n"
    assert entrance.errors == ["after CONNECT from unknown[127.0.0.1]: KeyError: '127.0.0.1'"]
