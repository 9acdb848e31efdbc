"""local_submission_rate_limit: how much one user may submit in an hour.

A user's hour begins with a message and is over 3600 seconds later; then the count begins anew.
Who has reached a limit stays closed until his hour is over, for small messages too, so that
one sees a clear time. Root is never counted: what root sends tells of what is wrong, and root
could change the limit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HOUR = 3600.0
_USERS_KEPT = 10_000

Row = tuple[int, int, int, int]  # uid, when the hour began, messages, recipients


@dataclass(slots=True)
class _Hour:
    began: float
    messages: int = 0
    recipients: int = 0
    is_closed: bool = False


def parse_limit(text: str) -> tuple[int, int]:
    """Read "MESSAGES/RECIPIENTS" or "MESSAGES"; 0, also in place of nothing, is no limit. Raises ValueError."""
    messages, slash, recipients = (part.strip() for part in text.partition("/"))
    numbers = [messages or "0", recipients if slash else "0"]
    if not all(number.isascii() and number.isdigit() for number in numbers) or (slash and not messages):
        raise ValueError("messages/recipients an hour expected, such as 100/500, or 100")
    return int(numbers[0]), int(numbers[1])


class SubmissionRate:
    """What each user has submitted in his hour. Times are passed in, in seconds since the epoch."""

    def __init__(self, messages: int, recipients: int) -> None:
        self.messages = messages
        self.recipients = recipients
        self._hours: dict[int, _Hour] = {}

    def applies(self, uid: int) -> bool:
        """Say whether there is a limit for a user."""
        return uid != 0 and bool(self.messages or self.recipients)

    def _hour(self, uid: int, now: float) -> _Hour | None:
        hour = self._hours.get(uid)
        if hour and not hour.began <= now < hour.began + HOUR:
            del self._hours[uid]
            return None
        return hour

    def closed_until(self, uid: int, now: float) -> float:
        """Return when a user who has reached a limit may submit again; 0 when he may now."""
        hour = self._hour(uid, now) if self.applies(uid) else None
        return hour.began + HOUR if hour and hour.is_closed else 0.0

    def is_too_many(self, uid: int, recipients: int) -> bool:
        """Say whether one message has more recipients than an hour ever allows."""
        return self.applies(uid) and bool(self.recipients) and recipients > self.recipients

    def has_room(self, uid: int, recipients: int, now: float) -> bool:
        """Say whether a message may go now; if not, the user is closed until his hour is over."""
        if not self.applies(uid):
            return True
        hour = self._hour(uid, now)
        if hour is None:
            return True
        if self.recipients and hour.recipients + recipients > self.recipients:
            hour.is_closed = True
        return not hour.is_closed

    def count(self, uid: int, recipients: int, now: float) -> bool:
        """Count a message; True when the user has reached a limit with it."""
        if not self.applies(uid):
            return False
        hour = self._hour(uid, now)
        if hour is None:
            self._make_room(now)
            hour = self._hours[uid] = _Hour(now)
        hour.messages += 1
        hour.recipients += recipients
        hour.is_closed = hour.is_closed or self._is_reached(hour.messages, hour.recipients)
        return hour.is_closed

    def _is_reached(self, messages: int, recipients: int) -> bool:
        """Say whether nothing more is allowed; the limit itself may be another than when it was counted."""
        return 0 < self.messages <= messages or 0 < self.recipients <= recipients

    def _make_room(self, now: float) -> None:
        if len(self._hours) >= _USERS_KEPT:
            self._hours = {uid: hour for uid, hour in self._hours.items() if hour.began <= now < hour.began + HOUR}

    def closed(self, now: float) -> dict[int, float]:
        """Return the users who may not submit now, and until when."""
        return {uid: until for uid in list(self._hours) if (until := self.closed_until(uid, now))}

    def rows(self) -> Iterator[Row]:
        """Yield all counts, to be kept over a restart."""
        for uid, hour in self._hours.items():
            yield uid, int(hour.began), hour.messages, hour.recipients

    def restore(self, rows: Iterable[Row], now: float) -> None:
        """Take over counts that were kept; what is over, or lies in the future, is dropped."""
        for uid, began, messages, recipients in rows:
            if began <= now < began + HOUR:
                self._hours[uid] = _Hour(float(began), messages, recipients, self._is_reached(messages, recipients))
