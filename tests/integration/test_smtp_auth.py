"""The smtp agent logs in: where it may, with what, and what becomes of mail when it cannot."""

import base64

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import agents
from tests.integration.instance import wait_until
from tests.servers.certificates import Authority
from tests.servers.secure_sink import SecureSink

SENT, DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED
PASSWORD = "se:cret pässwörd"
LOGINS = {"user@example.org": PASSWORD}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.certificate("127.0.0.1")


@pytest.fixture
def start(tmp_path):
    """Start an agent for a server: start(sink, parameter=...); the passwords are in agent.passwords."""
    passwords = tmp_path / "sasl_passwd"

    def begin(sink, lines=None, **settings):
        passwords.write_text(f"[127.0.0.1]:{sink.port} user@example.org:{PASSWORD}\n" if lines is None else lines)
        passwords.chmod(0o600)
        agent, hop = begin_agent(sink, **settings)
        agent.passwords = passwords
        return agent, hop

    with agents(tmp_path, smtp_sasl_auth_enable="yes", smtp_sasl_password_maps=f"hash:{passwords}") as begin_agent:
        yield begin


def no_secret_in(*texts):
    """Say whether none of these holds the password, in any of the forms that travel."""
    plain = base64.b64encode(f"\0user@example.org\0{PASSWORD}".encode()).decode()
    forms = [PASSWORD, plain, plain.rstrip("="), base64.b64encode(PASSWORD.encode()).decode().rstrip("=")]
    return not [form for form in forms for text in texts if form in text]


@pytest.mark.parametrize(
    ("offered", "used"), [("LOGIN PLAIN", "PLAIN"), ("LOGIN", "LOGIN"), ("XOAUTH2 login", "LOGIN")]
)
@pytest.mark.parametrize("implicit", [False, True])
def test_a_login_under_tls_needs_no_security_option(offered, used, implicit, start, certificate):
    with SecureSink(certificate, LOGINS, implicit=implicit, mechanisms=offered) as sink:
        agent, hop = start(sink, smtp_tls_wrappermode="yes" if implicit else "no")
        assert agent.result(hop).outcome is SENT
        assert sink.attempts == [(used, "user@example.org", PASSWORD)]
        assert all(secure and user for verb, secure, user in sink.seen_as if verb in ("MAIL", "RCPT", "DATA"))
        assert no_secret_in(agent.log())


def test_a_session_that_is_used_again_logs_in_once(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink, smtp_connection_cache_time_limit="30s")
        assert [agent.result(hop).outcome for _ in range(3)] == [SENT] * 3
        assert (sink.connections, len(sink.attempts)) == (1, 1)


def test_a_wrong_password_defers_with_a_clear_line_and_is_not_tried_again_at_once(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink, f"[127.0.0.1]:{sink.port} user@example.org:wrong password")
        results = agent.send(hop, *(agent.delivery() for _ in range(5)))
        assert {(r.outcome, r.status) for r in results.values()} == {(DEFERRED, "4.7.8")}
        reason = (
            "SASL authentication failed; server 127.0.0.1[127.0.0.1] said: "
            "535 5.7.8 Error: authentication failed (user user@example.org)"
        )
        assert {r.reason for r in results.values()} == {reason}
        assert agent.result(hop).reason == reason
        assert len(sink.attempts) == 1
        assert sink.messages == []
        assert "wrong password" not in agent.log()


def test_a_corrected_password_is_used_at_once(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink, f"[127.0.0.1]:{sink.port} user@example.org:wrong")
        assert agent.result(hop).outcome is DEFERRED
        agent.passwords.write_text(f"[127.0.0.1]:{sink.port} user@example.org:{PASSWORD}")
        assert agent.result(hop).outcome is SENT


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("454 4.7.0 Temporary authentication failure", "4.7.0"),
        ("421 4.7.0 Too many logins", "4.7.0"),
        ("530 5.7.0 Must issue a STARTTLS command first", "4.7.0"),
        ("534 5.7.9 Application-specific password required", "4.7.9"),
        ("535 Incorrect", "4.7.8"),
        ("504 5.5.4 Unrecognized", "4.5.4"),
        ("250 ok", "4.7.8"),
    ],
)
def test_whatever_a_server_answers_to_auth_the_mail_waits(reply, status, start, certificate):
    with SecureSink(certificate, LOGINS, replies={"AUTH": reply}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, status)
        assert reply in result.reason
        assert sink.messages == []


