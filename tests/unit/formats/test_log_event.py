"""Lines of the log as events: every value by its name, and the text beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats.log_event import daemon_of, event

DELIVERY = (
    "6615B08B52681211: to=<bob@example.org>, orig_to=<bob>, relay=mx.example.org[192.0.2.7]:25, delay=12, "
    "delays=0.05/0.06/10/1.9, dsn=4.4.1, status=deferred (connect to mx.example.org: a=b, timed out (110))"
)


def test_a_delivery_attempt_is_one_event_with_all_its_values() -> None:
    assert event(DELIVERY) == {
        "level": "info",
        "event": "delivery",
        "queue_id": "6615B08B52681211",
        "to": "bob@example.org",
        "orig_to": "bob",
        "relay": "mx.example.org[192.0.2.7]:25",
        "delay": 12.0,
        "delays": {"before_queue": 0.05, "in_queue": 0.06, "connection": 10.0, "transmission": 1.9},
        "dsn": "4.4.1",
        "status": "deferred",
        "text": "connect to mx.example.org: a=b, timed out (110)",
        "message": DELIVERY,
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '6615B08B52681211: uid=1002 from=<bob@h> login=bob pid=152 cwd="/a b" command="x y=\\"z\\""',
            {"event": "submission", "uid": 1002, "from": "bob@h", "login": "bob", "pid": 152, "cwd": "/a b"},
        ),
        ("6615B08B52681211: message-id=<a@b>", {"event": "message-id", "message_id": "a@b"}),
        (
            "6615B08B52681211: from=<bob@h>, size=298, nrcpt=1 (queue active)",
            {"event": "active", "size": 298, "nrcpt": 1, "text": "queue active"},
        ),
        ("6615B08B52681211: removed", {"event": "removed", "queue_id": "6615B08B52681211"}),
        ("6615B08B52681211: client=h[192.0.2.1]", {"event": "client", "client": "h[192.0.2.1]"}),
        ("NOQUEUE: reject: RCPT from h[192.0.2.1]: 550 5.1.1 <x>: unknown", {"event": "reject"}),
        ('6615B08B52681211: to=<"a>b, c=d"@e>, relay=none, dsn=5.1.1, status=bounced (no)', {"to": '"a>b, c=d"@e'}),
        ("warning: 6615B08B52681211: something else", {"level": "warning", "queue_id": "6615B08B52681211"}),
        ("error: it fails", {"level": "error", "event": "message"}),
        ("daemon started -- version 1, configuration /etc/x", {"level": "info", "event": "message"}),
    ],
)
def test_each_kind_of_line_has_its_event(line: str, expected: dict[str, object]) -> None:
    found = event(line)
    assert {name: found.get(name) for name in expected} == expected
    assert found["message"] == line


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from(["", "6615B08B52681211: ", "x=<", 'a="']))
def test_any_line_is_an_event_that_holds_its_text(text: str, before: str) -> None:
    assert event(before + text)["message"] == before + text


@pytest.mark.parametrize(
    ("text", "daemon"),
    [
        ("6615D8F7C56E0620CFCB: message-id=<1@a.test>", "cleanup"),
        ("6615D8F7C56E0620CFCB: reject: header Subject: buy from local; from=<a@a.test>: 5.7.1 no", "cleanup"),
        ("6615D8F7C56E0620CFCB: milter-reject: END-OF-MESSAGE from a[192.0.2.1]: 5.7.1 no;", "cleanup"),
        ("6615D8F7C56E0620CFCB: sender non-delivery notification: 6615D8F7C56E0620CFCB88", "bounce"),
        ("6615D8F7C56E0620CFCB: postmaster delay notification: 6615D8F7C56E0620CFCB88", "bounce"),
        ("6615D8F7C56E0620CFCB: milter-reject: RCPT from a[192.0.2.1]: 550 5.7.1 no;", ""),
        ("6615D8F7C56E0620CFCB: removed", ""),
        ("NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 5.1.1 no", ""),
        ("Anonymous TLS connection established", ""),
        ("", ""),
    ],
)
def test_lines_of_daemons_that_only_postfix_has_bear_their_names(text: str, daemon: str) -> None:
    assert daemon_of(text) == daemon
