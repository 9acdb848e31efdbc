"""The kinds of delivery report: what each is called, how it begins, and what it calls a result."""

from enum import Enum

from ..core.result import DeliveryResult, Handover, Outcome


class Kind(Enum):
    """The four reports, by what is asked."""

    FAILURE = "who has not got it"
    SUCCESS = "who has got it, as NOTIFY=SUCCESS asks"
    DELIVERY = "what became of each recipient, as sendmail -v asks"
    VERIFICATION = "what would become of each recipient, as sendmail -bv asks"


SUBJECTS = {
    Kind.FAILURE: "Undelivered Mail Returned to Sender",
    Kind.SUCCESS: "Successful Mail Delivery Report",
    Kind.DELIVERY: "Mail Delivery Status Report",
    Kind.VERIFICATION: "Mail Delivery Status Report",
}
_FAILED = """\
Your message could not be delivered to one or more recipients. The
reasons are given below, and your message is attached.

For further assistance, please send mail to postmaster and include
this report; the attached message is not needed for that.
"""
_SUCCEEDED = """\
Your message was delivered to the recipients below. Where it went into
a mailbox, no other report will follow. Where it was passed on, you may
still hear from other mail systems about it.
"""
_ASKED_FOR = "This is the report that you asked for.\n"
_VERIFIED = "This is the report that you asked for. Nothing was delivered.\n"
INTRODUCTIONS = {
    Kind.FAILURE: _FAILED,
    Kind.SUCCESS: _SUCCEEDED,
    Kind.DELIVERY: _ASKED_FOR,
    Kind.VERIFICATION: _VERIFIED,
}
SIGNATURE = "                   The mail system\n"


# What may stand before the first point of a status; the first is for a status that is none.
_CLASSES = dict.fromkeys(("delivered", "relayed", "expanded", "deliverable"), "2") | {
    "failed": "54",
    "undeliverable": "54",
    "delayed": "4",
}


def action_of(kind: Kind, result: DeliveryResult) -> str:
    """Return the action-value (RFC 3464 2.3.3); a verification has Postfix's two of its own."""
    if kind is Kind.FAILURE:
        return "failed"
    success = result.outcome is Outcome.DELIVERED
    if kind is Kind.VERIFICATION:
        return "deliverable" if success else "undeliverable"
    if success:
        return "relayed" if result.handover is Handover.ENTRUSTED else result.handover.value
    return "failed" if result.outcome is Outcome.FAILED else "delayed"


def reason_of(kind: Kind, result: DeliveryResult) -> str:
    """Return what happened; where somebody asked for details, with the way it went."""
    if kind is Kind.FAILURE or result.relay in ("", "none"):
        return result.reason
    return f"delivery via {result.relay}: {result.reason}"


def status_of(action: str, status: str) -> str:
    """Return a status code (RFC 3463) that is one, and fits the action."""
    classes = _CLASSES[action]
    return status if _is_status(status, classes) else f"{classes[0]}.0.0"


def _is_status(status: str, classes: str) -> bool:
    parts = status.split(".")
    digits = all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts)
    return len(parts) == 3 and digits and parts[0] in tuple(classes)
