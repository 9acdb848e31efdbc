"""What the postmaster hears of a session of the SMTP server, where notify_classes wants it; else this costs nothing."""

import time

from ..core.config import Config
from ..host.sockets import connect, send_record
from ..host.syslog import Log
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..protocol.server_commands import Auth, Command, Refused
from ..protocol.transcript import BOUNCE, CLASSES, DATA, POLICY, PROTOCOL, RESOURCE, Notice, Transcript
from ..routing.report_rate import ReportRate
from ..routing.restriction_scene import Client
from .smtpd_content import NO_ROOM, TROUBLE

_OF_PROTOCOL = (replies.TOO_MANY_ERRORS, replies.NOT_SMTP, replies.UNREAD)
_OF_STATUS = {"1.1": BOUNCE, "3.0": DATA, "3.1": RESOURCE, "3.5": DATA}


def wanted_classes(config: Config) -> frozenset[str]:
    """Return the classes that sessions are told of for."""
    return frozenset(config.notify_classes) & frozenset(CLASSES)


def class_of(event: Command | None, answer: Reply) -> str:
    """Return what a refusal counts as, as with Postfix; "" for nothing. event is None for the connection itself."""
    if answer.code < 400 or isinstance(event, Auth):
        return ""
    if isinstance(event, Refused) or answer in _OF_PROTOCOL:
        return PROTOCOL
    if answer in (TROUBLE, NO_ROOM):
        return RESOURCE
    return _OF_STATUS.get(answer.status.partition(".")[2], POLICY)


class SessionTranscript:
    """The transcript of one session, from where its lines pass."""

    def __init__(self, config: Config, classes: frozenset[str], rate: ReportRate) -> None:
        self._config = config
        self._rate = rate
        self._kept = Transcript(classes)
        self._is_secret = False  # what is no command may be the rest of a login

    def heard(self, event: Command, line: str) -> None:
        """Take a command; what is said in a login, or may be, is not kept."""
        begins_login = line.lstrip()[:4].upper() == "AUTH"
        if begins_login:
            self._is_secret = True
        elif not isinstance(event, Auth | Refused):
            self._is_secret = False
        is_response = isinstance(event, Auth) and not event.mechanism
        self._kept.heard("*" if is_response or (self._is_secret and not begins_login) else line)

    def said(self, octets: bytes) -> None:
        """Take what the client is told."""
        for line in octets.decode("ascii", "replace").splitlines():
            self._kept.said(line)

    def note(self, event: Command | None, answer: Reply) -> None:
        """Take note of what a refusal counts as."""
        if name := class_of(event, answer):
            self._kept.note(name)

    def notice(self, client: Client, why: str) -> Notice | None:
        """Return what the postmaster is to hear of the session; None for nothing, and for one session too many."""
        notice = self._kept.notice(f"{self._config.syslog_name} SMTP server: errors from {client}", why)
        # qmgr counts for all processes; this keeps a flood away from it
        return notice if notice and self._rate.has_room(notice.name, time.time()) else None

    def end(self, client: Client, why: str, log: Log) -> None:
        """Have the postmaster told, if there is something to tell, and a queue manager that listens."""
        notice = self.notice(client, why)
        if notice is None:
            return
        try:
            with connect(f"{self._config.run_directory}/public", timeout=0) as end:
                send_record(end, {"verb": "notice", **notice.record()})
        except OSError as error:
            log.warning(f"the postmaster is not told of {client}: {error}")
