"""Which refusals of the SMTP server the postmaster hears of, and what he never reads."""

import pytest

from sendmail_py.core.config import Setting
from sendmail_py.host.configuration import from_settings
from sendmail_py.protocol import server_replies as replies
from sendmail_py.protocol.commands import Verb
from sendmail_py.protocol.reply import Reply
from sendmail_py.protocol.server_commands import Auth, Command, Plain, Refused
from sendmail_py.routing.report_rate import ReportRate
from sendmail_py.routing.restriction_scene import Client
from sendmail_py.services.smtpd_message import NO_ROOM, TROUBLE
from sendmail_py.services.smtpd_transaction import TOO_MANY_RECIPIENTS
from sendmail_py.services.smtpd_transcript import SessionTranscript, class_of, wanted_classes

MAIL = Plain(Verb.NOOP, replies.OK)


@pytest.mark.parametrize(
    ("event", "answer", "name"),
    [
        (MAIL, replies.OK, ""),
        (MAIL, replies.reply(554, "5.7.1", "Relay access denied"), "policy"),
        (MAIL, replies.reply(450, "4.7.1", "Client host rejected: try again"), "policy"),
        (None, replies.reply(421, "4.7.0", "Error: too many connections"), "policy"),
        (MAIL, replies.TOO_LARGE, "policy"),
        (MAIL, TOO_MANY_RECIPIENTS, "policy"),
        (MAIL, replies.reply(550, "5.1.1", "User unknown"), "bounce"),
        (MAIL, TROUBLE, "resource"),
        (MAIL, NO_ROOM, "resource"),
        (MAIL, replies.reply(451, "4.3.0", "Temporary lookup failure"), "data"),
        (MAIL, replies.reply(451, "4.3.5", "Server configuration error"), "data"),
        (Refused(replies.UNKNOWN_COMMAND), replies.UNKNOWN_COMMAND, "protocol"),
        (Refused(replies.TOO_MANY_ERRORS), replies.TOO_MANY_ERRORS, "protocol"),
        (Auth(replies.OK, "PLAIN", ""), replies.BAD_CREDENTIALS, ""),
    ],
)
def test_a_refusal_is_of_the_class_that_it_has_in_postfix(event: Command | None, answer: Reply, name: str) -> None:
    assert class_of(event, answer) == name


HEARD = [
    (Refused(replies.UNKNOWN_COMMAND), "AUTH LOGIN c2VjcmV0"),  # where there are no logins
    (Refused(replies.UNKNOWN_COMMAND), "c2VjcmV0"),
    (Refused(replies.UNKNOWN_COMMAND), "c2VjcmV0Mg=="),
    (MAIL, "NOOP"),
    (Refused(replies.UNKNOWN_COMMAND), "HELP ME"),
    (Auth(replies.OK, "LOGIN", None), "AUTH LOGIN"),
    (Auth(replies.OK, "", "c2VjcmV0"), "c2VjcmV0"),
    (Auth(replies.OK, "", None), "auth login c2VjcmV0"),
    (Refused(replies.UNKNOWN_COMMAND), "c2VjcmV0Mg=="),
]


def test_what_may_be_a_secret_of_a_login_is_not_kept() -> None:
    config = from_settings({"notify_classes": Setting("protocol", "test")})
    transcript = SessionTranscript(config, wanted_classes(config), ReportRate(0))
    for event, line in HEARD:
        transcript.heard(event, line)
    transcript.note(HEARD[-1][0], replies.UNKNOWN_COMMAND)
    notice = transcript.notice(Client("unknown", "192.0.2.7"), "")
    assert notice and [line[6:] for line in notice.lines if " In: " in line] == [
        "AUTH LOGIN *", "*", "*", "NOOP", "HELP ME", "AUTH LOGIN", "*", "*", "*",
    ]  # fmt: skip
