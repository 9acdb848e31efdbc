"""DeliveryResult: how an attempt ended, for one recipient.

The one place where an SMTP reply, an errno or an exit status becomes an outcome. What is not
recognised here is DEFERRED: mail waits, it is not lost.
"""

import errno
import os
from dataclasses import dataclass, replace
from enum import Enum

from . import exitcodes


class Outcome(Enum):
    """The three ends of an attempt."""

    DELIVERED = "sent"
    DEFERRED = "deferred"
    FAILED = "bounced"


class Handover(Enum):
    """What a delivery means for who asked to hear of success (RFC 3461 5.2, 5.3; RFC 3464 2.3.3).

    FINAL: it ended here, or nobody beyond reports. RELAYED: the next host does not know delivery
    reports. ENTRUSTED: it does, and reports itself. EXPANDED: several addresses took its place.
    """

    FINAL = "delivered"
    RELAYED = "relayed"
    ENTRUSTED = "entrusted"
    EXPANDED = "expanded"


class Scope(Enum):
    """How far a failure reaches: the one recipient, the whole message, or the host."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Outcome, enhanced status (RFC 3463), reason for people, and what the other side said.

    remote_mta is the name of the host that answered, diagnostic its reply as RFC 3464 wants it
    ("smtp; 550 5.1.1 ..."), relay the log's `name[address]:port`. handover says what a success means,
    is_soft that a deferral would have been a failure without soft_bounce.
    """

    outcome: Outcome
    status: str
    reason: str
    remote_mta: str = ""
    diagnostic: str = ""
    scope: Scope = Scope.RECIPIENT
    relay: str = "none"
    handover: Handover = Handover.FINAL
    is_soft: bool = False


class Settled(Exception):
    """The result is known, and what was begun is not to go on."""

    def __init__(self, result: DeliveryResult) -> None:
        super().__init__(result.reason)
        self.result = result


def delivered(
    reason: str, status: str = "2.0.0", relay: str = "none", handover: Handover = Handover.FINAL
) -> DeliveryResult:
    """Return the result of a success."""
    return DeliveryResult(Outcome.DELIVERED, status, reason, relay=relay, handover=handover)


def deferred(status: str, reason: str, scope: Scope = Scope.RECIPIENT, relay: str = "none") -> DeliveryResult:
    """Return the result of a failure that may pass."""
    return DeliveryResult(Outcome.DEFERRED, status, reason, scope=scope, relay=relay)


def failed(status: str, reason: str, scope: Scope = Scope.RECIPIENT, relay: str = "none") -> DeliveryResult:
    """Return the result of a failure for good."""
    return DeliveryResult(Outcome.FAILED, status, reason, scope=scope, relay=relay)


def softened(result: DeliveryResult) -> DeliveryResult:
    """Return a failure for good as one that may pass (soft_bounce); any other result stays."""
    if result.outcome is not Outcome.FAILED:
        return result
    return replace(result, outcome=Outcome.DEFERRED, status="4" + result.status[1:], is_soft=True)


# errno -> (outcome, enhanced status). Everything else is deferred as 4.3.0.
_ERRNO = {
    errno.EFBIG: (Outcome.FAILED, "5.2.2"),
    errno.EDQUOT: (Outcome.DEFERRED, "4.2.2"),
    errno.ENOSPC: (Outcome.DEFERRED, "4.3.1"),
    errno.EAGAIN: (Outcome.DEFERRED, "4.2.0"),
    errno.EACCES: (Outcome.DEFERRED, "4.2.0"),
    errno.ESTALE: (Outcome.DEFERRED, "4.2.0"),
}


def from_errno(error: OSError, doing: str) -> DeliveryResult:
    """Turn a failed system call into a result; `doing` says what was tried."""
    outcome, status = _ERRNO.get(error.errno or 0, (Outcome.DEFERRED, "4.3.0"))
    text = os.strerror(error.errno) if error.errno else str(error)
    return DeliveryResult(outcome, status, f"{doing}: {text}")


