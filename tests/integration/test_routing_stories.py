"""Where mail goes: transport_maps, relayhosts by sender, hosts that send nothing directly, and what never bounces."""

import contextlib

import pytest

from tests.integration.instance import DOMAIN, Instance, me
from tests.integration.smtp_server import STRANGERS, Served
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import SmtpSink

ZONE = {"far.test": {"MX": ["10 one.test."]}, "one.test": {"A": ["127.0.0.1"]}, "two.test": {"A": ["127.0.0.2"]}}


class World:
    """An instance with tables, a name server, and two mail servers: far.test's own (one), and a hub (two)."""

    def __init__(self, path, stack, **settings):
        self.names = stack.enter_context(NameServer(dict(ZONE)))
        self.one = stack.enter_context(SmtpSink())
        self.two = stack.enter_context(SmtpSink(host="127.0.0.2", port=self.one.port))
        values = {"smtp_tcp_port": self.one.port, "minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
        self.instance = Instance(path, resolver_nameservers=self.names.address, **(values | settings))
        stack.enter_context(self.instance)
        self.tables = path.parent

    def table(self, name, text):
        (self.tables / name).write_text(text)
        return f"hash:{self.tables}/{name}"

    def send(self, subject, *words, sender=""):
        self.instance.submit(f"Subject: {subject}\n\nhi\n".encode(), "-i", *(["-f", sender] if sender else []), *words)

    def arrives(self, sink, subject):
        def found():
            wanted = f"Subject: {subject}\r\n".encode()
            return [message for message in sink.messages if wanted in message.content]

        return self.instance.wait_for(found, f"{subject!r} at the mail server")[0]


@pytest.fixture
def world(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda **settings: World(tmp_path / "instance", stack, **settings)


def test_transport_maps_send_domains_where_they_say_and_change_without_a_reload(world, tmp_path):
    it = world(transport_maps=f"hash:{tmp_path}/transport")
    it.table(
        "transport",
        "far.test smtp:[127.0.0.2]\nlost.test discard:nobody reads it\nno.test error:5.7.1 never\n"
        "notyet.test retry:4.2.0 not before May\n",
    )
    it.instance.start()
    it.send("by-table", "bob@far.test")
    it.arrives(it.two, "by-table")
    it.send("discarded", "bob@lost.test")
    it.instance.wait_for_log(r"to=<bob@lost\.test>.*status=sent \(nobody reads it\)")
    it.send("refused", "bob@no.test")
    assert b"5.7.1" in it.instance.wait_for_mail(me(), b"Status: 5.7.1")
    it.send("put off", "bob@notyet.test")
    it.instance.wait_for_log(r"to=<bob@notyet\.test>.*dsn=4\.2\.0, status=deferred \(not before May\)")
    it.table("transport", "other.test smtp:[127.0.0.2]\n")
    it.send("directly", "bob@far.test")
    it.arrives(it.one, "directly")


def test_a_transport_map_that_is_gone_makes_mail_wait_and_nothing_goes_out_directly(world, tmp_path):
    it = world(transport_maps=f"hash:{tmp_path}/transport")
    it.instance.start()
    it.send("waits", "bob@far.test")
    it.instance.wait_for_log(r"status=deferred \(mail transport unavailable: table hash:.*/transport: No such file")
    assert not it.one.messages and it.instance.count() == 1
    it.table("transport", "far.test smtp:[two.test]\n")
    it.instance.mailctl("flush", check=True)
    it.arrives(it.two, "waits")
    assert not it.one.messages


def test_a_relayhost_depends_on_the_sender(world, tmp_path):
    it = world(sender_dependent_relayhost_maps=f"hash:{tmp_path}/relays")
    it.table("relays", "@work.test [two.test]\n")
    it.instance.start()
    it.send("work", "bob@far.test", sender="alice@work.test")
    it.send("home", "bob@far.test", sender="alice@home.test")
    it.arrives(it.two, "work")
    it.arrives(it.one, "home")


def test_a_null_client_hands_everything_to_its_hub_by_one_line(world):
    it = world(transport_maps="static:smtp:[two.test]")
    it.instance.start()
    it.send("elsewhere", "bob@far.test")
    it.send("here", me())
    assert it.arrives(it.two, "here").recipients[0].startswith(f"<{me()}@{DOMAIN}>")
    it.arrives(it.two, "elsewhere")
    assert not it.one.messages and not it.instance.mailbox(me())


def test_a_satellite_whose_hub_is_away_delivers_to_its_users_and_nothing_to_others(world):
    it = world(relayhost="[nowhere.test]")
    it.instance.start()
    it.send("partly", "bob@far.test", me())
    it.instance.wait_for_log("to=<bob@far.test>.*status=deferred", count=2)
    it.instance.wait_for_mail(me(), b"Subject: partly")
    assert not it.one.connections and it.instance.count() == 1


def test_a_null_client_whose_hub_is_away_waits_and_delivers_nothing_itself(world):
    it = world(transport_maps="static:smtp:[nowhere.test]")
    it.instance.start()
    it.send("waits", "bob@far.test", me())
    it.instance.wait_for_log("status=deferred", count=2)
    assert not it.one.messages and not it.instance.mailbox(me()) and it.instance.count() == 1


def test_a_host_that_stays_alone_delivers_to_its_users_and_sends_nothing_elsewhere(world):
    it = world(default_transport="error:5.1.2 this host sends no mail to others")
    it.instance.start()
    it.send("both", "bob@far.test", me())
    text = it.instance.wait_for_mail(me(), b"this host sends no mail to others")
    assert b"Status: 5.1.2" in text and not it.one.connections
    it.instance.wait_for_mail(me(), b"Subject: both")


def test_the_fallback_relay_takes_what_cannot_be_found_or_reached(world):
    it = world(smtp_fallback_relay="[two.test]")
    it.names.zone["dead.test"] = {"MX": ["10 gone.test."]}
    it.names.zone["gone.test"] = {"A": ["127.0.0.3"]}
    it.instance.start()
    for domain in ("dead.test", "unknown.test"):
        it.send(f"for-{domain}", f"bob@{domain}")
        it.arrives(it.two, f"for-{domain}")
    it.send("normal", "bob@far.test")
    it.arrives(it.one, "normal")


def test_mail_for_which_this_host_is_the_best_exchanger_is_not_given_to_the_fallback_which_would_send_it_back(world):
    it = world(smtp_fallback_relay="[two.test]")
    it.names.zone["ourselves.test"] = {"MX": [f"10 {DOMAIN}.", "20 one.test."]}
    it.instance.start()
    it.send("in a circle", "bob@ourselves.test")
    it.instance.wait_for_log(r"to=<bob@ourselves.test>.*dsn=5.4.6, status=bounced")
    assert not it.two.connections and not it.one.connections


def test_the_second_of_two_relayhosts_takes_what_the_first_does_not(world):
    it = world(relayhost="[127.0.0.3], [two.test]")
    it.instance.start()
    it.send("second", "bob@far.test")
    it.arrives(it.two, "second")
    assert not it.one.connections


def test_with_soft_bounce_nothing_bounces_and_the_log_says_what_would_have(world, tmp_path):
    it = world(soft_bounce="yes", transport_maps=f"hash:{tmp_path}/transport")
    it.table("transport", "no.test error:5.7.1 never\n")
    it.one.replies["RCPT"] = "550 5.1.1 no such user"
    it.instance.start()
    for address in ("bob@far.test", "bob@no.test", "no-such-user"):
        it.send("soft", address)
    for status in ("4.1.1", "4.7.1"):
        it.instance.wait_for_log(rf"dsn={status}, status=SOFTBOUNCE")
    it.instance.wait_for_log(r"to=<no-such-user@.*status=SOFTBOUNCE")
    assert it.instance.count() == 3 and not it.instance.mailbox(me())


def test_relay_is_another_name_of_smtp_also_where_a_transport_is_deferred(world):
    it = world(defer_transports="relay")
    it.instance.start()
    it.send("put off", "bob@far.test")
    it.instance.wait_for_log(r"to=<bob@far.test>.*status=deferred \(deferred transport\)")
    it.instance.mailctl("flush", check=True)
    it.arrives(it.one, "put off")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("transport_maps", "ldap:/etc/x", "table type ldap is not supported"),
        ("transport_maps", "static:uucp:x", "no transport uucp"),
        ("transport_maps", "inline:{far.test=uucp:x}", "no transport uucp"),
        ("defer_transports", "smtp, uucp", "no transport uucp"),
        ("mydestination", "here.test, hash:/etc/x", "no file and no table"),
        ("mydestination", "/etc/x", "no file and no table"),
        ("default_transport", "uucp", "no transport uucp"),
        ("relay_domains", "sqlite:/x", "may stand here"),
        ("smtp_tls_security_level", "tlsa", "tlsa"),
    ],
)
def test_what_nothing_can_be_routed_by_is_an_error_at_start(world, name, value, said):
    it = world()
    it.instance.configure(**{name: value})
    assert it.instance.start(check=False).returncode == 78
    assert name in it.instance.output() and said in it.instance.output()


