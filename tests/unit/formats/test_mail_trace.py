"""Which lines of a log belong to one message's story."""

import json

import pytest

from sendmail_py.formats.mail_trace import Reader, families, family, is_base_id, origin, stories
from sendmail_py.spool.queue_id import base_id, child_id

ONE, TWO, NEW = base_id(1795435041123456, 0xABC12), base_id(1795435041123999, 0x7), base_id(1795435049000000, 0x123456)
CHILD, BOUNCE = child_id(ONE, 0, 0), child_id(child_id(ONE, 0, 0), 1, 0)
LOG = f"""\
Nov 23 11:57:21 mx sendmail-py/pickup[1]: {ONE}: uid=1000 from=<alice@example.org> login=alice
Nov 23 11:57:21 mx sendmail-py/cleanup[1]: {ONE}: message-id=<One@Example.org>
2026-11-23T11:57:21.123+00:00 mx sendmail-py/cleanup[1]: {TWO}: message-id=<two@example.org>
Nov 23 11:57:22 mx sendmail-py/local[2]: {ONE}: to=<team@example.org>, relay=local, status=sent (expanded into {CHILD})
Nov 23 11:57:22 mx other/smtp[3]: {ONE}: not ours
Nov 23 11:57:23 mx sendmail-py/smtp[3]: {CHILD}: to=<bob@far.test>, orig_to=<team@example.org>, status=bounced (no)
Nov 23 11:57:23 mx sendmail-py/bounce[3]: {CHILD}: sender non-delivery notification: {BOUNCE}
Nov 23 11:57:24 mx sendmail-py/smtp[3]: {BOUNCE}: to=<alice@example.org>, status=sent (ok)
Nov 23 11:57:24 mx sendmail-py/smtp[3]: warning: {TWO}: to=<carol@far.test>, status=deferred (bob@far.test)
Nov 23 11:57:25 mx sendmail-py/qmgr[3]: {TWO}: requeued as {NEW}
Nov 23 11:57:26 mx sendmail-py/smtp[3]: {NEW}: to=<carol@far.test>, status=sent (ok)
Nov 23 11:57:26 mx sendmail-py/master[3]: daemon started -- version 0.1.0, configuration /etc/sendmail-py
""".splitlines()
JSON = json.dumps({"time": "2026-11-23T11:57:27Z", "service": "qmgr", "message": f"{NEW}: removed", "pid": 3})
EVENTS = list(Reader("sendmail-py").events([*LOG, JSON, "{torn", "", "junk"]))


def test_lines_of_text_and_of_json_are_read() -> None:
    assert len(EVENTS) == 11
    assert (EVENTS[0].time, EVENTS[0].service, EVENTS[0].queue_id) == ("Nov 23 11:57:21", "pickup", ONE)
    assert (EVENTS[-1].service, EVENTS[-1].text) == ("qmgr", "removed")


def test_an_id_tells_of_its_family() -> None:
    assert [family(queue_id) for queue_id in (ONE, CHILD, BOUNCE, TWO)] == [ONE, ONE, ONE, TWO]
    assert is_base_id(BOUNCE) and not is_base_id("alice@example.org") and not is_base_id("F" * 15)


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (ONE, {ONE}),
        (BOUNCE, {ONE}),
        ("<one@example.ORG>", {ONE}),
        ("bob@far.test", {ONE}),
        ("TEAM@example.org", {ONE}),
        ("alice@example.org", {ONE}),
        (TWO, {TWO, NEW}),
        (NEW, {TWO, NEW}),
        ("two@example.org", {TWO, NEW}),
        ("carol@far.test", {TWO, NEW}),
        ("dan@far.test", set()),
    ],
)
def test_a_message_is_found_by_id_message_id_or_address(what: str, found: set[str]) -> None:
    assert families(EVENTS, what) == found


def test_a_story_has_the_children_and_says_what_they_are() -> None:
    found = stories(EVENTS, {ONE})
    assert {queue_id: len(events) for queue_id, events in found.items()} == {ONE: 3, CHILD: 2, BOUNCE: 1}
    assert origin(ONE, found) == ("", "")
    assert origin(CHILD, found) == (ONE, "expanded")
    assert origin(BOUNCE, found) == (CHILD, "sender non-delivery notification")
    found = stories(EVENTS, {TWO, NEW})
    assert origin(NEW, found) == (TWO, "requeued")


@pytest.mark.parametrize("queue_id", ["0123456789ABCZ12", "0123456789ABC", "0123456789ABCF12"])
def test_what_only_looks_like_an_id_is_none(queue_id: str) -> None:
    line = f"Nov 23 11:57:21 mx sendmail-py/pickup[1]: {queue_id}: x"
    assert list(Reader("sendmail-py").events([line])) == []
