"""Who may submit, and how much: authorized_submit_users and local_submission_rate_limit, as pickup enforces them.

sendmail(1) checks both too, for a clear line at once, but it runs with its caller's rights and can
be passed by; here is what cannot. Users who have reached the limit are published in
maildrop/.blocked, which everybody can read and only pickup can make: sendmail(1) answers 75 to
them. The counts are kept in data_directory over an orderly stop and a reload; after a kill those
of users who have not reached a limit begin anew.
"""

import os
import time
from dataclasses import dataclass

from ..core.config import Config
from ..core.exitcodes import EX_TEMPFAIL, EX_UNAVAILABLE
from ..host.configuration_file import read_text
from ..host.syslog import Log
from ..host.users import UidCache
from ..routing.submission_rate import Row, SubmissionRate, parse_limit
from ..spool.atomic import replace_text
from ..spool.layout import BLOCKED, MAILDROP, TMP
from .permissions import denial

_KEPT = "submissions"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submitter is told: an exit code, a line for a person, the id of a message that was taken."""

    code: int
    text: str = ""
    id: str = ""
    busy: bool = False


class Admission:
    """The rules of one configuration, and the counts."""

    def __init__(self, config: Config, users: UidCache, log: Log) -> None:
        self._users = users
        self._log = log
        self._authorized: list[str] = config.authorized_submit_users
        self._limit = config.local_submission_rate_limit
        self._rate = SubmissionRate(*parse_limit(self._limit))
        self._data = config.data_directory
        self._top = config.queue_directory
        self._published: dict[int, float] | None = None
        self._restore()

    # --- authorized_submit_users ------------------------------------------------------------

    def forbids(self, uid: int) -> str:
        """Return why a user may never submit, "" when he may; raises OSError when that cannot be told now."""
        return denial(self._authorized, uid, self._users, "submit mail")

    # --- local_submission_rate_limit --------------------------------------------------------

    def is_limited(self, uid: int) -> bool:
        """Say whether a user has a limit at all."""
        return self._rate.applies(uid)

    def closed(self, uid: int) -> str:
        """Return why a user may not submit just now, "" when he may."""
        until = self._rate.closed_until(uid, time.time())
        return limit_text(uid, self._limit, until) if until else ""

    def refusal(self, uid: int) -> Answer | None:
        """Return the answer to who may not submit now, before anything is read; raises OSError."""
        if text := self.forbids(uid):
            return Answer(EX_UNAVAILABLE, text)
        if text := self.closed(uid):
            return Answer(EX_TEMPFAIL, text)
        return None

    def too_many(self, uid: int, recipients: int) -> str:
        """Return why a message can never be taken, "" when it can."""
        if not self._rate.is_too_many(uid, recipients):
            return ""
        return f"{recipients} recipients are more than local_submission_rate_limit = {self._limit} ever allows"

    def has_room(self, uid: int, recipients: int) -> bool:
        """Say whether a message may go now; a user for whom it may not is logged once an hour, and published."""
        now = time.time()
        was_closed = bool(self._rate.closed_until(uid, now))
        if self._rate.has_room(uid, recipients, now):
            return True
        if not was_closed:
            self._note_closed(uid, now)
        return False

    def count(self, uid: int, recipients: int) -> None:
        """Count a message that was taken."""
        now = time.time()
        if self._rate.count(uid, recipients, now):
            self._note_closed(uid, now)

    def _note_closed(self, uid: int, now: float) -> None:
        until = self._rate.closed_until(uid, now)
        self._log.warning(f"{limit_text(uid, self._limit, until)}; until then its files wait in {MAILDROP}/")
        self.publish()
        self.keep()

    def next_opening(self) -> float:
        """Return the seconds until a closed user may submit again; 0 when nobody is closed."""
        published = (self._published or {}).values()
        return max(0.1, min(published) - time.time()) if published else 0.0

    # --- on disk ----------------------------------------------------------------------------

    def publish(self) -> None:
        """Write who may not submit, for sendmail(1) to see; no file when that is nobody."""
        closed = self._rate.closed(time.time())
        if closed == self._published:
            return
        path = f"{self._top}/{MAILDROP}/{BLOCKED}"
        try:
            if closed:
                lines = "".join(f"{uid} {int(until)}\n" for uid, until in sorted(closed.items()))
                replace_text(f"{self._top}/{TMP}/{BLOCKED}", path, lines, 0o644)
            else:
                _remove(path)
        except OSError as error:
            self._log.warning(f"{path}: {error.strerror}; users over the limit are not told when they submit")
        self._published = closed

    def keep(self) -> None:
        """Write the counts, for the next pickup."""
        path = f"{self._data}/{_KEPT}"
        rows = list(self._rate.rows())
        try:
            if rows:
                text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
                replace_text(f"{path}.new", path, text, 0o600)
            else:
                _remove(path)
        except OSError as error:
            self._log.warning(f"{path}: {error.strerror}; the counts of submissions do not survive a restart")

    def _restore(self) -> None:
        try:
            text = read_text(f"{self._data}/{_KEPT}")
        except OSError:
            return
        self._rate.restore([row for line in text.split("\n") if (row := _row(line))], time.time())


def limit_text(uid: int, limit: str, until: float) -> str:
    """Say that a user has reached the limit, and when he may submit again."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until))
    return f"uid {uid} has reached local_submission_rate_limit = {limit} (messages/recipients an hour) until {clock}"


def _row(line: str) -> Row | None:
    try:
        uid, began, messages, recipients = map(int, line.split())
    except ValueError:
        return None
    return uid, began, messages, recipients


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
