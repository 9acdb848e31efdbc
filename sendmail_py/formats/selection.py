"""Which queued messages the limits of sendmail -q select: -qI, -qR and -qS, each also as -q!I and so on.

The rules are sendmail's: a limit holds when its text is part of the queue id, of the sender or of
a recipient (addresses stand in angle brackets, their case does not matter); of several limits of
one kind one has to hold, and every kind that is given must.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ID, RECIPIENT, SENDER = "I", "R", "S"
DOMAIN, EXACT_SENDER = "@", "<"  # for mailctl flush: a recipient's domain, the whole sender
EXACT_ID = "="  # for those who know the whole id
_NONE = "nothing"  # what -qL and -qQ select
_UNITS = "smhdw"
_FORMS = "an interval, f, p, Itext, Rtext or Stext expected, the last three also after !"
_THE_GROUP = "mqueue"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: its kind, the text, and whether messages without it are meant."""

    kind: str
    text: str
    negated: bool = False

    def holds(self, values: Iterable[str]) -> bool:
        """Say whether one of the values has the text in it (negated: has it not)."""
        if self.kind in (EXACT_ID, DOMAIN, EXACT_SENDER):
            return self.text in values
        return any((self.text in value) != self.negated for value in values)


@dataclass(frozen=True, slots=True)
class Selection:
    """Limits that are to hold together; without any, everything is selected."""

    limits: tuple[Limit, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """True when no message can be selected."""
        return any(limit.kind == _NONE for limit in self.limits)

    @property
    def is_by_id(self) -> bool:
        """True when the queue id alone decides."""
        return all(limit.kind in (ID, EXACT_ID) for limit in self.limits)

    @property
    def is_by_origin(self) -> bool:
        """True when the id, the sender and the domains of recipients decide."""
        return all(limit.kind in (ID, EXACT_ID, SENDER, EXACT_SENDER, DOMAIN) for limit in self.limits)

    def selects(self, queue_id: str, sender: str = "", recipients: Iterable[str] = ()) -> bool:
        """Say whether a message is selected; addresses come without brackets."""
        recipients = list(recipients)
        if not self.limits:
            return True
        if self.is_nothing:
            return False
        values = {
            ID: [queue_id],
            EXACT_ID: [queue_id],
            SENDER: [f"<{sender}>".lower()],
            EXACT_SENDER: [sender.lower()],
            RECIPIENT: [f"<{recipient}>".lower() for recipient in recipients],
            DOMAIN: [recipient.rpartition("@")[2].lower() for recipient in recipients],
        }
        kinds = {limit.kind for limit in self.limits}
        return all(any(limit.holds(values[k]) for limit in self.limits if limit.kind == k) for k in kinds)

    def rows(self) -> list[list[object]]:
        """Return the limits as they travel in a request."""
        return [[limit.kind, limit.text, limit.negated] for limit in self.limits]


def from_rows(rows: Sequence[Sequence[object]]) -> Selection:
    """Read the limits of a request; raises ValueError for what is none."""
    limits = []
    for kind, text, negated in rows:
        if kind not in (ID, RECIPIENT, SENDER, EXACT_ID, DOMAIN, EXACT_SENDER) or not isinstance(text, str):
            raise ValueError("a limit that is none")
        limits.append(Limit(str(kind), text, bool(negated)))
    return Selection(tuple(limits))


def parse(values: Iterable[str]) -> Selection:
    """Read what stood after each -q; raises ValueError with a line for people."""
    return Selection(tuple(limit for value in values for limit in _limits(value)))


def by_origin(ids: Iterable[str], senders: Iterable[str], domains: Iterable[str]) -> Selection:
    """Return the selection of messages by whole ids, whole senders (<> is the null sender) and recipients' domains."""
    limits = [Limit(EXACT_ID, queue_id) for queue_id in ids]
    limits += [Limit(EXACT_SENDER, sender.strip("<>").lower()) for sender in senders]
    limits += [Limit(DOMAIN, domain.lower().removeprefix("@").rstrip(".")) for domain in domains]
    return Selection(tuple(limits))


def _limits(value: str) -> list[Limit]:
    negated = value[:1] == "!"
    kind, text = value[negated : negated + 1], value[negated + 1 :]
    if kind == ID:
        return [Limit(kind, text, negated)]
    if kind and kind in RECIPIENT + SENDER:
        return [Limit(kind, text.lower(), negated)]
    if kind == "Q" or (kind == "L" and not negated):
        return [Limit(_NONE, "")]  # quarantined, or lost: there is no such message here
    if negated:
        raise ValueError(f"-q{value}: after ! stands I, R or S and a text")
    if kind == "G" and text != _THE_GROUP:
        raise ValueError(f"-q{value}: there is one queue, and no group of this name")
    if kind and kind not in "Gf" and not _is_interval(value.removeprefix("p")):
        raise ValueError(f"-q{value}: {_FORMS}")
    return []


def _is_interval(text: str) -> bool:
    """Say whether a text is an interval such as 30m, 1h30m or 90; the queue has a schedule of its own."""
    digits = ""
    for letter in text.lower():
        if letter.isascii() and letter.isdigit():
            digits += letter
        elif letter in _UNITS and digits:
            digits = ""
        else:
            return False
    return True
