"""The queue in one table, as qshape prints it: domains by the age of what waits for them.

Counted are recipients that still wait (or messages, by the domain of their sender). A column holds
what is at most so many minutes old and older than the column before it.
"""

import sys
from collections import Counter
from collections.abc import Iterable

from .listing import ListedMessage
from .trace_headers import clean

MINUTES = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
_TOTAL = "TOTAL"
_NOBODY = "MAILER-DAEMON"
Table = dict[str, Counter[int]]  # by domain, by the number of the column


def summary(messages: Iterable[ListedMessage], now: float, by_sender: bool = False) -> Table:
    """Count what waits; now in seconds since the epoch."""
    table: Table = {}
    for message in messages:
        age = (now - message.arrived_at / 1e6) / 60
        column = next((i for i, limit in enumerate(MINUTES) if age <= limit), len(MINUTES))
        addresses = [message.sender] if by_sender else [address for address, _ in message.recipients]
        for address in addresses:
            table.setdefault(_domain(address), Counter())[column] += 1
    return table


def _domain(address: str) -> str:
    return clean(address.rpartition("@")[2].lower()) or _NOBODY


def _sorted(table: Table) -> list[tuple[str, Counter[int]]]:
    return sorted(table.items(), key=lambda row: (-row[1].total(), row[0]))


def summary_text(table: Table, room: int = sys.maxsize) -> str:
    """Return the table for people; the first row is the sum of the others.

    A name for which a line of so many columns has no room has lines of its own, before its numbers.
    """
    columns = range(len(MINUTES) + 1)
    heads = ["T", *map(str, MINUTES), f"{MINUTES[-1]}+"]
    total = sum(table.values(), Counter())
    rows = [
        (name, [counts.total(), *(counts[i] for i in columns)]) for name, counts in [(_TOTAL, total), *_sorted(table)]
    ]
    widths = [max(len(head), *(len(str(values[i])) for _, values in rows)) for i, head in enumerate(heads)]
    longest = max(room - sum(widths) - len(widths), len(_TOTAL))
    label = max(len(name) for name, _ in rows if len(name) <= longest)
    lines = [" " * label + "".join(f" {head:>{width}}" for head, width in zip(heads, widths, strict=True))]
    for name, values in rows:
        if len(name) > longest:
            lines += [name[:room], *(f"  {name[at : at + room - 2]}" for at in range(room, len(name), room - 2))]
            name = ""
        lines.append(f"{name:>{label}}" + "".join(f" {v:>{width}}" for v, width in zip(values, widths, strict=True)))
    return "\n".join(lines) + "\n"


def summary_rows(table: Table) -> list[dict[str, object]]:
    """Return the table for programs: a row for each domain, the largest first."""
    names = [f"{limit}m" for limit in MINUTES] + [f"older than {MINUTES[-1]}m"]
    return [
        {"domain": name, "total": counts.total(), "by_age": {n: counts[i] for i, n in enumerate(names)}}
        for name, counts in _sorted(table)
    ]
