"""Who is to be told what at the end of a pass, and by which report; nothing is written here.

The sender hears of failures and delays unless NOTIFY says otherwise, and of success where he asked
for it. The null sender hears of nothing: a bounce that cannot be delivered is the postmaster's, and
only where notify_classes says so (2bounce, or bounce, which implies it). What goes to the postmaster
comes from double_bounce_sender, and whatever becomes of it, nobody is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..core.address import NULL_SENDER, Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..core.errors import ConfigError
from ..core.result import DeliveryResult, Handover, Outcome, deferred
from ..formats.report_kinds import Kind
from ..protocol.transcript import CLASSES as OF_SESSIONS

STOPPING = deferred("4.3.2", "the queue manager is stopping")  # what a stop leaves undone, by no fault of the mail
WITHDRAWN = deferred("4.3.2", "an administrator has stopped it")  # the message is to be parked, or removed
GONE = deferred("4.3.0", "its queue file is gone")
QUEUE_ONLY = deferred("4.3.2", "queued only, as its sender asked")

BOUNCE, DOUBLE_BOUNCE, DELAY, SOFTWARE = "bounce", "2bounce", "delay", "software"  # of notify_classes
CLASSES = {
    BOUNCE: "bounce_notice_recipient",
    DOUBLE_BOUNCE: "2bounce_notice_recipient",
    DELAY: "delay_notice_recipient",
    SOFTWARE: "error_notice_recipient",
    **{name: "error_notice_recipient" for name in OF_SESSIONS if name != BOUNCE},
}

Results = dict[int, DeliveryResult]  # by the index of the recipient


@dataclass(frozen=True, slots=True)
class Notice:
    """One report to write: to whom, from whom, about which recipients (by index).

    place and number make its queue id, box is the offset of the box that answers for it, flag
    the name of that box where it is no recipient's. is_copy: for the postmaster, with the header alone.
    """

    kind: Kind
    indexes: list[int]
    place: int
    number: int
    box: int
    to: Address
    sender: Address = NULL_SENDER
    flag: str = ""
    is_copy: bool = False


def is_asked_for(envelope: Envelope) -> bool:
    """Say whether somebody may want to hear of success; who was warned of a delay may, too."""
    return (
        envelope.report
        or envelope.verify
        or envelope.delay_warned
        or any("SUCCESS" in r.notify for r in envelope.recipients)
    )


def is_final(envelope: Envelope, result: DeliveryResult) -> bool:
    """Say whether a recipient is done with this result; a verification tries everybody once."""
    return result.outcome is not Outcome.DEFERRED or (envelope.verify and result is not STOPPING)


def without_success(notify: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the members of an expansion are told (RFC 3461 5.2.7.3 b); nothing left means never."""
    return tuple(word for word in notify if word != "SUCCESS") or (("NEVER",) if notify else ())


