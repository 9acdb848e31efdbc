"""smtpd_*_restrictions as a table of verdicts: words, what is known, and what comes of it (Postfix's semantics)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.lookup import Found
from sendmail_py.protocol.reply import Reply
from sendmail_py.routing.dns_lists import DNS_WORDS
from sendmail_py.routing.login_words import LOGIN_WORDS
from sendmail_py.routing.policy_words import POLICY_WORDS
from sendmail_py.routing.restriction_scene import (
    DOMAIN,
    LISTED,
    NULL_MX,
    REVERSE,
    SLEEP,
    TABLE,
    WARN,
    Ask,
    Client,
    Domains,
    Facts,
    Subject,
)
from sendmail_py.routing.restriction_words import TAKES_TABLE, WORDS
from sendmail_py.routing.restrictions import Check, Checks, Rules, parse, rules_of

OURS = {"here.test", ""}
DOMAINS = Domains(OURS.__contains__, OURS.__contains__, "here.test")
STRANGER = Client("mail.a.test", "192.0.2.1")
FRIEND = Client("localhost", "127.0.0.1", in_mynetworks=True)
USER = Client("mail.a.test", "192.0.2.7")  # has logged in as alice
WORLD = {
    (DOMAIN, "a.test"): Found.YES,
    (DOMAIN, "gone.test"): Found.NO_DOMAIN,
    (DOMAIN, "null.test"): NULL_MX,
    (DOMAIN, "slow.test"): Found.TEMPORARY,
    (REVERSE, "192.0.2.1"): (Found.YES, Found.YES),
    (REVERSE, "192.0.2.2"): (Found.YES, Found.NO_DATA),
    (REVERSE, "192.0.2.3"): (Found.NO_DOMAIN, Found.NO_DOMAIN),
    (REVERSE, "192.0.2.4"): (Found.TEMPORARY, Found.TEMPORARY),
    (LISTED, Address("bob", "here.test")): "",
    (LISTED, Address("nobody", "here.test")): "User unknown",
    (LISTED, Address("bob", "a.test")): "",
}


def rules(delay: bool = True, relay_first: bool = True, **lists: str) -> Rules:
    names = ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")
    given = {name: parse(lists.get(name, "").replace(",", " ").split()) for name in names}
    return Rules(given, DOMAINS, delay, relay_first)


class Answers:
    """Answers what a check asks, from a table; keeps what was asked."""

    def __init__(self, world: Mapping[tuple[str, object], object] = WORLD) -> None:
        self.world = world
        self.asked: list[Ask] = []

    def run(self, check: Check | None) -> Reply | None:
        if check is None:
            return None
        try:
            ask = next(check)
            while True:
                self.asked.append(ask)
                answer = self.world.get((ask.kind, ask.value))
                ask = check.throw(answer) if isinstance(answer, Exception) else check.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def warnings(self) -> list[str]:
        return [ask.value.text for ask in self.asked if ask.kind == WARN]


def subject(
    client: Client = STRANGER, helo: str = "a.test", sender: str = "alice@a.test", to: str = "bob@here.test"
) -> Subject:
    facts = Facts(sasl_username="alice" if client is USER else "")
    return Subject(client, helo, Address.parse(sender), Address.parse(to), facts)


def verdict(the_rules: Rules, the_subject: Subject, answers: Answers | None = None) -> str:
    """Return what is answered to RCPT, "" where it is accepted."""
    refusal = (answers or Answers()).run(Checks(the_rules).rcpt(the_subject))
    return refusal.text if refusal else ""


# --- words alone -------------------------------------------------------------------------------

AT_RCPT = [
    ("permit", subject(), ""),
    ("reject", subject(), "554 5.7.1 <bob@here.test>: Recipient address rejected: Access denied"),
    ("defer", subject(), "450 4.3.2 <bob@here.test>: Recipient address rejected: Try again later"),
    ("permit_mynetworks, reject", subject(FRIEND), ""),
    ("permit_mynetworks, reject", subject(), "554 5.7.1"),
    ("permit_sasl_authenticated, reject", subject(USER), ""),
    ("permit_sasl_authenticated, reject", subject(FRIEND), "554 5.7.1"),
    ("reject_unauth_destination", subject(to="bob@a.test"), "554 5.7.1 <bob@a.test>: Relay access denied"),
    ("reject_unauth_destination", subject(), ""),
    ("reject_unauth_destination", subject(to="bob"), ""),
    ("defer_unauth_destination", subject(to="bob@a.test"), "454 4.7.1 <bob@a.test>: Relay access denied"),
    ("permit_auth_destination, reject", subject(), ""),
    ("permit_auth_destination, reject", subject(to="bob@a.test"), "554 5.7.1"),
    ("reject_unlisted_recipient", subject(), ""),
    (
        "reject_unlisted_recipient",
        subject(to="nobody@here.test"),
        "550 5.1.1 <nobody@here.test>: Recipient address rejected: User unknown",
    ),
    ("reject_unlisted_sender", subject(sender="nobody@here.test"), "550 5.1.0 <nobody@here.test>: Sender address"),
    ("reject_unlisted_sender", subject(sender=""), ""),
    ("reject_non_fqdn_sender", subject(sender="alice"), "504 5.5.2 <alice>: Sender address rejected: need fully-q"),
    ("reject_non_fqdn_sender", subject(sender="alice@a"), "504 5.5.2"),
    ("reject_non_fqdn_sender", subject(sender="alice@[192.0.2.1]"), ""),
    ("reject_non_fqdn_sender", subject(sender=""), ""),
    ("reject_non_fqdn_sender", subject(), ""),
    ("reject_non_fqdn_recipient", subject(to="bob"), "504 5.5.2 <bob>: Recipient address rejected"),
    ("reject_unknown_sender_domain", subject(sender="x@gone.test"), "450 4.1.8 <x@gone.test>: Sender address rejected"),
    ("reject_unknown_sender_domain", subject(sender="x@null.test"), "550 5.7.27"),
    ("reject_unknown_sender_domain", subject(sender="x@here.test"), ""),
    ("reject_unknown_sender_domain", subject(sender="x@[192.0.2.1]"), ""),
    ("reject_unknown_sender_domain", subject(sender=""), ""),
    ("reject_unknown_sender_domain", subject(), ""),
    ("reject_unknown_sender_domain, permit", subject(sender="x@slow.test"), "450 4.1.8"),
    ("reject_unknown_sender_domain, reject", subject(sender="x@slow.test"), "554 5.7.1"),
    ("reject_unknown_recipient_domain", subject(to="x@gone.test"), "450 4.1.2"),
    ("reject_unknown_recipient_domain", subject(to="x@null.test"), "556 5.1.10"),
    ("reject_unknown_client_hostname", subject(), ""),
    ("reject_unknown_client_hostname", subject(replace(STRANGER, address="192.0.2.2")), "450 4.7.25 Client host rej"),
    ("reject_unknown_client_hostname, permit", subject(replace(STRANGER, address="192.0.2.4")), "450 4.7.25"),
    ("reject_unknown_reverse_client_hostname", subject(replace(STRANGER, address="192.0.2.2")), ""),
    ("reject_unknown_reverse_client_hostname", subject(replace(STRANGER, address="192.0.2.3")), "450 4.7.1"),
    ("reject_invalid_helo_hostname", subject(helo="a"), ""),
    ("reject_invalid_helo_hostname", subject(helo="192.0.2.1"), ""),
    ("reject_invalid_helo_hostname", subject(helo="[192.0.2.1]"), ""),
    ("reject_invalid_helo_hostname", subject(helo="[IPv6:2001:db8::1]"), ""),
    ("reject_invalid_helo_hostname", subject(helo="[192.0.2.256]"), "501 5.5.2 <[192.0.2.256]>: Helo command rejected"),
    ("reject_invalid_helo_hostname", subject(helo="[a.test]"), "501 5.5.2"),
    ("reject_invalid_helo_hostname", subject(helo="a..test"), "501 5.5.2 <a..test>: Helo command rejected: Inv"),
    ("reject_invalid_helo_hostname", subject(helo="-a.test"), "501 5.5.2"),
    ("reject_invalid_helo_hostname", subject(helo=""), ""),
    ("reject_non_fqdn_helo_hostname", subject(helo="a"), "504 5.5.2 <a>: Helo command rejected: need fully-q"),
    ("reject_non_fqdn_helo_hostname", subject(helo="a.test."), ""),
    ("reject_non_fqdn_helo_hostname", subject(helo="1.2"), "504 5.5.2"),
    ("reject_unknown_helo_hostname", subject(helo="gone.test"), "450 4.7.1 <gone.test>: Helo command rejected: Ho"),
    ("reject_unknown_helo_hostname", subject(), ""),
]  # fmt: skip


@pytest.mark.parametrize(("words", "known", "answer"), AT_RCPT)
def test_a_word_says(words: str, known: Subject, answer: str) -> None:
    said = verdict(rules(recipient=words, relay="permit"), known)
    assert said.startswith(answer) if answer else not said


def test_every_word_has_a_verdict_in_the_table() -> None:
    tried = {word for words, _, _ in AT_RCPT for word in words.replace(",", " ").split()}
    old_names = {word for word in WORDS if list(WORDS.values()).index(WORDS[word]) != list(WORDS).index(word)}
    elsewhere = {"defer_if_permit", "defer_if_reject", "sleep"}
    tables = TAKES_TABLE | set(DNS_WORDS) | set(POLICY_WORDS) | set(LOGIN_WORDS)
    assert set(WORDS) - old_names - tried - tables == elsewhere


# --- words together ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "answer"),
    [
        ({"client": "permit", "relay": "reject"}, "554"),  # a permit ends its own list only
        ({"client": "reject", "relay": "permit"}, "554 5.7.1 <mail.a.test[192.0.2.1]>: Client host rejected"),
        ({"helo": "reject", "relay": "permit"}, "554 5.7.1 <a.test>: Helo command rejected: Access denied"),
        ({"sender": "reject", "relay": "permit"}, "554 5.7.1 <alice@a.test>: Sender address rejected: Access denied"),
        ({"relay": "permit", "recipient": "defer"}, "450"),
        ({"relay": "reject", "recipient": "defer"}, "554"),
        ({"relay": "defer_if_permit, permit"}, "450 4.7.0"),
        ({"relay": "defer_if_permit, reject"}, "554"),
        ({"client": "defer_if_permit", "relay": "permit"}, "450 4.7.0 <mail.a.test[192.0.2.1]>: Client host"),
        ({"client": "defer_if_permit", "helo": "defer_if_permit", "relay": "permit"}, "450 4.7.0 <mail.a.test["),
        ({"sender": "defer_if_permit", "relay": "permit"}, "450 4.7.0 <alice@a.test>"),
        ({"client": "defer_if_permit", "relay": "reject"}, "554"),
        ({"relay": "defer_if_reject, reject"}, "450 4.7.0"),
        ({"relay": "defer_if_reject", "recipient": "reject"}, "450 4.7.0"),
        ({"relay": "defer_if_reject, permit"}, ""),
        ({"client": "defer_if_reject", "relay": "reject"}, "554"),  # forgotten at the next stage
        ({"relay": "defer_if_reject, defer"}, "450 4.3.2"),  # a deferral needs no other one
        ({"relay": "warn_if_reject reject, permit"}, ""),
        ({"relay": "warn_if_reject defer_if_permit, permit"}, ""),
        ({"relay": "warn_if_reject reject, reject"}, "554"),  # for one word only
        ({"relay": "warn_if_reject permit, reject"}, ""),
        ({"relay": "sleep 3, permit"}, ""),
    ],
)
def test_lists_come_to(lists: dict[str, str], answer: str) -> None:
    said = verdict(rules(**lists), subject())
    assert said.startswith(answer) if answer else not said


def test_a_warning_says_what_would_have_been_answered() -> None:
    answers = Answers()
    assert not verdict(rules(relay="warn_if_reject reject_unauth_destination, permit"), subject(to="b@a.test"), answers)
    assert answers.warnings() == ["554 5.7.1 <b@a.test>: Relay access denied"]


def test_sleep_asks_for_its_seconds() -> None:
    answers = Answers()
    verdict(rules(relay="sleep 3, permit"), subject(), answers)
    assert Ask(SLEEP, 3) in answers.asked


def test_recipient_restrictions_may_come_before_those_of_relaying() -> None:
    lists = {"relay": "reject", "recipient": "defer"}
    assert verdict(rules(relay_first=False, **lists), subject()).startswith("450")


@pytest.mark.parametrize("client", [STRANGER, FRIEND, USER])
def test_an_unknown_user_is_refused_at_the_end_whoever_asks(client: Client) -> None:
    relay = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    assert verdict(rules(relay=relay), subject(client, to="nobody@here.test")).startswith("550 5.1.1")


def test_a_user_data_base_that_is_away_defers() -> None:
    world = {(LISTED, Address("bob", "here.test")): OSError(11, "try again")}
    answer = verdict(rules(relay="permit"), subject(), Answers(world))
    assert answer == "451 4.3.0 <bob@here.test>: Temporary lookup failure"


def test_a_recipient_is_looked_up_once() -> None:
    answers = Answers()
    verdict(rules(relay="reject_unlisted_recipient, permit"), subject(), answers)
    assert [ask.kind for ask in answers.asked] == [LISTED]


@pytest.mark.parametrize("name", ["postmaster", "Postmaster", "POSTMASTER"])
def test_a_bare_postmaster_is_always_accepted(name: str) -> None:
    assert not verdict(rules(client="reject", relay="reject"), subject(to=name))


# --- open relays -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        "victim@a.test",
        "victim%a.test@here.test",
        '"victim@a.test"@here.test',
        '"victim%a.test"@here.test',
        "a.test!victim@here.test",
        '"victim@a.test"',
        "victim%a.test",
        "a.test!victim",
        "victim@here.test.a.test",
        "victim@",
    ],
)
def test_no_spelling_of_a_strangers_address_is_relayed(to: str) -> None:
    relay = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    asked = subject(to=to)
    assert asked.recipient
    if to == "victim@":
        asked.recipient = Address("victim", "elsewhere.test")
    assert verdict(rules(relay=relay), asked).startswith("554 5.7.1")


# --- stages ------------------------------------------------------------------------------------


def test_what_is_delayed_is_not_asked_before_rcpt() -> None:
    checks = Checks(rules(client="reject", helo="reject", sender="reject", relay="permit"))
    for check in (checks.connect, checks.helo, checks.mail):
        assert check(subject()) is None


def test_without_delay_each_list_speaks_in_its_place() -> None:
    for name, stage in (("client", "connect"), ("helo", "helo"), ("sender", "mail")):
        checks = Checks(rules(delay=False, relay="permit", **{name: "reject"}))
        refusal = Answers().run(getattr(checks, stage)(subject()))
        assert refusal is not None
        assert refusal.code == 554
        assert Answers().run(checks.rcpt(subject())) is None


def test_without_delay_a_deferral_is_kept_from_the_client_to_the_recipient() -> None:
    checks = Checks(rules(delay=False, client="defer_if_permit", relay="permit"))
    for check in (checks.connect, checks.helo, checks.mail):
        assert Answers().run(check(subject())) is None
    refusal = Answers().run(checks.rcpt(subject()))
    assert refusal is not None
    assert refusal.text.startswith("450 4.7.0 <mail.a.test[192.0.2.1]>: Client host rejected: defer_if_permit")


def test_data_and_the_end_of_data_have_lists_of_their_own() -> None:
    checks = Checks(rules(relay="permit", data="reject", end_of_data="defer_if_permit"))
    at_data, at_end = Answers().run(checks.data(subject())), Answers().run(checks.end_of_data(subject()))
    assert at_data is not None
    assert at_end is not None
    assert at_data.text == "554 5.7.1 <DATA>: Data command rejected: Access denied"
    assert at_end.text.startswith("450 4.7.0 <END-OF-MESSAGE>: End-of-data rejected")


# --- configuration -----------------------------------------------------------------------------


def config(**settings: str) -> Config:
    return Config({name: Setting(text, "main.cf:1") for name, text in settings.items()})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("reject_unath_destination", "reject_unath_destination: no such restriction"),
        ("permit_mynetworks, sleep", "sleep must be followed by a number"),
        ("sleep x, reject", "sleep must be followed by a number"),
        ("permit_mynetworks", "open relay"),
        ("", "open relay"),
        ("permit_mynetworks, warn_if_reject, reject_unauth_destination", "open relay"),
        ("permit, reject_unauth_destination", "open relay"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_names_its_parameter(words: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        rules_of(config(smtpd_relay_restrictions=words), DOMAINS)
    assert str(raised.value).startswith("smtpd_relay_restrictions: ")


def test_an_empty_relay_list_is_right_where_the_recipient_list_closes() -> None:
    closed = config(smtpd_relay_restrictions="", smtpd_recipient_restrictions="permit_mynetworks, reject")
    assert verdict(rules_of(closed, DOMAINS), subject(to="bob@a.test")).startswith("554")


def test_a_word_that_only_warns_opens_nothing_where_another_one_closes() -> None:
    words = "warn_if_reject reject_invalid_helo_hostname, warn_if_reject, defer, reject_unauth_destination, permit"
    assert verdict(rules_of(config(smtpd_relay_restrictions=words), DOMAINS), subject(to="bob@a.test")) != ""


def test_the_defaults_refuse_to_relay_for_strangers_and_take_mail_for_this_host() -> None:
    defaults = rules_of(config(), DOMAINS)
    assert verdict(defaults, subject(to="bob@a.test")).startswith("554 5.7.1")
    assert not verdict(defaults, subject(FRIEND, to="bob@a.test"))
    assert not verdict(defaults, subject())


# --- who may use a sender's address ------------------------------------------------------------

OWNERS = {
    "alice@here.test": "alice, Bob",
    "bob@here.test": "bob",
    "carol": "carol",
    "@shared.test": "ALICE",
    "dora@a.test": "",
}


class Owned(Answers):
    """Answers of the table OWNERS."""

    def run(self, check: Check) -> Reply | None:
        answer: object = None
        try:
            while True:
                ask = check.send(answer)
                assert ask.kind == TABLE, ask
                answer = next((OWNERS[key] for key, _ in ask.value[1] if key in OWNERS), None)
        except StopIteration as end:
            return end.value


def login_verdict(word: str, client: Client, sender: str) -> str:
    domains = Domains(OURS.__contains__, OURS.__contains__, "here.test", "+", ("inline:{}",))
    lists = dict.fromkeys(("client", "helo", "relay", "recipient", "data", "end_of_data"), ())
    the_rules = Rules({**lists, "sender": parse([word])}, domains, unlisted_recipient=False)
    refusal = Owned().run(Checks(the_rules).rcpt(subject(client, sender=sender)))
    return refusal.text.partition("rejected: ")[2] if refusal else ""


NOT_OWNED, NOT_LOGGED_IN = "not owned by user alice", "not logged in"


@pytest.mark.parametrize(
    ("sender", "user_says", "stranger_says", "known_says"),
    [
        ("alice@here.test", "", NOT_LOGGED_IN, ""),
        ("ALICE+lists@Here.test", "", NOT_LOGGED_IN, ""),
        ("alice", "", NOT_LOGGED_IN, ""),
        ("bob@here.test", NOT_OWNED, NOT_LOGGED_IN, NOT_OWNED),
        ("carol@here.test", NOT_OWNED, NOT_LOGGED_IN, NOT_OWNED),
        ("carol@a.test", NOT_OWNED, "", ""),
        ("any@shared.test", "", NOT_LOGGED_IN, ""),
        ("dora@a.test", NOT_OWNED, NOT_LOGGED_IN, NOT_OWNED),
        ("nobody@a.test", NOT_OWNED, "", ""),
        ("", "", "", ""),
    ],
)
def test_an_address_is_for_its_owners(sender: str, user_says: str, stranger_says: str, known_says: str) -> None:
    both, user, stranger, known = (
        f"reject_{kind}sender_login_mismatch" for kind in ("", "authenticated_", "unauthenticated_", "known_")
    )
    assert login_verdict(both, USER, sender) == login_verdict(user, USER, sender) == user_says
    assert login_verdict(both, STRANGER, sender) == login_verdict(stranger, STRANGER, sender) == stranger_says
    assert login_verdict(known, USER, sender) == known_says
    assert login_verdict(user, STRANGER, sender) == login_verdict(stranger, USER, sender) == ""
    assert login_verdict(known, STRANGER, sender) == ""


def test_without_a_table_of_owners_everybody_may_use_every_address() -> None:
    assert verdict(rules(sender="reject_sender_login_mismatch", relay="permit"), subject(USER)) == ""


def test_a_table_of_owners_that_is_away_defers() -> None:
    domains = Domains(OURS.__contains__, OURS.__contains__, "here.test", "+", ("inline:{}",))
    lists = dict.fromkeys(("client", "helo", "relay", "recipient", "data", "end_of_data"), ())
    checks = Checks(Rules({**lists, "sender": parse(["reject_sender_login_mismatch"])}, domains)).rcpt(subject(USER))
    next(checks)
    with pytest.raises(StopIteration) as end:
        checks.throw(OSError("away"))
    assert end.value.value.text == "451 4.3.0 <alice@a.test>: Temporary lookup failure"
