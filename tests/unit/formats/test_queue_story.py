"""What `mailctl queue show` tells of a message."""

import json
import time

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Mark
from sendmail_py.formats.queue_reader import read_history
from sendmail_py.formats.queue_story import story, story_text
from tests.unit.conftest import envelope_for

NOW = 1_795_435_041.0
ID = "0123456789ABC"
HISTORY = b'2026-11-23T12:01:07Z <b@x> deferred 4.4.1 relay=mx[192.0.2.7]:25 "host said:\\x1b[2J no"\n'


def test_a_story_has_envelope_recipients_and_attempts() -> None:
    e = envelope_for("a@x", "b@x", "c@x")
    e.arrived_at = int((NOW - 7200) * 1e6)
    e.submitter.command, e.submitter.pid = "mail -s hello", 7
    e.recipients[0].mark, e.recipients[2].mark = Mark.DELIVERED, Mark.FAILED
    e.recipients[1].notify, e.recipients[1].original = ("FAILURE", "DELAY"), "rfc822;o@x"
    e.envid, e.ret, e.delay_warned, e.parent, e.size = "e1", "HDRS", True, ("0123456789A", 5), 240
    found = story(e, ID, "deferred", read_history(HISTORY), NOW + 300)
    assert json.loads(json.dumps(found)) == found
    assert found["recipients"][1] == {
        "address": "b@x",
        "state": "waiting",
        "notify": ["FAILURE", "DELAY"],
        "original": "rfc822;o@x",
    }
    assert story_text(found, NOW, time.gmtime) == (
        "0123456789ABC  deferred\n"
        "  arrived    Mon 23 Nov 2026 09:57:21 (2 h ago)\n"
        "  from       <alice@example.org>\n"
        "  submitted  uid=1000, pid=7, login=alice, command=mail -s hello\n"
        "  size       240 octets\n"
        "  next try   Mon 23 Nov 2026 12:02:21 (in 5 min)\n"
        "  parent     0123456789A\n"
        "  envid      e1\n"
        "  ret        HDRS\n"
        "  note       its sender has been warned of the delay\n"
        "recipients\n"
        "  delivered  <a@x>\n"
        "  waiting    <b@x> notify=FAILURE,DELAY original=rfc822;o@x\n"
        "  failed     <c@x>\n"
        "attempts\n"
        "  2026-11-23T12:01:07Z  <b@x> deferred 4.4.1 by mx[192.0.2.7]:25\n"
        "      host said: [2J no\n"
    )


def test_what_came_by_smtp_tells_of_the_client() -> None:
    e = envelope_for("a@x", sender="")
    e.client, e.submitter.helo, e.submitter.protocol = "c.test[192.0.2.1]", "c.test", "ESMTPS"
    text = story_text(story(e, ID, "hold", [], 0.0), NOW)
    assert "  submitted  client=c.test[192.0.2.1], helo=c.test, protocol=ESMTPS\n" in text
    assert "  from       <>\n" in text and "next try" not in text
    assert text.endswith("attempts: none that left it waiting\n")


def test_a_program_is_shown_as_the_target_of_its_recipient() -> None:
    e = envelope_for("a@x")
    e.recipients[0].target, e.reverse_path = "|vacation", Address("a", "x")
    assert "<a@x> target=|vacation\n" in story_text(story(e, ID, "hold", [], 0.0), NOW)