class Notices:
    """The rules of one configuration."""

    def __init__(self, config: Config) -> None:
        self._warning_time: int = config.delay_warning_time
        self._confirms: bool = config.confirm_delay_cleared
        self._origin: str = config.myorigin
        self.double_bounce = self._address(config.double_bounce_sender)
        self.postmaster = self._address(config.bounce_notice_recipient)
        self._copies = {
            name: self._address(getattr(config, parameter))
            for name, parameter in CLASSES.items()
            if name in config.notify_classes or (name == DOUBLE_BOUNCE and BOUNCE in config.notify_classes)
        }

    def recipient_of(self, name: str) -> Address | None:
        """Return which postmaster is told of a class; None for nobody."""
        return self._copies.get(name)

    def _address(self, text: str) -> Address:
        address = Address.parse(text)
        return address if address.domain else Address(address.local_part, self._origin)

    def is_delay_to_tell(self, e: Envelope, now: float) -> bool:
        """Say whether the time for a delay warning has come; it is sent once."""
        is_late = bool(self._warning_time) and now - e.arrived_at / 1e6 >= self._warning_time
        return is_late and not (e.delay_warned or e.verify or e.expire) and "delay-warned" in e.boxes

    def of(self, e: Envelope, results: Results, now: float, lines: list[str]) -> list[Notice]:
        """Return the reports that a pass calls for; lines, for the log, tell of those that nobody gets.

        A recipient is in one bounce and in one report of success at most, so the first one's index makes
        a number that no other pass uses; a report with a box of its own is written once, and has 0.
        """
        order = sorted(results)
        if e.verify:
            told = [i for i in order if is_final(e, results[i]) and not _is_told_by_children(results[i])]
            return self._told(e, [_row(e, Kind.VERIFICATION, told)] if told else [], lines)
        notices = list(self._of_failures(e, results, order, lines))
        notices += self._of_delays(e, results, order, now)
        return notices + self._told(e, _of_success(e, results, order, self._confirms), lines)

    def _told(self, e: Envelope, notices: list[Notice], lines: list[str]) -> list[Notice]:
        if e.sender:
            return notices
        lines += [f"{e.queue_id}: no delivery report: its sender is the null sender" for _ in notices]
        return []

    def _of_failures(self, e: Envelope, results: Results, order: list[int], lines: list[str]) -> Iterator[Notice]:
        failed = [i for i in order if results[i].outcome is Outcome.FAILED and _wants(e.recipients[i], "FAILURE")]
        if not failed:
            return
        first, box = failed[0], e.recipients[failed[0]].offset
        copy = len(e.recipients) + 1, first, box
        if e.sender == self.double_bounce:
            lines.append(f"{e.queue_id}: undeliverable postmaster notification discarded")
        elif e.sender:
            yield Notice(Kind.FAILURE, failed, first, 0, box, e.sender)
            yield from self._copy(BOUNCE, Kind.FAILURE, failed, *copy)
        elif DOUBLE_BOUNCE in self._copies:
            yield from self._copy(DOUBLE_BOUNCE, Kind.FAILURE, failed, *copy)
        else:
            lines.append(f"{e.queue_id}: undeliverable bounce dropped: its sender is the null sender")

    def _of_delays(self, e: Envelope, results: Results, order: list[int], now: float) -> Iterator[Notice]:
        if not e.sender or e.sender == self.double_bounce or not self.is_delay_to_tell(e, now):
            return
        waiting = [i for i in order if _is_delayed(results[i]) and _wants(e.recipients[i], "DELAY")]
        if not waiting:
            return
        place, box = len(e.recipients) + 2, e.boxes["delay-warned"]
        yield Notice(Kind.DELAY, waiting, place, 0, box, e.sender, flag="delay-warned")
        yield from self._copy(DELAY, Kind.DELAY, waiting, place, 1, box)

    def _copy(self, name: str, kind: Kind, told: list[int], place: int, number: int, box: int) -> Iterator[Notice]:
        if name in self._copies:
            yield Notice(kind, told, place, number, box, self._copies[name], self.double_bounce, is_copy=True)


def _of_success(e: Envelope, results: Results, order: list[int], confirms: bool) -> list[Notice]:
    succeeded = [i for i in order if _is_success(e.recipients[i], results[i])]
    if confirms and e.delay_warned:
        succeeded = [i for i in order if i in succeeded or _is_cleared(e.recipients[i], results[i])]
    if e.report and not e.reported and any(results[i] not in (STOPPING, QUEUE_ONLY) for i in order):
        told = [i for i in order if i in succeeded or not _is_told_by_children(results[i])]
        if told:
            place, box = len(e.recipients), e.boxes["reported"]
            return [Notice(Kind.DELIVERY, told, place, 0, box, e.sender, flag="reported")]
    return [_row(e, Kind.SUCCESS, succeeded)] if succeeded else []


def _row(e: Envelope, kind: Kind, told: list[int]) -> Notice:
    return Notice(kind, told, len(e.recipients), told[0] + 1, e.recipients[told[0]].offset, e.sender)


def _wants(recipient: Recipient, what: str) -> bool:
    return not recipient.notify or what in recipient.notify


def _is_delayed(result: DeliveryResult) -> bool:
    return result.outcome is Outcome.DEFERRED and result not in (STOPPING, QUEUE_ONLY)


def _is_success(recipient: Recipient, result: DeliveryResult) -> bool:
    """Say whether a result is to be reported as RFC 3461 5.2 has it; who was entrusted with that does it himself."""
    done = result.outcome is Outcome.DELIVERED and result.handover is not Handover.ENTRUSTED
    return done and "SUCCESS" in recipient.notify


def _is_cleared(recipient: Recipient, result: DeliveryResult) -> bool:
    """Say whether who was warned of a delay can be told that it is over (confirm_delay_cleared)."""
    return result.outcome is Outcome.DELIVERED and _wants(recipient, "DELAY")


def _is_told_by_children(result: DeliveryResult) -> bool:
    """Say whether the recipients that took this one's place will be reported on."""
    return result.handover is Handover.EXPANDED


def check_notices(config: Config) -> None:
    """Raise ConfigError for a class of notices that there is not, and for an address that is none."""
    for word in config.notify_classes:
        if word not in CLASSES:
            raise ConfigError(
                f"{config.origin('notify_classes')}: notify_classes: {word}: {', '.join(CLASSES)} expected"
            )
    for name in (*CLASSES.values(), "double_bounce_sender"):
        if not Address.parse(getattr(config, name)):
            raise ConfigError(f"{config.origin(name)}: {name}: an address expected")
