"""The SMTP server's log lines, in the words that fail2ban and pflogsumm read in Postfix's log."""

from ..protocol.commands import Verb
from ..protocol.reply import Reply
from ..protocol.server_commands import Command, Refused
from ..routing.restriction_scene import Subject

_ORDER = ("helo", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "bdat", "rset", "noop", "vrfy", "help", "quit")
_CHALLENGE = 334  # AUTH counts when the login has ended
_NAMES = {verb: verb.value.lower() for verb in Verb} | {Verb.DOT: "data", Verb.LAST: "bdat"}


class Tally:
    """How many commands of each kind a client gave, and how many of them were answered well."""

    __slots__ = ("_counts", "notes")

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self.notes: list[str] = []  # what else is to be known of the session, as Postfix names it

    def count(self, event: Command, answer: Reply) -> None:
        """Note a command and its answer; DATA counts when its content has been answered, AUTH at its end."""
        good = answer.code < 400
        verb = event.verb
        if answer.code == _CHALLENGE or (verb is Verb.DATA and good):
            return
        name = "unknown" if verb is None else _NAMES[verb]
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = [0, 0]
        counts[0] += good and not isinstance(event, Refused)
        counts[1] += 1

    def __str__(self) -> str:
        counts = self._counts
        parts = [_part(name, *counts[name]) for name in (*_ORDER, "unknown") if name in counts]
        good, number = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
        notes = f" notes={','.join(self.notes)}" if self.notes else ""
        return "".join(parts) + _part("commands", good, number) + notes


def _part(name: str, good: int, number: int) -> str:
    return f" {name}={good}" if good == number else f" {name}={good}/{number}"


def reject_line(what: str, verb: str, subject: Subject, protocol: str, refusal: Reply) -> str:
    """Return the line for a command that is refused; what: reject, or reject_warning."""
    return event_line(what, verb, subject, protocol, refusal.text)


def event_line(what: str, verb: str, subject: Subject, protocol: str, text: str) -> str:
    """Return the line for what a table or a service wants: hold, discard, and so on."""
    line = f"NOQUEUE: {what}: {verb} from {subject.client}: {text};"
    if subject.sender is not None:
        line += f" from=<{subject.sender}>"
    if subject.recipient is not None:
        line += f" to=<{subject.recipient}>"
    if subject.helo:
        line += f" proto={protocol} helo=<{subject.helo}>"
    if subject.facts.sasl_username:
        line += f" sasl_username=<{subject.facts.sasl_username}>"
    return line
