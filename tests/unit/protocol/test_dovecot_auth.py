"""Dovecot's authentication protocol: its greeting, its answers, and what cannot be said in it."""

import pytest

from sendmail_py.protocol.dovecot_auth import Answer, DovecotError, Greeting, auth, cancel, goes_on, hello, read

GREETING = """\
VERSION\t1\t2
MECH\tPLAIN\tplaintext
MECH\tLOGIN\tplaintext
MECH\tCRAM-MD5\tdictionary\tactive
MECH\tSCRAM-SHA-256\tmutual-auth
MECH\tANONYMOUS\tanonymous
MECH\tINTERNAL\tprivate
SPID\t17
CUID\t1
COOKIE\t0123
DONE"""


def greeting(text: str = GREETING) -> Greeting:
    found = Greeting()
    for line in text.splitlines():
        assert not found.is_done
        found.take(line)
    return found


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ("", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 ANONYMOUS"),
        ("noanonymous", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"),
        ("noanonymous noplaintext", "CRAM-MD5 SCRAM-SHA-256"),
        ("noanonymous noplaintext noactive", "SCRAM-SHA-256"),
        ("nodictionary noplaintext noanonymous", "SCRAM-SHA-256"),
        ("mutual_auth", "SCRAM-SHA-256"),
        ("forward_secrecy", ""),
    ],
)
def test_mechanisms_are_those_that_the_options_leave(options: str, left: str) -> None:
    assert greeting().is_done
    assert greeting().allowed(options.split()) == left.split()


@pytest.mark.parametrize("version", ["VERSION\t2\t0\n", "", "VERSION\n"])
def test_another_version_is_not_spoken(version: str) -> None:
    with pytest.raises(DovecotError, match="a version"):
        greeting(version + "MECH\tPLAIN\nDONE")


def test_requests_are_lines_of_fields_and_the_response_is_the_last() -> None:
    facts = {"service": "smtp", "nologin": "", "rip": "192.0.2.1"}
    assert hello(17) == b"VERSION\t1\t2\nCPID\t17\n"
    assert auth(1, "PLAIN", facts, "AGE=") == b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\trip=192.0.2.1\tresp=AGE=\n"
    assert auth(2, "LOGIN", facts, None) == b"AUTH\t2\tLOGIN\tservice=smtp\tnologin\trip=192.0.2.1\n"
    assert goes_on(2, "YQ==") == b"CONT\t2\tYQ==\n"
    assert cancel(2) == b"CANCEL\t2\n"


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "\0", "\x01"])
def test_no_value_can_begin_another_field(text: str) -> None:
    with pytest.raises(DovecotError):
        auth(1, "PLAIN", {"rip": text}, None)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("CONT\t2\tVXNlcg==", Answer("CONT", 2, "VXNlcg==")),
        ("CONT\t2\t", Answer("CONT", 2)),
        ("OK\t3\tuser=alice@here.test\tother=x", Answer("OK", 3, user="alice@here.test")),
        ("OK\t3\tuser=a\x01tb\tresp=dj0=", Answer("OK", 3, "dj0=", "a\tb")),
        ("FAIL\t4\tuser=alice\treason=no", Answer("FAIL", 4, user="alice")),
        ("FAIL\t4\ttemp", Answer("FAIL", 4, is_temporary=True)),
        ("FAIL\t4\tuser=a\tcode=temp_fail", Answer("FAIL", 4, user="a", is_temporary=True)),
        ("FAIL\t4\tuser=a\tcode=user_disabled", Answer("FAIL", 4, user="a")),
        ("MECH\tPLAIN", None),
        ("", None),
    ],
)
def test_answers_are_read(line: str, answer: Answer | None) -> None:
    assert read(line) == answer


@pytest.mark.parametrize("line", ["OK", "OK\tx", "FAIL\t\u0661", "CONT"])
def test_an_answer_to_nothing_is_an_error(line: str) -> None:
    with pytest.raises(DovecotError):
        read(line)