# sysexits -> (enhanced status, text), as Postfix's table; other codes fail with 5.3.0.
_EXIT = {
    exitcodes.EX_USAGE: ("5.3.0", "command line usage error"),
    exitcodes.EX_DATAERR: ("5.6.0", "data format error"),
    exitcodes.EX_NOINPUT: ("5.3.0", "cannot open input"),
    exitcodes.EX_NOUSER: ("5.1.1", "user unknown"),
    exitcodes.EX_NOHOST: ("5.1.2", "host name unknown"),
    exitcodes.EX_UNAVAILABLE: ("5.3.0", "service unavailable"),
    exitcodes.EX_SOFTWARE: ("5.3.0", "internal software error"),
    exitcodes.EX_OSERR: ("4.3.0", "system resource problem"),
    exitcodes.EX_OSFILE: ("5.3.0", "critical OS file missing"),
    exitcodes.EX_CANTCREAT: ("5.2.0", "can't create user output file"),
    exitcodes.EX_IOERR: ("5.3.0", "input/output error"),
    exitcodes.EX_TEMPFAIL: ("4.3.0", "temporary failure"),
    exitcodes.EX_PROTOCOL: ("5.5.0", "remote error in protocol"),
    exitcodes.EX_NOPERM: ("5.7.0", "permission denied"),
    exitcodes.EX_CONFIG: ("5.3.0", "local configuration error"),
}


def from_exit_status(code: int, output: str, command: str) -> DeliveryResult:
    """Turn a program's exit status into a result; a death by signal (negative) is deferred.

    Output that begins with an enhanced status ("4.2.2 over quota") says itself what it means.
    """
    if code == 0:
        return delivered(f"delivered to command: {command}")
    if code > 0 and _is_failure_status(status := output.split(" ", 1)[0]):
        return _of_program(status, output[len(status) :].strip() or output, output)
    if code in _EXIT:
        status, how = _EXIT[code]
    elif code < 0:
        status, how = "4.3.0", f'Command died with signal {-code}: "{command}"'
    else:
        status, how = "5.3.0", f'Command died with status {code}: "{command}"'
    return _of_program(status, f"{how}. Command output: {output}" if output else how, output)


def after_time_limit(output: str, command: str) -> DeliveryResult:
    """Return the result for a program that had to be killed; it fails, as with Postfix."""
    how = f'Command time limit exceeded: "{command}"'
    return _of_program("5.3.0", f"{how}. Command output: {output}" if output else how, output)


def _of_program(status: str, reason: str, output: str) -> DeliveryResult:
    outcome = Outcome.DEFERRED if status[0] == "4" else Outcome.FAILED
    return DeliveryResult(outcome, status, reason, diagnostic=f"x-unix; {output or reason}")


def _is_failure_status(text: str) -> bool:
    """Say whether text is an enhanced status of class 4 or 5 (RFC 3463)."""
    parts = text.split(".")
    return (
        len(parts) == 3 and parts[0] in ("4", "5") and all(p.isascii() and p.isdigit() and len(p) <= 3 for p in parts)
    )


_MEANINGS = {2: (Outcome.DELIVERED, "2"), 5: (Outcome.FAILED, "5")}


def from_reply(
    code: int, status: str, text: str, relay: str, scope: Scope, handover: Handover = Handover.FINAL
) -> DeliveryResult:
    """Turn an SMTP reply into a result (RFC 5321 4.2.1); what is neither 2xx nor 5xx waits.

    status is the reply's enhanced code or "", relay the log's `name[address]:port` or `name[/path]`, handover what
    a success means.
    """
    outcome, klass = _MEANINGS.get(code // 100, (Outcome.DEFERRED, "4"))
    if not status or status[0] != klass:
        status = f"{klass}.0.0"
    host = relay.partition("[")[0]
    said = f"host {relay[: relay.rfind(']') + 1]} said: " if outcome is not Outcome.DELIVERED else ""
    if outcome is not Outcome.DELIVERED:
        handover = Handover.FINAL
    return DeliveryResult(outcome, status, said + text, host, f"smtp; {text}", scope, relay, handover)
