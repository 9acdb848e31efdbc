"""Access tables: which keys are looked for, in which order, and what a value comes to."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.protocol.reply import Reply
from sendmail_py.routing.access import Key, action_of, address_keys, domain_keys, mail_keys
from sendmail_py.routing.restriction_scene import LOG, TABLE, WARN, Client, Domains, Subject
from sendmail_py.routing.restrictions import Check, Checks, Rules, parse

OURS = {"here.test", ""}
DOMAINS = Domains(OURS.__contains__, OURS.__contains__, "here.test")
SUBJECT = Subject(
    Client("mx.a.test", "192.0.2.1"), "helo.a.test", Address("alice", "a.test"), Address("Bob+x", "Here.test")
)


def texts(keys: object) -> list[str]:
    return [key for key, _ in keys]  # type: ignore[attr-defined]


def test_a_domain_is_looked_for_with_its_parents() -> None:
    assert list(domain_keys("Mail.A.test.")) == [("mail.a.test", False), ("a.test", True), ("test", True)]
    assert texts(domain_keys("[192.0.2.1]")) == ["[192.0.2.1]"]


def test_an_address_is_looked_for_with_its_networks() -> None:
    assert texts(address_keys("192.0.2.1")) == ["192.0.2.1", "192.0.2", "192.0", "192"]
    assert texts(address_keys("2001:db8::1")) == ["2001:db8::1", "2001:db8", "2001"]


def test_a_mail_address_is_looked_for_from_whole_to_part() -> None:
    whole = ["bob+x@mail.a.test", "bob@mail.a.test", "mail.a.test", "a.test", "test", "bob+x@", "bob@"]
    keys = list(mail_keys(Address("Bob+x", "mail.A.test"), "+"))
    assert texts(keys) == whole
    assert [key for key, part in keys if not part] == ["bob+x@mail.a.test"]
    assert texts(mail_keys(Address(""), "+")) == ["<>"]


@pytest.mark.parametrize(
    ("value", "verb", "text"),
    [
        ("OK", "OK", ""),
        ("ok", "OK", ""),
        ("1", "OK", ""),
        ("DUNNO", "DUNNO", ""),
        ("REJECT", "REPLY", "554 5.7.1 <n>: L rejected: Access denied"),
        ("REJECT no spam", "REPLY", "554 5.7.1 <n>: L rejected: no spam"),
        ("REJECT 5.1.1 gone", "REPLY", "554 5.1.1 <n>: L rejected: gone"),
        ("DEFER", "REPLY", "450 4.7.1 <n>: L rejected: Access denied"),
        ("550 go away", "REPLY", "550 5.7.1 <n>: L rejected: go away"),
        ("421 5.1.1 later", "REPLY", "421 4.1.1 <n>: L rejected: later"),
        ("450", "REPLY", "450 4.7.1 <n>: L rejected: Access denied"),
        ("DEFER_IF_PERMIT", "DEFER_IF_PERMIT", "450 4.7.1 <n>: L rejected: Service unavailable"),
        ("defer_if_reject later", "DEFER_IF_REJECT", "450 4.7.1 <n>: L rejected: later"),
        ("permit_mynetworks, reject", "RESTRICTIONS", ""),
    ],
)
def test_a_value_means(value: str, verb: str, text: str) -> None:
    action = action_of(value, "n", "L")
    assert (action.verb, action.reply.text if action.reply else "") == (verb, text)


class Tables:
    """Answers what a check asks, from tables; logged is what it had logged."""

    def __init__(self, **tables: dict[str, str]) -> None:
        self.tables = tables
        self.logged: list[str] = []

    def run(self, check: Check) -> str:
        try:
            ask = next(check)
            while True:
                answer = None
                if ask.kind == TABLE:
                    answer = self.value(*ask.value)
                elif ask.kind in (LOG, WARN):
                    self.logged.append(ask.value.text if isinstance(ask.value, Reply) else ask.value)
                else:
                    answer = ""
                ask = check.throw(answer) if isinstance(answer, OSError) else check.send(answer)
        except StopIteration as end:
            return end.value.text if end.value else ""

    def value(self, name: str, keys: tuple[Key, ...]) -> object:
        if name == "inline:away":
            return OSError(5, "not now")
        table = self.tables[name.partition(":")[2]]
        return next((table[key] for key, _ in keys if key in table), None)


def verdict(words: str, tables: Tables, stage: str = "recipient") -> str:
    lists = {name: parse([]) for name in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")}
    lists["relay"] = parse(["permit"])
    lists[stage] = parse(words.split(), stage)
    return tables.run(Checks(Rules(lists, DOMAINS)).rcpt(SUBJECT))


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("check_client_access", "a.test"),
        ("check_client_access", "192.0.2"),
        ("check_helo_access", "helo.a.test"),
        ("check_sender_access", "alice@"),
        ("check_sender_access", "a.test"),
        ("check_recipient_access", "bob@here.test"),
    ],
)
def test_each_check_looks_for_what_it_is_called_after(word: str, key: str) -> None:
    assert verdict(f"{word} inline:t", Tables(t={key: "REJECT"})).startswith("554 5.7.1 <")
    assert not verdict(f"{word} inline:t reject", Tables(t={key: "OK"}))
    assert verdict(f"{word} inline:t reject", Tables(t={"other": "OK"})).startswith("554")


@pytest.mark.parametrize(("stage", "key"), [("client", "mx.a.test"), ("helo", "a.test"), ("sender", "alice@a.test")])
def test_a_table_alone_is_asked_about_what_its_list_is_for(stage: str, key: str) -> None:
    assert verdict("inline:t", Tables(t={key: "550 no"}), stage).startswith("550 5.7.1 <")


def test_a_table_may_name_restrictions() -> None:
    tables = Tables(t={"a.test": "check_helo_access inline:u, reject"}, u={"helo.a.test": "OK"})
    assert not verdict("check_sender_access inline:t reject", tables)
    tables.tables["u"] = {}
    assert verdict("check_sender_access inline:t permit", tables).startswith("554")


def test_a_warning_before_a_table_holds_for_what_the_table_names() -> None:
    tables = Tables(t={"a.test": "permit_mynetworks, reject"})
    assert not verdict("warn_if_reject check_sender_access inline:t permit", tables)
    assert tables.logged == ["554 5.7.1 <Bob+x@Here.test>: Recipient address rejected: Access denied"]


@pytest.mark.parametrize("value", ["nonsense", "", "check_sender_access inline:t"])
def test_what_makes_no_sense_in_a_table_is_a_temporary_error_and_logged(value: str) -> None:
    tables = Tables(t={"a.test": value})
    assert verdict("check_sender_access inline:t permit", tables) == "451 4.3.5 Server configuration error"
    assert tables.logged


def test_a_table_that_cannot_be_asked_is_no_permission() -> None:
    assert verdict("check_sender_access inline:away permit", Tables()).startswith("451 4.3.0")


def test_warn_and_info_are_logged_and_decide_nothing() -> None:
    tables = Tables(t={"a.test": "WARN watch this"})
    assert verdict("check_sender_access inline:t reject", tables).startswith("554")
    assert tables.logged == ["warn: Sender address <alice@a.test>: watch this"]


@pytest.mark.parametrize("words", ["check_sender_access", "check_sender_access reject"])
def test_a_check_needs_its_table(words: str) -> None:
    with pytest.raises(ValueError, match="must be followed by a table"):
        parse(words.split())
