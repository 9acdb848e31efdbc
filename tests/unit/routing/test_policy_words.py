"""check_policy_service: what a service is told, and what becomes of the message for what it says."""

import pytest

from sendmail_py.core.address import Address
from sendmail_py.routing.policy_words import attributes_of
from sendmail_py.routing.restriction_scene import LOG, NOTE, POLICY, Client, Domains, Facts, Scene, Subject
from sendmail_py.routing.restrictions import Checks, Rules, parse

DOMAINS = Domains(lambda domain: True, lambda domain: True, "here.test")
STAGES = ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")


def subject(state: str = "RCPT") -> Subject:
    facts = Facts("4711", "mx.a.test", "192.0.2.9", "25", "ESMTP", state, "1.2.3", 77, 3, ("TLSv1.3", "AES", 256))
    return Subject(
        Client("mx.a.test", "192.0.2.1"), "helo.test", Address("a", "a.test"), Address("b", "here.test"), facts
    )


class Service:
    """Answers a check with one action; keeps what was asked and logged."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.asked: list[object] = []
        self.logged: list[str] = []

    def verdict(self, words: str, the_subject: Subject, stage: str = "recipient") -> str:
        lists = {name: parse([]) for name in STAGES} | {"relay": parse(["permit"]), stage: parse(words.split(), stage)}
        checks = Checks(Rules(lists, DOMAINS, unlisted_recipient=False))
        check = checks.end_of_data(the_subject) if stage == "end_of_data" else checks.rcpt(the_subject)
        answer: object = None
        try:
            while True:
                ask = check.send(answer)
                answer = self.action if ask.kind == POLICY else None
                if ask.kind == POLICY:
                    self.asked.append(ask.value)
                elif ask.kind in (LOG, NOTE):
                    self.logged.append(ask.value if ask.kind == LOG else " ".join(ask.value))
        except StopIteration as end:
            return end.value.text if end.value else ""


def test_a_service_is_told_all_that_is_known() -> None:
    told = attributes_of(Scene(subject(), DOMAINS, "", ""))
    assert {name: str(value) for name, value in told.items() if value} == {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": "192.0.2.1",
        "client_name": "mx.a.test",
        "client_port": "4711",
        "reverse_client_name": "mx.a.test",
        "server_address": "192.0.2.9",
        "server_port": "25",
        "helo_name": "helo.test",
        "sender": "a@a.test",
        "recipient": "b@here.test",
        "instance": "1.2.3",
        "size": "77",
        "encryption_protocol": "TLSv1.3",
        "encryption_cipher": "AES",
        "encryption_keysize": "256",
    }
    assert attributes_of(Scene(subject("DATA"), DOMAINS, "", ""))["recipient_count"] == 3


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("OK", ""),
        ("DUNNO", "554 5.7.1 <b@here.test>: Recipient address rejected: Access denied"),
        ("REJECT no", "554 5.7.1 <b@here.test>: Recipient address rejected: no"),
        ("DEFER 4.2.0 later", "450 4.2.0 <b@here.test>: Recipient address rejected: later"),
        ("451 4.3.5 Server configuration problem", "451 4.3.5 <b@here.test>: Recipient address rejected: Server"),
        ("DEFER_IF_PERMIT x", "554 5.7.1"),
        ("DEFER_IF_REJECT x", "450 4.7.1 <b@here.test>: Recipient address rejected: x"),
        ("WARN strange", "554 5.7.1"),
        ("DISCARD", ""),
        ("HOLD", "554 5.7.1"),
        ("permit_mynetworks, permit", ""),
        ("FILTER smtp:x", "451 4.3.5 Server configuration error"),
        ("PREPEND no field", "451 4.3.5 Server configuration error"),
        ("REDIRECT nobody", "451 4.3.5 Server configuration error"),
        ("nonsense", "451 4.3.5 Server configuration error"),
    ],
)
def test_an_action_before_a_rejection(action: str, answer: str) -> None:
    service = Service(action)
    said = service.verdict("check_policy_service inet:h:1 reject", subject())
    assert said.startswith(answer) if answer else not said
    if said.startswith("451 4.3.5 Server"):
        assert service.logged


def test_a_deferral_waits_for_the_permit() -> None:
    service = Service("DEFER_IF_PERMIT Greylisted")
    said = service.verdict("check_policy_service inet:h:1 permit", subject())
    assert said == "450 4.7.1 <b@here.test>: Recipient address rejected: Greylisted"


@pytest.mark.parametrize(
    ("action", "note"),
    [
        ("HOLD", "hold <b@here.test>: Recipient address triggers HOLD action"),
        ("HOLD look at it", "hold <b@here.test>: Recipient address look at it"),
        ("DISCARD", "discard <b@here.test>: Recipient address discarded"),
        ("REDIRECT x@y.test", "redirect <b@here.test>: Recipient address triggers REDIRECT x@y.test"),
        ("BCC x@y.test", "bcc <b@here.test>: Recipient address triggers BCC x@y.test"),
        ("PREPEND X-Policy: yes", ""),
    ],
)
def test_a_wish_for_the_message_is_kept_until_it_has_come(action: str, note: str) -> None:
    service, about = Service(action), subject()
    assert not service.verdict("check_policy_service inet:h:1 permit", about)
    wishes = about.wishes
    assert (
        wishes.held,
        bool(wishes.discarded),
        bool(wishes.redirect),
        bool(wishes.copies),
        bool(wishes.prepended),
    ) == (
        action.startswith("HOLD"),
        action == "DISCARD",
        action.startswith("REDIRECT"),
        action.startswith("BCC"),
        action.startswith("PREPEND"),
    )
    assert "".join(service.logged).startswith(note.partition(" discarded")[0])
    assert wishes.prepended in ([], [b"X-Policy: yes\n"])


def test_a_field_cannot_be_put_on_top_when_the_content_has_come_nor_anything_be_done_without_a_message() -> None:
    service, about = Service("PREPEND X: y"), subject("END-OF-MESSAGE")
    assert not service.verdict("check_policy_service inet:h:1", about, "end_of_data")
    assert not about.wishes.prepended
    about = subject()
    about.sender = None
    service.verdict("check_policy_service inet:h:1", about)
    assert [line[:8] for line in service.logged] == ["warning:"] * 2


def test_a_service_is_named_with_its_settings_in_braces() -> None:
    assert parse(["check_policy_service", "{ inet:h:1, timeout=3 }", "permit"])[0].argument == "{ inet:h:1, timeout=3 }"
    with pytest.raises(ValueError, match="must be followed"):
        parse(["check_policy_service"])
