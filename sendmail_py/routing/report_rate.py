"""How many reports one address may get in an hour (report_rate_limit), so that no loop becomes a storm.

Notices of sessions are counted in the same way, by their class (session_notice_rate_limit). An address's hour
begins with a report and is over 3600 seconds later; then the count begins anew. Times are passed in, in
seconds since the epoch.
"""

HOUR = 3600.0
_ADDRESSES_KEPT = 20_000


class ReportRate:
    """What each address has been sent in its hour; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._hours: dict[str, tuple[float, int]] = {}  # when it began, reports

    def has_room(self, address: str, now: float) -> bool:
        """Count a report; False when it is one too many."""
        if not self.limit:
            return True
        key = address.lower()
        began, count = self._hours.pop(key, (now, 0))  # it goes to the end: who is forgotten has had none for longest
        if not began <= now < began + HOUR:
            began, count = now, 0
        if len(self._hours) >= _ADDRESSES_KEPT:
            del self._hours[next(iter(self._hours))]
        self._hours[key] = began, min(count + 1, self.limit)
        return count < self.limit

    def is_used_up(self, address: str, now: float) -> bool:
        """Say whether has_room() would be False."""
        began, count = self._hours.get(address.lower(), (now, 0))
        return bool(self.limit) and began <= now < began + HOUR and count >= self.limit
