"""What a queue file tells of one message: envelope, recipients, and each attempt with what the other side said."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.address import Address
from ..core.envelope import Envelope, Mark, Submitter
from .trace_headers import clean

_MARKS = {Mark.PENDING: "waiting", Mark.DELIVERED: "delivered", Mark.FAILED: "failed"}
_FLAGS = (
    ("delay_warned", "its sender has been warned of the delay"),
    ("expire", "the next attempt is the last"),
    ("queue_only", "it waits for a flush"),
    ("report", "its sender asked for a report (-v)"),
    ("verify", "nothing is delivered (-bv)"),
)
_TEXTS = ("body", "envid", "ret", "refused")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))

Attempt = tuple[str, Address, str, str, str, str]  # as queue_reader.read_history() gives it
Local = Callable[[float], time.struct_time]


def story(e: Envelope, queue_id: str, state: str, attempts: list[Attempt], due: float) -> dict[str, Any]:
    """Return what is known of a message as plain values; due is 0 where no time is set."""
    found: dict[str, Any] = {
        "queue_id": queue_id,
        "queue_name": state,
        "arrival_time": e.arrived_at / 1e6,
        "next_attempt": due or None,
        "size": e.size,
        "sender": clean(str(e.sender)) if e.reverse_path is not None else None,
        "submitter": _submitter(e, e.submitter),
        "flags": [text for name, text in _FLAGS if getattr(e, name)],
        **{name: clean(value) for name in _TEXTS if (value := getattr(e, name))},
    }
    if e.parent:
        found["parent"] = e.parent[0]
    found["recipients"] = [
        {
            "address": clean(str(r.forward_path)),
            "state": _MARKS[r.mark],
            **({"target": clean(r.target)} if r.target else {}),
            **({"notify": list(r.notify)} if r.notify else {}),
            **({"original": clean(r.original)} if r.original else {}),
        }
        for r in e.recipients
    ]
    names = ("time", "recipient", "outcome", "status", "relay", "reason")
    found["attempts"] = [dict(zip(names, map(clean, map(str, row)), strict=True)) for row in attempts]
    return found


def _submitter(e: Envelope, s: Submitter) -> dict[str, Any]:
    if e.client:
        told = {"client": e.client, "helo": s.helo, "protocol": s.protocol, "sasl_username": s.sasl_username}
    else:
        told = {"login": s.login, "cwd": s.cwd, "command": s.command}
    shown = {name: clean(value) for name, value in told.items() if value}
    return shown if e.client else {"uid": s.uid, "pid": s.pid, **shown}


def story_text(found: dict[str, Any], now: float, local: Local = time.localtime) -> str:
    """Return a story for people."""
    return "".join(f"{line}\n" for line in _lines(found, now, local))


def _lines(found: dict[str, Any], now: float, local: Local) -> Iterator[str]:
    yield f"{found['queue_id']}  {found['queue_name']}"
    yield f"  arrived    {_when(found['arrival_time'], now, local)}"
    yield "  from       " + ("who submitted it" if found["sender"] is None else f"<{found['sender']}>")
    yield "  submitted  " + ", ".join(f"{name}={value}" for name, value in found["submitter"].items())
    yield f"  size       {found['size']} octets"
    if found["next_attempt"]:
        yield f"  next try   {_when(found['next_attempt'], now, local)}"
    for name in ("parent", *_TEXTS):
        if name in found:
            yield f"  {name:<10} {found[name]}"
    for text in found["flags"]:
        yield f"  note       {text}"
    yield "recipients"
    for r in found["recipients"]:
        more = "".join(f" {name}={_plain(r[name])}" for name in ("target", "notify", "original") if name in r)
        yield f"  {r['state']:<10} <{r['address']}>{more}"
    yield "attempts" if found["attempts"] else "attempts: none that left it waiting"
    for row in found["attempts"]:
        relay = "" if row["relay"] == "none" else f" by {row['relay']}"
        yield f"  {row['time']}  <{row['recipient']}> {row['outcome']} {row['status']}{relay}"
        yield f"      {row['reason']}"


def _plain(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _when(seconds: float, now: float, local: Local) -> str:
    stamp = time.strftime("%a %d %b %Y %H:%M:%S", local(seconds))
    distance = abs(now - seconds)
    length, unit = next(((length, unit) for length, unit in _UNITS if distance >= length), (1, "s"))
    span = f"{distance / length:.0f} {unit}"
    return f"{stamp} ({span} ago)" if seconds <= now else f"{stamp} (in {span})"
