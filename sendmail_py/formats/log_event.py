"""A line of the log as an event: what Postfix's shape says in one line, as names and values.

Guarantees: nothing of a line is left out, since its text is part of the event; a line of another
shape is an event of its text alone. A delivery attempt is exactly one event "delivery".
"""

import re
from typing import Any, Final

LEVELS: Final = {"warning": 4, "error": 3, "info": 6}  # a line begins with the name of its level; severities of syslog
_HEAD = re.compile(r"([0-9A-Za-z]{10,40}|NOQUEUE): ")
_PAIR = re.compile(r"""([A-Za-z][\w-]*)=(<(?:"(?:[^"\\]|\\.)*"|[^<>"])*>|"(?:[^"\\]|\\.)*"|[^\s,]*)(?:,\s*|\s+|$)""")
_INTEGERS = frozenset({"size", "nrcpt", "uid", "pid"})
_SECONDS = frozenset({"delay"})
# What Postfix's cleanup and bounce say, and our services do in their place: readers look for it under these names.
_CLEANUP = re.compile(
    r"[0-9A-F]{15,200}: (message-id=|(?!milter-)[a-z]+: (header|body) |milter-[a-z]+: END-OF-MESSAGE )"
)
_BOUNCE = re.compile(r"[0-9A-F]{15,200}: (sender|postmaster) [a-z -]+ notification: ")
_STAGES = ("before_queue", "in_queue", "connection", "transmission")
_KINDS = (("status", "delivery"), ("uid", "submission"), ("message-id", "message-id"), ("client", "client"))


def level_of(text: str) -> str:
    """Return the level that a line begins with."""
    word = text.partition(": ")[0]
    return word if word in LEVELS else "info"


def daemon_of(text: str) -> str:
    """Return which daemon of Postfix's a line belongs to, where that is none that we have; else ""."""
    if text[:1] in "0123456789ABCDEF":
        return "cleanup" if _CLEANUP.match(text) else "bounce" if _BOUNCE.match(text) else ""
    return ""


def event(text: str) -> dict[str, Any]:
    """Return the event of a line without its time and process: level, event, fields, message."""
    level = level_of(text)
    found: dict[str, Any] = {"level": level, "event": "message"}
    rest = text if level == "info" else text[len(level) + 2 :]
    if head := _HEAD.match(rest):
        if head[1] != "NOQUEUE":
            found["queue_id"] = head[1]
        rest = rest[head.end() :]
        fields, rest = _pairs(rest)
        found["event"] = _kind(fields, rest, head[1])
        found |= fields
        if rest and fields:
            found["text"] = rest[1:-1] if rest[0] == "(" and rest[-1] == ")" else rest
    found["message"] = text
    return found


def _pairs(rest: str) -> tuple[dict[str, Any], str]:
    """Return the pairs name=value at the beginning, and what follows them."""
    fields: dict[str, Any] = {}
    while pair := _PAIR.match(rest):
        name, value = pair[1], pair[2]
        rest = rest[pair.end() :]
        if name == "delays":
            fields[name] = _delays(value)
            continue
        if len(value) > 1 and value[0] + value[-1] in ("<>", '""'):
            value = value[1:-1]
        fields[name.replace("-", "_")] = _number(name, value)
    return fields, rest


def _number(name: str, value: str) -> str | int | float:
    try:
        return int(value) if name in _INTEGERS else float(value) if name in _SECONDS else value
    except ValueError:
        return value


def _delays(value: str) -> dict[str, Any]:
    """Return a/b/c/d as seconds, by the stage they were spent in."""
    return {stage: _number("delay", part) for stage, part in zip(_STAGES, value.split("/"), strict=False)}


def _kind(fields: dict[str, Any], rest: str, head: str) -> str:
    if rest == "removed":
        return "removed"
    if head == "NOQUEUE" or rest.startswith(("reject", "milter-reject")):
        return "reject"
    if "from" in fields and "nrcpt" in fields:
        return "active"
    return next((kind for name, kind in _KINDS if name.replace("-", "_") in fields), "message")