def test_no_part_of_an_address_may_come_into_where_its_mail_goes(world, tmp_path):
    (tmp_path / "patterns").write_text("/^(.*)@far\\.test$/ smtp:[$1]\n")
    it = world(transport_maps=f"pcre:{tmp_path}/patterns")
    assert it.instance.start(check=False).returncode == 78
    assert "$number is not allowed in a table that says where mail goes" in it.instance.output()
    (tmp_path / "patterns").write_text("/@far\\.test$/ smtp:[two.test]\n")
    it.instance.start()
    it.send("by-pattern", "bob@far.test")
    it.arrives(it.two, "by-pattern")
    (tmp_path / "patterns").write_text("/^(.*)@far\\.test$/ smtp:[$1]\n")
    it.send("waits", "elsewhere.test@far.test")
    it.instance.wait_for_log(r"status=deferred \(mail transport unavailable: table pcre:.*\$number is not allowed")


def test_with_soft_bounce_an_smtp_client_is_told_to_try_again(tmp_path):
    with Served(tmp_path / "instance", soft_bounce="yes") as served:
        served.start()
        with served.client() as client:
            client.ehlo()
            client.mail("a@b.test")
            code, text = client.rcpt("no-such-user@here.test")
            assert (code, text[:5]) == (450, b"4.1.1")
            assert client.docmd("NONSENSE")[0] == 400
        served.wait_for_log("NOQUEUE: reject: RCPT from localhost.*: 450 4.1.1 ")


def test_relay_domains_say_whose_mail_strangers_may_send_through(tmp_path):
    with Served(tmp_path / "instance", relay_domains="inner.test inline:{listed.test=x}", **STRANGERS) as served:
        served.start()
        with served.client() as client:
            client.ehlo()
            client.mail("a@b.test")
            found = [client.rcpt(f"x@{d}")[0] for d in ("inner.test", "a.inner.test", "listed.test", "far.test")]
    assert found == [250, 250, 250, 554]


def test_while_a_table_of_relay_domains_cannot_be_asked_clients_are_told_to_try_again(tmp_path):
    with Served(tmp_path / "instance", relay_domains=f"hash:{tmp_path}/missing", **STRANGERS) as served:
        served.start()
        with served.client() as client:
            client.ehlo()
            client.mail("a@b.test")
            assert client.rcpt("x@far.test")[0] == 451
            assert client.rcpt(f"{me()}@{DOMAIN}")[0] == 250
