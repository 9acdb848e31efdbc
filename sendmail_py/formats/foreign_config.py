"""What becomes of another mail system's configuration: a verdict on each line, and settings for main.cf.

Pure. Guarantees: every line that says something is accounted for by exactly one row; nothing is taken
over that means something else here.
"""

from dataclasses import dataclass, field

HONOURED, CHANGED, IGNORED, REFUSED = "honoured", "changed", "ignored", "refused"
VERDICTS = (HONOURED, CHANGED, IGNORED, REFUSED)


@dataclass(slots=True)
class Row:
    """One line: its number, its text, what becomes of it, and why."""

    number: int
    text: str
    verdict: str
    words: str
    name: str = ""  # of the parameter that it sets


@dataclass(slots=True)
class Import:
    """A configuration: parameters for main.cf, the login at the relayhost, where root's mail goes, and all rows."""

    settings: dict[str, str] = field(default_factory=dict)
    login: str = ""
    root: str = ""
    rows: list[Row] = field(default_factory=list)

    def set(self, row: tuple[int, str], name: str, value: str, words: str = "") -> None:
        """Take a parameter over; words say how it was changed."""
        self.settings[name] = value
        self.rows.append(Row(*row, CHANGED if words else HONOURED, words or f"{name} = {value}", name))

    def overrule(self, row: tuple[int, str], last: int) -> None:
        """Account for a line whose setting another line sets again."""
        self.say(row, IGNORED, f"line {last} says it again, and the last one counts")

    def say(self, row: tuple[int, str], verdict: str, words: str) -> None:
        """Account for a line that sets nothing."""
        self.rows.append(Row(*row, verdict, words))