@pytest.mark.parametrize("reply", ["535 5.7.8 bad: %s", "334 %s", "nonsense %s", "535-%s\n535 no", "235-\n250 %s"])
def test_a_server_that_repeats_the_password_does_not_bring_it_into_the_log(reply, start, certificate):
    with SecureSink(certificate, LOGINS, replies={"AUTH": reply}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert result.outcome is DEFERRED
        assert no_secret_in(result.reason, result.diagnostic, agent.log())


@pytest.mark.parametrize(("reply", "why"), [("DROP", "lost connection"), ("SILENT", "timed out")])
def test_a_server_that_is_gone_during_the_login_leaves_the_mail_waiting(reply, why, start, certificate):
    with SecureSink(certificate, LOGINS, replies={"AUTH": reply}) as sink:
        agent, hop = start(sink, smtp_helo_timeout="3s")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
        assert why in result.reason and "while sending AUTH" in result.reason


def test_an_agent_that_waits_for_the_answer_to_a_login_stops_in_time(start, certificate):
    with SecureSink(certificate, LOGINS, replies={"AUTH": "SILENT"}) as sink:
        agent, hop = start(sink, stop_timeout="1s")
        agent.give(hop, agent.delivery())
        wait_until(lambda: any(c.startswith("AUTH") for c in sink.commands), "a login")
        agent.tell("stop")
        assert agent.ended() == 0


def test_endless_questions_are_answered_with_giving_up(start, certificate):
    with SecureSink(certificate, LOGINS, replies={"AUTH": "334 why?", "*": "501 5.7.0 given up"}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is DEFERRED
        assert "*" in sink.commands


def test_auth_that_is_not_offered_defers(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        sink.mechanisms = ""
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.0")
        assert result.reason == "SASL authentication is wanted, but host 127.0.0.1[127.0.0.1] does not offer it"
        assert sink.seen_as == []


def test_mechanisms_that_are_not_known_defer(start, certificate):
    with SecureSink(certificate, LOGINS, mechanisms="GSSAPI NTLM") as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert result.outcome is DEFERRED
        assert "offers no mechanism known here: GSSAPI NTLM" in result.reason


def test_a_mechanism_is_used_only_when_the_administrator_wants_it(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink, smtp_sasl_mechanism_filter="!plain, static:rest", smtp_connection_cache_time_limit=0)
        assert agent.result(hop).outcome is SENT
        assert sink.attempts[0][0] == "LOGIN"
        sink.mechanisms = "PLAIN"
        result = agent.result(hop)
        assert "offers no mechanism that smtp_sasl_mechanism_filter wants: PLAIN" in result.reason


@pytest.mark.parametrize("said", ["235 2.7.0 welcome", "334 bm9uc2Vuc2U=", "334 "])
def test_a_server_that_need_not_know_the_password_gets_no_mail_by_scram(said, start, certificate):
    replies = {"AUTH": said, "*": "501 5.7.0 given up"}
    with SecureSink(certificate, LOGINS, mechanisms="SCRAM-SHA-256", replies=replies) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.0")
        assert "SASL authentication with 127.0.0.1[127.0.0.1] failed: the server" in result.reason
        assert sink.messages == []


def test_what_proves_the_password_without_telling_it_may_go_in_clear(start, certificate):
    sink = SecureSink(certificate, LOGINS, starttls=False, clear_auth=True, mechanisms="PLAIN CRAM-MD5")
    with sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is SENT
        assert sink.attempts == [("CRAM-MD5", "user@example.org", PASSWORD)]


@pytest.mark.parametrize("level", ["none", "may"])
def test_a_password_does_not_go_in_clear(level, start, certificate):
    with SecureSink(certificate, LOGINS, starttls=False, clear_auth=True) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level)
        result = agent.result(hop)
        assert result.outcome is DEFERRED
        assert "smtp_sasl_security_options forbids to tell host" in result.reason
        assert (sink.attempts, sink.messages) == ([], [])


def test_a_password_goes_in_clear_when_the_administrator_wants_it(start, certificate):
    with SecureSink(certificate, LOGINS, starttls=False, clear_auth=True) as sink:
        agent, hop = start(sink, smtp_sasl_security_options="noanonymous")
        assert agent.result(hop).outcome is SENT


@pytest.mark.parametrize(
    ("level", "settings", "outcome", "forbids"),
    [
        ("encrypt", {"smtp_sasl_tls_security_options": "noplaintext"}, DEFERRED, "smtp_sasl_tls_security_options"),
        (
            "verify",
            {"smtp_sasl_tls_security_options": "noplaintext"},
            DEFERRED,
            "smtp_sasl_tls_verified_security_options",
        ),
        (
            "encrypt",
            {"smtp_sasl_tls_security_options": "noplaintext", "smtp_sasl_tls_verified_security_options": "noanonymous"},
            DEFERRED,
            "smtp_sasl_tls_security_options",
        ),
        (
            "verify",
            {"smtp_sasl_tls_security_options": "noplaintext", "smtp_sasl_tls_verified_security_options": "noanonymous"},
            SENT,
            "",
        ),
        (
            "verify",
            {"smtp_sasl_tls_verified_security_options": "noplaintext"},
            DEFERRED,
            "smtp_sasl_tls_verified_security_options",
        ),
        ("encrypt", {"smtp_sasl_tls_verified_security_options": "noplaintext"}, SENT, ""),
    ],
)
def test_what_a_login_must_not_be_may_depend_on_whether_the_certificate_was_verified(
    level, settings, outcome, forbids, start, certificate, authority
):
    with SecureSink(certificate, LOGINS) as sink:
        more = {"smtp_tls_security_level": level, "smtp_tls_verify_cert_match": "127.0.0.1"}
        agent, hop = start(sink, smtp_tls_CAfile=authority.file, **more, **settings)
        result = agent.result(hop)
        assert result.outcome is outcome
        assert bool(sink.attempts) is (outcome is SENT)
        if forbids:
            assert f"{forbids} forbids PLAIN with host 127.0.0.1[127.0.0.1]" in result.reason


def test_with_a_login_nothing_goes_in_clear_when_the_handshake_fails(start, certificate):
    with SecureSink(certificate, LOGINS, clear_auth=True, replies={"STARTTLS": "MUTE"}) as sink:
        agent, hop = start(sink, smtp_starttls_timeout="3s", smtp_sasl_security_options="noanonymous")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert (sink.attempts, sink.connections) == ([], 1)


def test_passwords_that_cannot_be_read_defer(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink)
        agent.passwords.unlink()
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.3.5")
        assert "sasl_passwd: No such file or directory" in result.reason
        assert sink.connections == 0


def test_a_lax_mode_of_the_passwords_is_a_warning(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink)
        agent.passwords.chmod(0o644)
        assert agent.result(hop).outcome is SENT
        assert "sasl_passwd holds passwords, but its mode is 0644" in agent.log()


def test_a_server_without_a_login_in_the_file_gets_none_and_what_it_wants_one_for_waits(start, certificate):
    with SecureSink(certificate, LOGINS) as sink:
        agent, hop = start(sink, "other.test user@example.org:secret")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.0")
        assert "530 5.7.0 Authentication required" in result.reason
        assert sink.attempts == []


def test_each_sender_has_the_login_of_its_own(start, certificate):
    users = {"alice": "a-secret", "bob": "b-secret", "all": "c-secret"}
    lines = "alice@example.org alice:a-secret\n@example.net bob:b-secret\n127.0.0.1 all:c-secret\n"
    with SecureSink(certificate, users) as sink:
        agent, hop = start(sink, lines, smtp_sender_dependent_authentication="yes")
        senders = ["alice@example.org", "bob@example.net", "alice@example.org", "", "carol@example.org"]
        results = agent.send(hop, *(agent.delivery(sender=sender) for sender in senders))
        assert {r.outcome for r in results.values()} == {SENT}
        seen = [
            (m.sender.partition(" ")[0].strip("<>"), user)
            for m, user in zip(sink.messages, mail_users(sink), strict=True)
        ]
        assert sorted(seen) == [
            ("", "all"),
            ("alice@example.org", "alice"),
            ("alice@example.org", "alice"),
            ("bob@example.net", "bob"),
            ("carol@example.org", "all"),
        ]
        assert sink.connections == 3


def test_the_next_batch_has_the_login_of_its_own_sender_though_a_session_of_another_is_kept(start, certificate):
    users = {"alice": "a-secret", "bob": "b-secret"}
    lines = "alice@example.org alice:a-secret\nbob@example.org bob:b-secret\n"
    with SecureSink(certificate, users) as sink:
        more = {"smtp_sender_dependent_authentication": "yes", "smtp_connection_cache_time_limit": "30s"}
        agent, hop = start(sink, lines, **more)
        for name in ("alice", "bob", "alice"):
            agent.send(hop, agent.delivery(sender=f"{name}@example.org"))
        assert mail_users(sink) == ["alice", "bob", "alice"] and sink.connections == 2


def mail_users(sink):
    return [user for verb, _, user in sink.seen_as if verb == "MAIL"]


def test_one_senders_wrong_password_holds_up_nobody_else(start, certificate):
    users = {"alice": "a-secret", "bob": "b-secret"}
    lines = "alice@example.org alice:wrong\nbob@example.org bob:b-secret\n"
    with SecureSink(certificate, users) as sink:
        agent, hop = start(sink, lines, smtp_sender_dependent_authentication="yes")
        senders = ["alice@example.org", "bob@example.org", "alice@example.org", "bob@example.org"]
        results = agent.send(hop, *(agent.delivery(sender=sender) for sender in senders))
        assert [results[n, 0].outcome for n in range(4)] == [DEFERRED, SENT, DEFERRED, SENT]


def test_a_sender_whose_login_is_refused_by_one_smarthost_is_sent_through_the_next(start, certificate):
    users = {"alice": "a-secret", "bob": "b-secret"}
    with SecureSink(certificate, users) as first, SecureSink(certificate, users) as second:
        one, two = (f"[127.0.0.1]:{sink.port}" for sink in (first, second))
        lines = f"alice@example.org alice:a-secret\n{one} bob:wrong\n{two} bob:b-secret\n"
        agent, _ = start(first, lines, smtp_sender_dependent_authentication="yes", smtp_permit_loopback_mx="yes")
        senders = ["bob@example.org", "alice@example.org", "bob@example.org"]
        results = agent.send(f"{one}, {two}", *(agent.delivery(sender=sender) for sender in senders))
        assert {r.outcome for r in results.values()} == {SENT}
        assert (len(first.messages), len(second.messages)) == (1, 2)
        assert [user for _, user, _ in first.attempts].count("bob") == 1
