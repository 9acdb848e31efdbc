"""The SMTP server's log lines, in the words that fail2ban and pflogsumm read in Postfix's log."""

from ..protocol.commands import Verb
from ..protocol.reply import Reply
from ..protocol.server_commands import Command, Refused
from ..routing.restriction_scene import Subject

_ORDER = ("helo", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "rset", "noop", "vrfy", "help", "quit", "unknown")


class Tally:
    """How many commands of each kind a client gave, and how many of them were answered well."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def count(self, event: Command, answer: Reply) -> None:
        """Note a command and its answer; DATA counts when its content has been answered."""
        good = answer.code < 400
        verb = None if isinstance(event, Refused) else event.verb
        if verb is Verb.DATA and good:
            return
        name = "unknown" if verb is None else "data" if verb is Verb.DOT else verb.value.lower()
        counts = self._counts.setdefault(name, [0, 0])
        counts[0] += good and verb is not None
        counts[1] += 1

    def __str__(self) -> str:
        counts = self._counts
        parts = [_part(name, *counts[name]) for name in _ORDER if name in counts]
        good, number = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
        return "".join(parts) + _part("commands", good, number)


def _part(name: str, good: int, number: int) -> str:
    return f" {name}={good}" if good == number else f" {name}={good}/{number}"


def reject_line(what: str, verb: str, subject: Subject, protocol: str, refusal: Reply) -> str:
    """Return the line for a command that is refused; what: reject, or reject_warning."""
    line = f"NOQUEUE: {what}: {verb} from {subject.client}: {refusal.text};"
    if subject.sender is not None:
        line += f" from=<{subject.sender}>"
    if subject.recipient is not None:
        line += f" to=<{subject.recipient}>"
    if subject.helo:
        line += f" proto={protocol} helo=<{subject.helo}>"
    return line
