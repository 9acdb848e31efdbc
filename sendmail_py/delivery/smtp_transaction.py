"""One transaction of an SMTP session: who is still to do, who was accepted, and what a reply means for them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Handover, Outcome, Scope, from_reply
from ..protocol.reply import Reply
from .smtp_stream import SmtpStream


@dataclass(slots=True)
class Transaction:
    """One delivery on its way: the recipients still to do, and those the server accepted.

    probe is what has been sent of its content to find out whether the server knows BDAT.
    """

    delivery: Delivery
    recipients: list[int]
    accepted: list[int] = field(default_factory=list)
    mail_refused: bool = False
    probe: bytes = b""

    def end(self, recipients: Iterable[int], result: DeliveryResult) -> None:
        """Give these recipients their result."""
        for i in recipients:
            self.delivery.results[i] = result

    def end_accepted(self, result: DeliveryResult) -> None:
        """Give all that the server accepted their result."""
        self.end(self.accepted, result)


def result_of(stream: SmtpStream, reply: Reply, verb: str, scope: Scope) -> DeliveryResult:
    """Return what a reply to a command means."""
    handover = Handover.FINAL if stream.machine.lmtp else Handover.RELAYED
    if "DSN" in stream.machine.extensions:
        handover = Handover.ENTRUSTED
    result = from_reply(reply.code, reply.status, reply.text, stream.relay, scope, handover)
    if result.outcome is Outcome.DELIVERED:
        return result
    return replace(result, reason=f"{result.reason} (in reply to {verb} command)")


def passing(result: DeliveryResult) -> DeliveryResult:
    """Return a trouble of the host as one that may pass."""
    return replace(result, outcome=Outcome.DEFERRED, status="4" + result.status[1:], scope=Scope.HOST)
