"""The smtp agent logs in by OAuth: tokens that are got, renewed and refused, and servers of tokens that fail."""

import time
from dataclasses import replace

import pytest

from sendmail_py.core.result import Outcome
from sendmail_py.formats.oauth import Account
from sendmail_py.spool.token_store import TokenStore
from tests.integration.agent_harness import LIMIT, AgentProcess
from tests.integration.instance import wait_until
from tests.servers.certificates import Authority
from tests.servers.oauth_server import CLIENT, SECRET, USER, OAuthServer
from tests.servers.secure_sink import SecureSink

SENT, DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).certificate("127.0.0.1")


class Place:
    """A token server, a server that takes its tokens, and an agent with a login there."""

    def __init__(self, tmp_path, certificate, **how):
        self.tmp_path = tmp_path
        self.oauth = OAuthServer(rotation="strict", **how)
        self.sink = SecureSink(certificate, tokens=self.user_of, mechanisms="PLAIN XOAUTH2 OAUTHBEARER")
        (tmp_path / "data").mkdir()
        (tmp_path / "data/oauth").mkdir(mode=0o700)
        self.store = TokenStore(str(tmp_path / "data/oauth"))
        self.put()

    def user_of(self, token):
        user, end = self.oauth.access.get(token, ("", 0))
        return user if time.time() < end else ""

    def put(self, **more):
        """Put a login into the store, as mailctl does."""
        given = {"provider": "test", "address": USER, "grant": "refresh_token", "token_url": self.oauth.url("/token")}
        given |= {"client_id": CLIENT, "client_secret": SECRET, "refresh_token": self.oauth.new_refresh()}
        return self.store.save(Account(**given | more))

    def __enter__(self):
        self.oauth.__enter__()
        self.sink.__enter__()
        self.hop = f"[127.0.0.1]:{self.sink.port}"
        passwords = self.tmp_path / "sasl_passwd"
        passwords.write_text(f"{self.hop} {USER}:oauth:test\n")
        passwords.chmod(0o600)
        self.passwords = passwords
        (self.tmp_path / "queue").mkdir()
        self.agent = None
        return self

    def start(self, **settings):
        given = {
            "relayhost": self.hop,
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"hash:{self.passwords}",
            "data_directory": str(self.tmp_path / "data"),
            "queue_directory": str(self.tmp_path / "queue"),
            "smtp_connection_cache_time_limit": "0",
            "smtp_permit_loopback_mx": "yes",
        }
        self.agent = AgentProcess(self.tmp_path, myhostname="client.test", **given | settings).__enter__()
        return self.agent

    def __exit__(self, *_):
        if self.agent:
            self.agent.__exit__()
            log = self.agent.log()
            assert " error: " not in log
            assert not [secret for secret in self.oauth.secrets if secret in log]
        self.sink.__exit__()
        self.oauth.__exit__()


@pytest.fixture
def place(tmp_path, certificate):
    with Place(tmp_path, certificate) as place:
        yield place


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_mail_goes_with_a_token_that_is_got_when_it_is_needed_and_kept(mechanism, place):
    place.sink.mechanisms = f"PLAIN LOGIN {mechanism}"
    agent = place.start()
    assert [agent.result(place.hop).outcome for _ in range(3)] == [SENT] * 3
    assert [(how, user) for how, user, _ in place.sink.attempts] == [(mechanism, USER)] * 3
    assert len(place.oauth.asked) == 1


def test_a_token_that_the_server_no_longer_takes_is_renewed_in_the_same_session(place):
    agent = place.start()
    assert agent.result(place.hop).outcome is SENT
    place.oauth.end_access()
    kept = place.store.load("test", USER)
    place.store.save(replace(kept, obtained_at=kept.obtained_at - 100))
    assert agent.result(place.hop).outcome is SENT
    assert (len(place.oauth.asked), place.sink.connections) == (2, 2)


def test_a_token_that_is_never_taken_is_not_asked_for_again_and_again(place):
    place.sink.tokens = lambda token: ""
    agent = place.start()
    results = [agent.result(place.hop) for _ in range(3)]
    assert {(r.outcome, r.status) for r in results} == {(DEFERRED, "4.7.8")}
    assert "535 5.7.8 Error: the token is not good (invalid_token) (user user@example.org)" in results[0].reason
    assert (len(place.oauth.asked), len(place.sink.attempts)) == (1, 1)


def test_a_server_that_takes_no_tokens_is_sent_none(place):
    place.sink.mechanisms = "PLAIN LOGIN"
    agent = place.start()
    assert "offers no mechanism known here for an access token: PLAIN LOGIN" in agent.result(place.hop).reason
    assert place.sink.attempts == []


def test_a_token_does_not_go_in_clear(tmp_path, certificate):
    with Place(tmp_path, certificate) as place:
        place.sink.starttls, place.sink.clear_auth = False, True
        agent = place.start()
        assert "smtp_sasl_security_options forbids to tell host" in agent.result(place.hop).reason
        assert place.sink.attempts == []


def test_without_a_login_the_mail_waits_and_the_line_says_what_to_do(place):
    place.store.remove("test", USER)
    agent = place.start()
    result = agent.result(place.hop)
    assert (result.outcome, result.status) == (DEFERRED, "4.7.0")
    assert f"nobody has logged in: `mailctl oauth login test {USER}` does it" in result.reason
    place.put()
    assert agent.result(place.hop).outcome is SENT  # at once: the login is new


def test_a_token_server_that_is_down_makes_the_mail_wait_and_is_not_asked_again_at_once(place):
    place.oauth.answers.append((503, "{}"))
    agent = place.start()
    results = [agent.result(place.hop) for _ in range(2)]
    assert {r.outcome for r in results} == {DEFERRED}
    assert "the token server has trouble: it answered 503" in results[0].reason
    assert len(place.oauth.asked) == 1


def test_a_slow_token_server_holds_up_no_other_mail(tmp_path, certificate):
    with Place(tmp_path, certificate) as place, SecureSink(certificate) as other:
        place.oauth.delay = 3
        agent = place.start()
        slow = agent.give(place.hop, agent.delivery())
        assert agent.result(f"[127.0.0.1]:{other.port}").outcome is SENT
        assert place.sink.messages == []
        assert agent.results(slow)[0, 0].outcome is SENT


def test_many_sessions_and_two_agents_ask_once(place, tmp_path):
    place.oauth.delay = 0.5
    agent = place.start(smtp_sender_dependent_authentication="yes")
    batches = [agent.give(place.hop, agent.delivery(sender=f"u{n}@example.org")) for n in range(8)]
    (tmp_path / "second").mkdir()
    settings = {
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"hash:{place.passwords}",
        "data_directory": str(tmp_path / "data"),
        "smtp_permit_loopback_mx": "yes",
    }
    with AgentProcess(tmp_path / "second", myhostname="client.test", **settings) as second:
        assert second.result(place.hop).outcome is SENT
    assert {agent.results(batch)[0, 0].outcome for batch in batches} == {SENT}
    assert len(place.oauth.asked) == 1


def test_an_agent_that_waits_for_a_token_stops_in_time(place):
    place.oauth.delay = 2 * LIMIT
    agent = place.start(stop_timeout="1s")
    agent.give(place.hop, agent.delivery())
    wait_until(lambda: place.sink.commands, "a session")
    agent.tell("stop")
    assert agent.ended() == 0
