"""bounce_template_file, as Postfix's bounce.cf is written."""

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.formats.bounce_templates import BUILT_IN, read, wording
from sendmail_py.formats.report_kinds import Kind


def config(**settings: str) -> Config:
    values = {"myhostname": "mx.example.org", "maximal_queue_lifetime": "5d", "delay_warning_time": "4h"} | settings
    return Config({name: Setting(text, "test") for name, text in values.items()})


GERMAN = """\
# comments and blank lines are no part of a template

failure_template = <<EOF
Charset: utf-8
From: MAILER-DAEMON (Postamt)
Subject: Unzustellbar
Postmaster-Subject: Kopie: Unzustellbar

Grüße von $myhostname in ${mydomain}: nach $maximal_queue_lifetime_days Tagen
kostet es $$5.
EOF

delay_template=<<ENDE
Seit $delay_warning_time_hours h ($delay_warning_time_minutes min), $delay_warning_time; ${relayhost?ueber $relayhost}.
ENDE
"""


def test_a_template_replaces_the_text_and_the_fields_that_it_has() -> None:
    found, faults = read(GERMAN.encode(), config(mydomain="example.org"))
    assert faults == [] and set(found) == {Kind.FAILURE, Kind.DELAY}
    failure = wording(found[Kind.FAILURE], config(mydomain="example.org"))
    assert (failure.sender, failure.subject) == ("MAILER-DAEMON (Postamt)", "Unzustellbar")
    assert failure.text == "Grüße von mx.example.org in example.org: nach 5 Tagen\nkostet es $5.\n"
    assert wording(found[Kind.FAILURE], config(mydomain="x"), is_copy=True).subject == "Kopie: Unzustellbar"
    delay = wording(found[Kind.DELAY], config())
    assert delay.text == "Seit 4 h (240 min), 4h; .\n"
    assert delay.subject == BUILT_IN[Kind.DELAY].subject


def test_a_verify_template_is_for_both_reports_of_sendmail_v() -> None:
    found, faults = read(b"verify_template = <<X\n\nhere it is\nX\n", config())
    assert faults == [] and set(found) == {Kind.DELIVERY, Kind.VERIFICATION}
    assert wording(found[Kind.DELIVERY], config()).text == "here it is\n"


def test_octets_are_read_by_their_charset_and_a_subject_is_encoded() -> None:
    text = "failure_template = <<X\nCharset: iso-8859-1\n\nGrüße\nX\n".encode("latin-1")
    assert wording(read(text, config())[0][Kind.FAILURE], config()).text == "Grüße\n"
    text = "failure_template = <<X\nCharset: utf-8\nSubject: Zurück\n\nx\nX\n".encode()
    assert wording(read(text, config())[0][Kind.FAILURE], config()).subject == "=?utf-8?B?WnVyw7xjaw==?="


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("failure_template = <<X\n\n$nosuch\nX\n", "line 1: failure_template: $nosuch: there is no such parameter"),
        ("failure_template = <<X\n\n$myhostname_days\nX\n", "$myhostname_days: myhostname is no time"),
        ("failure_template = <<X\n\n${x\nX\n", "is not closed"),
        ("failure_template = <<X\n\na $ b\nX\n", "a $ without a name"),
        ("failure_template = <<X\n\nGrüße\nX\n", "the text is not us-ascii"),
        ("failure_template = <<X\nCharset: klingon\n\nx\nX\n", "charset klingon: no such character set"),
        ("failure_template = <<X\nFrom: Jörg\n\nx\nX\n", "from: only ASCII can stand here"),
        ("failure_template = <<X\nSubject:\n\nx\nX\n", "subject: it is empty"),
        ("failure_template = <<X\nReply-To: a\n\nx\nX\n", "reply-to: no such field here"),
        ("success_template = <<X\nPostmaster-Subject: a\n\nx\nX\n", "postmaster-subject: no such field here"),
        ("failure_template = <<X\nSubject: a\nX\n", "there is no text"),
        ("failure_template = <<X\n\nx\n", "line 1: failure_template: no line X ends it"),
        ("failure_template = text\n", "line 1: name = <<MARKER expected"),
        ("other_template = <<X\n\nx\nX\n", "other_template: one of failure_template, "),
    ],
)
def test_a_template_with_a_fault_is_left_out_and_named(text: str, fault: str) -> None:
    good = "success_template = <<Y\n\nfine\nY\n"
    found, faults = read((text + good).encode(), config())
    if "no line X" in fault:
        found, faults = read(text.encode(), config())
        found[Kind.SUCCESS] = BUILT_IN[Kind.SUCCESS]
    assert set(found) == {Kind.SUCCESS}
    assert len(faults) == 1 and fault in faults[0] and faults[0].endswith("it is left out")


@pytest.mark.parametrize(
    ("time", "words"),
    [("4h", "4 hours"), ("1d", "1 day"), ("90m", "90 minutes"), ("7s", "7 seconds"), ("0", "0 seconds")],
)
def test_the_built_in_text_names_a_time_in_its_own_unit(time: str, words: str) -> None:
    text = wording(BUILT_IN[Kind.DELAY], config(delay_warning_time=time)).text
    assert f"\n{words} or more." in text and "5 days old" in text and "host mx.example.org." in text


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_report_has_a_text_of_its_own(kind: Kind) -> None:
    assert wording(BUILT_IN[kind], config()).text.startswith("This is the mail system at host mx.example.org.\n")
    assert len({template.text for template in BUILT_IN.values()}) == len(Kind)
