"""A whole instance with a smarthost that wants TLS and a login: from sendmail to the server, and what the user sees."""

import contextlib

import pytest

from tests.integration.instance import Instance
from tests.integration.smarthost_instance import SmarthostInstance
from tests.servers.certificates import Authority
from tests.servers.ports import free_port
from tests.servers.secure_sink import SecureSink

USER = "me@provider.test"
LOGINS = {USER: "the password"}


@pytest.fixture
def smarthost(tmp_path):
    """An instance that sends everything to a smarthost; yields both."""
    authority = Authority(tmp_path)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(SecureSink(authority.certificate("127.0.0.1"), LOGINS))
        yield stack.enter_context(SmarthostInstance(tmp_path / "instance", sink, authority))


def arrived(instance):
    return [message.content.partition(b"\r\n\r\n")[2] for message in instance.sink.messages]


def test_mail_goes_through_the_smarthost(smarthost):
    smarthost.write_login(USER, "the password")
    smarthost.start()
    smarthost.submit(b"Subject: x\n\nhello\n", "someone@elsewhere.test")
    smarthost.wait_for(lambda: arrived(smarthost) == [b"hello\r\n"], "the message at the smarthost")
    smarthost.wait_for(lambda: smarthost.count() == 0, "an empty queue")
    assert all(secure and user for verb, secure, user in smarthost.sink.seen_as if verb == "RCPT")


def test_a_wrong_password_bounces_nothing_says_why_and_is_mended_by_the_right_one(smarthost):
    smarthost.write_login(USER, "another password")
    smarthost.start()
    for number in range(20):
        smarthost.submit(b"Subject: x\n\n%d\n" % number, "someone@elsewhere.test")
    smarthost.wait_for(
        lambda: smarthost.mailq().count("SASL authentication failed") == 20, "all deferred, with the reason"
    )
    assert smarthost.count() == 20
    assert "status=bounced" not in smarthost.log()
    assert len(smarthost.sink.attempts) <= 2  # one for each process
    smarthost.write_login(USER, "the password")
    smarthost.mailctl("flush", check=True)
    smarthost.wait_for(lambda: len(arrived(smarthost)) == 20, "all messages at the smarthost")
    smarthost.wait_for(lambda: smarthost.count() == 0, "an empty queue")
    queue_and_log = smarthost.log() + smarthost.mailctl("config").stdout.decode()
    assert "another password" not in queue_and_log and "the password" not in queue_and_log


def test_where_the_login_was_forgotten_mail_waits_and_the_start_says_what_is_missing(smarthost):
    smarthost.write_login(USER, "the password")
    smarthost.configure(smtp_sasl_auth_enable="no")
    smarthost.start()
    assert "smtp_sasl_auth_enable = no: nobody logs in anywhere" in smarthost.output()
    smarthost.submit(b"Subject: x\n\nhello\n", "someone@elsewhere.test")
    smarthost.wait_for_log("dsn=4.7.0, status=deferred .*530 5.7.0 Authentication required")
    smarthost.configure(smtp_sasl_auth_enable="yes")
    smarthost.reload()
    smarthost.mailctl("flush", check=True)
    smarthost.wait_for(lambda: arrived(smarthost) == [b"hello\r\n"], "the message at the smarthost")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("smtp_tls_security_level", "halfdane", "smtp_tls_security_level: halfdane: one of none, may"),
        ("smtp_sasl_password_maps", "static:me:password", "smtp_sasl_password_maps: static: passwords can stand"),
        ("smtp_tls_mandatory_protocols", "SSLv3", "smtp_tls_mandatory_protocols: SSLv3"),
    ],
)
def test_what_cannot_be_is_said_at_start(smarthost, name, value, says):
    smarthost.configure(**{name: value})
    assert smarthost.start(check=False).returncode
    assert says in smarthost.output()


@pytest.fixture
def providers(tmp_path):
    """Two smarthosts with logins of their own: yields the instance; nobody knows the second one's authority."""
    known, unknown = Authority(tmp_path), Authority(tmp_path, "Unknown")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(SecureSink(known.certificate("127.0.0.1"), {"alice": "a secret"}))
        two = stack.enter_context(SecureSink(unknown.certificate("127.0.0.1"), {"bob": "b secret"}))
        instance = Instance(
            tmp_path / "instance",
            relayhost=f"[127.0.0.1]:{free_port()}",
            sender_dependent_relayhost_maps="texthash:$config_directory/relayhosts",
            smtp_sender_dependent_authentication="yes",
            smtp_tls_security_level="secure",
            smtp_tls_policy_maps="texthash:$config_directory/policies",
            smtp_tls_CAfile=known.file,
            smtp_sasl_auth_enable="yes",
            smtp_sasl_password_maps="texthash:$config_directory/passwords",
        )
        instance.one, instance.two = one, two
        hop = f"[127.0.0.1]:{one.port}"
        other = f"[127.0.0.1]:{free_port()}, [127.0.0.1]:{two.port}"
        (instance.path / "relayhosts").write_text(f"alice@one.test {hop}\n@two.test {other}\n")
        (instance.path / "policies").write_text("")
        (instance.path / "passwords").write_text("alice@one.test alice:a secret\n@two.test bob:b secret\n")
        (instance.path / "passwords").chmod(0o600)
        stack.enter_context(instance)
        yield instance


def submit_as(instance, sender):
    instance.submit(b"Subject: x\n\nhello\n", "-f", sender, "someone@elsewhere.test")


def seen(sink):
    users = [user for verb, _, user in sink.seen_as if verb == "MAIL"]
    return [
        (message.sender.partition(" ")[0].strip("<>"), user) for message, user in zip(sink.messages, users, strict=True)
    ]


def test_each_sender_has_a_smarthost_a_login_and_a_policy_of_its_own_and_another_host_where_one_is_down(providers):
    (providers.path / "policies").write_text(f"[127.0.0.1]:{providers.two.port} encrypt\n")
    providers.start()
    submit_as(providers, "alice@one.test")
    submit_as(providers, "bob@two.test")
    providers.wait_for(lambda: providers.count() == 0, "an empty queue")
    assert seen(providers.one) == [("alice@one.test", "alice")]
    assert seen(providers.two) == [("bob@two.test", "bob")]
    assert "Connection refused" in providers.log()


def test_without_a_policy_of_its_own_a_smarthost_has_that_of_main_cf(providers):
    providers.start()
    submit_as(providers, "bob@two.test")
    providers.wait_for(lambda: "Server certificate not trusted" in providers.mailq(), "the reason in mailq")
    assert (providers.two.attempts, providers.two.messages) == ([], [])
