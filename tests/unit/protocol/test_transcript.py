"""What is kept of a session for the postmaster."""

import json

import pytest

from sendmail_py.protocol.commands import Command, Verb
from sendmail_py.protocol.smtp_client import SmtpClient
from sendmail_py.protocol.transcript import DATA, POLICY, PROTOCOL, RESOURCE, Transcript, read

ALL = frozenset((DATA, POLICY, PROTOCOL, RESOURCE))


def client(*, wanted: frozenset[str] = ALL) -> SmtpClient:
    machine = SmtpClient()
    machine.transcript = Transcript(wanted)
    return machine


def converse(machine: SmtpClient, *steps: Command | str) -> list[str]:
    """Say commands and hear replies; returns what the postmaster is told, [] for nothing."""
    for step in steps:
        if isinstance(step, str):
            machine.receive_data(step.encode() + b"\r\n")
            machine.next_event()
        else:
            machine.send(step)
    assert machine.transcript
    notice = machine.transcript.notice("errors")
    return notice.lines if notice else []


HELLO = ("220 mx.test", Command(Verb.EHLO, "c.test"), "250-mx.test\r\n250 AUTH PLAIN")
MAIL = Command(Verb.MAIL, "FROM:<a@b.test>")


def test_a_session_without_trouble_is_not_told_of() -> None:
    assert converse(client(), *HELLO, MAIL, "250 ok") == []


@pytest.mark.parametrize("reply", ["500 what?", "501 no", "503 bad sequence", "555 no", "354 go ahead"])
def test_a_reply_that_says_one_side_does_not_keep_the_protocol_is_told_with_the_whole_session(reply: str) -> None:
    lines = converse(client(), *HELLO, MAIL, reply)
    assert lines[:2] == ["Transcript of session follows.", ""]
    assert lines[2:-2] == [
        " In:  220 mx.test",
        " Out: EHLO c.test",
        " In:  250-mx.test",
        " In:  250 AUTH PLAIN",
        " Out: MAIL FROM:<a@b.test>",
        f" In:  {reply}",
    ]


@pytest.mark.parametrize("reply", ["550 5.7.1 go away", "421 busy", "451 later", "530 log in"])
def test_a_refusal_is_no_error_of_protocol(reply: str) -> None:
    assert converse(client(), *HELLO, MAIL, reply) == []


def test_a_server_that_knows_helo_only_is_no_error() -> None:
    assert converse(client(), "220 mx.test", Command(Verb.EHLO, "c"), "502 no", Command(Verb.HELO, "c"), "250 mx") == []


def test_who_does_not_want_to_hear_of_protocol_errors_does_not() -> None:
    assert converse(client(wanted=frozenset((POLICY,))), *HELLO, MAIL, "500 what?") == []


def test_no_secret_of_a_login_is_kept_nor_what_the_server_says_of_it() -> None:
    machine = client()
    for octets in (b"220 mx.test\r\n", b"250-mx.test\r\n250 AUTH PLAIN LOGIN\r\n"):
        machine.receive_data(octets)
        machine.next_event()
        if octets[:1] == b"2" and machine.state.name == "START":
            machine.send(Command(Verb.EHLO, "c.test"))
    machine.send(Command(Verb.AUTH, "LOGIN c2VjcmV0"))
    machine.receive_data(b"334 UGFzc3dvcmQ6\r\n")
    machine.next_event()
    machine.respond("c2VjcmV0")
    lines = converse(machine, "535 wrong: c2VjcmV0", MAIL, "500 what?")
    assert [line for line in lines if "AUTH L" in line or "*" in line] == [
        " Out: AUTH LOGIN *",
        " In:  334 *",
        " Out: *",
        " In:  535 *",
    ]
    assert "c2VjcmV0" not in "".join(lines)


def test_a_long_session_is_kept_by_its_beginning_and_its_end_and_fits_a_record() -> None:
    transcript = Transcript(ALL)
    for number in range(100_000):
        transcript.heard(f"{number} " + "\x00\xfcx" * 1000)
    transcript.note(POLICY)
    notice = transcript.notice("s", "lost connection")
    assert notice and notice.lines[2].startswith(" In:  0 ??x")
    assert any(line == " ... 99900 lines are left out" for line in notice.lines)
    assert notice.lines[-5].startswith(" In:  99999 ") and "Session aborted, reason: lost connection" in notice.lines
    record = json.dumps(notice.record())
    assert len(record) < 40_000
    assert read(json.loads(record)) == notice


def test_the_postmaster_hears_of_a_session_once_by_its_first_trouble() -> None:
    transcript = Transcript(ALL)
    for name in (RESOURCE, POLICY, "nonsense"):
        transcript.note(name)
    notice = transcript.notice("s")
    assert notice and notice.name == RESOURCE
    assert transcript.notice("s") is None


@pytest.mark.parametrize(
    "record",
    [
        {"class": "software", "subject": "s", "lines": []},
        {"class": POLICY, "subject": 1, "lines": []},
        {"class": POLICY, "subject": "s", "lines": [1]},
        {"class": POLICY, "subject": "s", "lines": ["x"] * 1000},
        {"class": [], "subject": "s", "lines": []},
        {"class": POLICY},
        [],
        None,
    ],
)
def test_what_is_no_notice_is_refused(record: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read(record)
